package extract

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"lsmtpd/schema"
)

// TestObsoleteDates reads dates in the forms of RFC 5322 §4.3, and in some that are none. It does so on a machine whose
// zone has the names that occur, as it has them: what a mail says must not depend on where it is read.
func TestObsoleteDates(t *testing.T) {
	tests := []struct {
		value, want string
		odd         bool // none of RFC 5322's forms
	}{
		{"Mon, 2 Jan 06 15:04:05 UT", "2006-01-02T15:04:05Z", false},
		{"Mon, 2 Jan 06 15:04:05 EST", "2006-01-02T15:04:05-05:00", false},
		{"Mon, 2 Jan 06 15:04:05 EDT", "2006-01-02T15:04:05-04:00", false},
		{"Mon, 2 Jan 06 15:04:05 CST", "2006-01-02T15:04:05-06:00", false},
		{"Mon, 2 Jan 06 15:04:05 CDT", "2006-01-02T15:04:05-05:00", false},
		{"Mon, 2 Jan 06 15:04:05 MST", "2006-01-02T15:04:05-07:00", false},
		{"Mon, 2 Jan 06 15:04:05 MDT", "2006-01-02T15:04:05-06:00", false},
		{"Mon, 2 Jan 06 15:04:05 PST", "2006-01-02T15:04:05-08:00", false},
		{"2 Jan 06 15:04 pdt", "2006-01-02T15:04:00-07:00", false},
		{"2 Jan 06 15:04:05 Z", "2006-01-02T15:04:05Z", false},
		{"2 Jan 06 15:04:05 A", "2006-01-02T15:04:05Z", false}, // the military zones were defined the wrong way round
		{"2 Jan 06 15:04:05 y", "2006-01-02T15:04:05Z", false},
		{"2 Jan 06 15:04:05 BST", "2006-01-02T15:04:05Z", true}, // so are unknown names
		{"2 Jan 06 15:04:05 XYZ", "2006-01-02T15:04:05Z", true},
		{"2 Jan 06 15:04:05 -0500 (EST)", "2006-01-02T15:04:05-05:00", false},
		{"2 Jan 00 15:04:05 +0000", "2000-01-02T15:04:05Z", false},
		{"2 Jan 49 15:04:05 +0000", "2049-01-02T15:04:05Z", false},
		{"2 Jan 50 15:04:05 +0000", "1950-01-02T15:04:05Z", false},
		{"2 Jan 68 15:04:05 +0000", "1968-01-02T15:04:05Z", false},
		{"2 Jan 99 15:04:05 +0000", "1999-01-02T15:04:05Z", false},
		{"2 Jan 106 15:04:05 +0000", "2006-01-02T15:04:05Z", false},
		{"Mon , 2 (second) Jan (of) 2006 15 : 04 : 05 +0000", "2006-01-02T15:04:05Z", false},
		{"Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z", false},
		{"2 Jan 2006 15:04:05 -0000", "2006-01-02T15:04:05Z", false},
		{"2 Jan 2006 15:04:05 +02", "2006-01-02T15:04:05+02:00", true},
		{"02-Jan-06 15:04:05 +0000", "2006-01-02T15:04:05Z", true},
		{"2 Sept 2006 15:04:05 +0000", "2006-09-02T15:04:05Z", true},
		{"Fri, 2 Jan 2006 15:04:05 +0000", "2006-01-02T15:04:05Z", false}, // it was a Monday
		{"30 Feb 2006 15:04:05 +0000", "", true},
		{"2 Jan 2006 25:04:05 +0000", "", true},
	}
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	for _, zone := range []string{"UTC", "EST", "BST"} {
		time.Local = time.FixedZone(zone, 3*3600)
		for _, tt := range tests {
			e, codes := describe(t, "Date: "+tt.value)
			got := ""
			if e.SentAt != nil {
				got = e.SentAt.Format(time.RFC3339)
			}
			if got != tt.want || (codes != "") != tt.odd {
				t.Errorf("Date: %s, read in %s: got %q [%s], want %q", tt.value, zone, got, codes, tt.want)
			}
		}
	}
}

// TestAddressForms reads addresses in the forms of RFC 5322 §3.4 and §4.4.
func TestAddressForms(t *testing.T) {
	tests := []struct{ name, value, want, codes string }{
		{"blanks in an address", "jane . doe @ example . org", "jane.doe@example.org", ""},
		{"comments in an address", "Jane <jane(home)@example(net).org>", "Jane <jane@example.org>", ""},
		{"nested comment before an address", "Jane (the (only) one) <jane@example.org>", "Jane <jane@example.org>", ""},
		{"nested comment as name", "jane@example.org (Jane (the only) Doe)", "Jane (the only) Doe <jane@example.org>", ""},
		{"quoted-pairs in a name", `"Jane \"JD\" \\ Doe" <jane@example.org>`, `Jane "JD" \ Doe <jane@example.org>`, ""},
		{"at sign and comma in a quoted name", `"jane@home, work" <jane@example.org>`, "jane@home, work <jane@example.org>", ""},
		{"comma in an encoded name", "=?utf-8?q?Doe=2C_J=C3=BC?= <j@example.org>, k@example.org", "Doe, Jü <j@example.org>|k@example.org", ""},
		{"address in an encoded name", "=?utf-8?q?a=40b=3E=2C?= <c@example.org>", "a@b>, <c@example.org>", ""},
		{"address literals", "a@[192.0.2.1], <b@[IPv6:2001:db8::1]>", "a@[192.0.2.1]|b@[IPv6:2001:db8::1]", ""},
		{"internationalized", "jürgen@bücher.example", "jürgen@bücher.example", ""},
		{"nothing between commas", "a@example.org,,b@example.org,", "a@example.org|b@example.org", ""},
		{"groups", "Empty:;, Team : a@example.org, B <b@example.org> ; c@example.org", "a@example.org|B <b@example.org>|c@example.org", ""},
		{"group not ended", "Team: a@example.org, b@example.org", "a@example.org|b@example.org", "address-syntax"},
		{"route", "Jane <@relay.example,@other.example:jane@example.org>", "Jane <jane@example.org>", ""},
		{"no blank before the bracket", `"Jane"<a@example.org>,Jo<b@example.org>`, "Jane <a@example.org>|Jo <b@example.org>", ""},
		{"dots at the edges", ".jane..doe.@example.org", ".jane..doe.@example.org", ""},
		{"empty name", `"" <a@example.org>`, "a@example.org", ""},
		{"brackets in the name", "Jane [Sales] <a@example.org>", "Jane [Sales] <a@example.org>", ""},
		{"no comma", "A <a@example.org> B <b@example.org>", "A <a@example.org>|B <b@example.org>", "address-syntax"},
		{"no comma, no names", "a@example.org b@example.org", "a@example.org|b@example.org", "address-syntax"},
		{"quoted name without brackets", `"Jane Doe" a@example.org`, "Jane Doe <a@example.org>", "address-syntax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, codes := describe(t, "To: "+tt.value)
			var list []string
			for _, a := range e.To {
				if a.Name != nil {
					list = append(list, *a.Name+" <"+a.Email+">")
				} else {
					list = append(list, a.Email)
				}
			}
			if got := strings.Join(list, "|"); got != tt.want || codes != tt.codes {
				t.Errorf("To: %s: got %q [%s], want %q [%s]", tt.value, got, codes, tt.want, tt.codes)
			}
		})
	}
}

// TestEncodedWordsNotQuite reads words that are nearly encoded.
func TestEncodedWordsNotQuite(t *testing.T) {
	tests := []struct{ value, want string }{
		{"=?utf-8?Q?a=?=", "a="},
		{"=?utf-8?Q?a=4?= b", "a=4 b"},
		{"=?utf-8?Q?100%_=zz?=", "100% =zz"},
		{"=?utf-8?Q?100%25?=", "100%25"},
		{"=?utf-8?Q?=e2=82=ac?=", "€"},
		{"=?utf-8?q?=E2=82?= =?iso-8859-1?q?=E9?=", "\uFFFD\uFFFDé"}, // half a character, and another charset
		{"=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=", "=?utf-8?q?a?="},
	}
	for _, tt := range tests {
		e, codes := describe(t, "Subject: "+tt.value)
		if got := str(e.Subject); got != tt.want || codes != "" {
			t.Errorf("Subject: %s: got %q [%s], want %q", tt.value, got, codes, tt.want)
		}
	}
}

// TestNamesInCharsets writes a name in many charsets: in two encoded words that divide it between any two octets, and in
// the percent-encoding of RFC 2231 in as many sections.
func TestNamesInCharsets(t *testing.T) {
	tests := []struct {
		charset, name string
		encoding      encoding.Encoding
	}{
		{"utf-8", "Grüße 📧", encoding.Nop},
		{"iso-8859-1", "Größe", charmap.ISO8859_1},
		{"ISO-8859-2", "Żółć", charmap.ISO8859_2},
		{"iso-8859-3", "Ĉiuĵaŭde", charmap.ISO8859_3},
		{"iso-8859-4", "Ūķis", charmap.ISO8859_4},
		{"iso-8859-5", "Привет", charmap.ISO8859_5},
		{"iso-8859-6", "مرحبا", charmap.ISO8859_6},
		{"iso-8859-7", "Γειά", charmap.ISO8859_7},
		{"iso-8859-8", "שלום", charmap.ISO8859_8},
		{"iso-8859-9", "Iğdır", charmap.ISO8859_9},
		{"iso-8859-10", "Þór Ŧ", charmap.ISO8859_10},
		{"iso-8859-13", "Žąsis", charmap.ISO8859_13},
		{"iso-8859-14", "Ŵyn", charmap.ISO8859_14},
		{"iso-8859-15", "10 €", charmap.ISO8859_15},
		{"iso-8859-16", "Știri", charmap.ISO8859_16},
		{"windows-874", "สวัสดี", charmap.Windows874},
		{"tis-620", "สวัสดี", charmap.Windows874},
		{"windows-1250", "Žluť", charmap.Windows1250},
		{"windows-1251", "Київ", charmap.Windows1251},
		{"windows-1252", "“10 €”", charmap.Windows1252},
		{"windows-1253", "Γειά", charmap.Windows1253},
		{"windows-1254", "Iğdır", charmap.Windows1254},
		{"windows-1255", "שלום", charmap.Windows1255},
		{"windows-1256", "سلام پ", charmap.Windows1256},
		{"windows-1257", "Žąsis", charmap.Windows1257},
		{"windows-1258", "Đơn tư", charmap.Windows1258},
		{"koi8-r", "Привет", charmap.KOI8R},
		{"koi8-u", "Київ", charmap.KOI8U},
		{"ibm866", "Привет", charmap.CodePage866},
		{"cp850", "Größe", charmap.CodePage850},
		{"macintosh", "Größe", charmap.Macintosh},
		{"euc-jp", "日本語", japanese.EUCJP},
		{"shift_jis", "表ソ能", japanese.ShiftJIS},
		{"iso-2022-jp", "日本a語", japanese.ISO2022JP},
		{"euc-kr", "한국어", korean.EUCKR},
		{"ks_c_5601-1987", "한국어", korean.EUCKR},
		{"gb2312", "中文", simplifiedchinese.GBK},
		{"gbk", "镕", simplifiedchinese.GBK},
		{"gb18030", "中文😀", simplifiedchinese.GB18030},
		{"hz-gb-2312", "中a文", simplifiedchinese.HZGB2312},
		{"big5", "功許", traditionalchinese.Big5},
	}
	for _, tt := range tests {
		t.Run(tt.charset, func(t *testing.T) {
			octets, err := tt.encoding.NewEncoder().String(tt.name)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(octets); i++ {
				word := func(octets string) string {
					return "=?" + tt.charset + "?B?" + base64.StdEncoding.EncodeToString([]byte(octets)) + "?="
				}
				words := word(octets[:i]) + "\r\n " + word(octets[i:])
				params := fmt.Sprintf("filename*0*=%s''%s;\r\n filename*1*=%s", tt.charset, percent(octets[:i]), percent(octets[i:]))
				got, err := read(strings.NewReader("Subject: "+words+"\r\nFrom: "+words+" <a@b.org>\r\nContent-Disposition: attachment; "+params+"\r\n\r\n"), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				from := "none"
				if len(got.Email.From) == 1 {
					from = str(got.Email.From[0].Name)
				}
				if subject, name := str(got.Email.Subject), str(got.Structure.Name); subject != tt.name || from != tt.name || name != tt.name {
					t.Errorf("divided after %d octets of %q: got subject %q, name %q, file name %q, want %q", i, octets, subject, from, name, tt.name)
				}
			}
		})
	}
}

func percent(octets string) string {
	var b strings.Builder
	for i := range len(octets) {
		fmt.Fprintf(&b, "%%%02X", octets[i])
	}
	return b.String()
}

// TestMailStructures reads the structures that mail programs make, and sorts them by RFC 8621 §4.1.4.
func TestMailStructures(t *testing.T) {
	part := func(fields ...string) string { return lines(append(fields, "", "x")...) }
	in := func(subtype, boundary string, parts ...string) string {
		head := lines("Content-Type: multipart/"+subtype+"; boundary="+boundary, "")
		return head + "\r\n--" + boundary + "\r\n" + strings.Join(parts, "\r\n--"+boundary+"\r\n") + "\r\n--" + boundary + "--"
	}
	const (
		plain = "Content-Type: text/plain"
		html  = "Content-Type: text/html"
		image = "Content-Type: image/png; name=a.png"
		pdf   = "Content-Type: application/pdf; name=a.pdf"
		attch = "Content-Disposition: attachment"
		inlin = "Content-Disposition: inline"
	)
	signature := part("Content-Type: application/pkcs7-signature; name=smime.p7s", "Content-Disposition: attachment; filename=smime.p7s")
	tests := []struct {
		name, message           string
		text, html, attachments string // partIds
		has                     bool
	}{
		{"mixed, related, alternative", in("mixed", "m", in("related", "r", in("alternative", "a", part(plain), part(html)), part(image, inlin)), part(pdf, attch)),
			"1.1.1", "1.1.2", "1.2 2", true},
		{"alternative, related", in("alternative", "a", part(plain), in("related", "r", part(html), part(image, inlin))), "1", "2.1", "2.2", false},
		{"related, no alternative", in("related", "r", part(html), part(image)), "1", "1", "2", true},
		{"alternative of more than two", in("alternative", "a", part(plain), part("Content-Type: text/enriched"), part(html), part("Content-Type: text/calendar; method=REQUEST")),
			"1", "3", "2 4", true},
		{"alternative of HTML only", in("alternative", "a", part(html)), "1", "1", "", false},
		{"alternative with mixed in it", in("alternative", "a", part(plain), in("mixed", "m", part(html), part(pdf, attch), part(html))), "1", "2.1 2.3", "2.2", true},
		{"text, image, text", in("mixed", "m", part(plain), part(image, inlin), part(plain)), "1 2 3", "1 2 3", "", false},
		{"footer of a list", in("mixed", "m", in("alternative", "a", part(plain), part(html)), part(plain)), "1.1 2", "1.2 2", "", false},
		{"S/MIME signed", in("signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256", "s", in("alternative", "a", part(plain), part(html)), signature), "1.1", "1.2", "2", true},
		{"S/MIME enveloped", part("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", attch), "", "", "1", true},
		{"PGP signed", in("signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256", "s", part(plain), part("Content-Type: application/pgp-signature; name=signature.asc")), "1", "1", "2", true},
		{"PGP encrypted", in("encrypted; protocol=\"application/pgp-encrypted\"", "e", part("Content-Type: application/pgp-encrypted"),
			part("Content-Type: application/octet-stream; name=encrypted.asc", inlin+"; filename=encrypted.asc")), "", "", "1 2", true},
		{"report", in("report; report-type=delivery-status", "r", part(plain), part("Content-Type: message/delivery-status"), part("Content-Type: message/rfc822")), "1", "1", "2 3", true},
		{"digest", in("digest", "d", part("X: y"), part("Content-Type: message/rfc822")), "", "", "1 2", true},
		{"forwarded with parts of its own", in("mixed", "m", part(plain), "Content-Type: message/rfc822\r\n\r\n"+in("mixed", "i", part(html), part(pdf))), "1", "1", "2", true},
		{"only an attachment", part(pdf, attch), "", "", "1", true},
		{"only an image", part(image), "1", "1", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, tt.message, Limits{})
			e := schema.Email{BodyStructure: got.Structure}
			e.SortBody()
			text, html, attachments := partIDs(e.TextBody), partIDs(e.HTMLBody), partIDs(e.Attachments)
			if text != tt.text || html != tt.html || attachments != tt.attachments || e.HasAttachment != tt.has || got.codes() != "" {
				t.Errorf("%s: got text %q html %q attachments %q %v [%s], want text %q html %q attachments %q %v", got.outline(),
					text, html, attachments, e.HasAttachment, got.codes(), tt.text, tt.html, tt.attachments, tt.has)
			}
		})
	}
}

func partIDs(list []schema.BodyProperties) string {
	var ids []string
	for _, p := range list {
		ids = append(ids, *p.PartID)
	}
	return strings.Join(ids, " ")
}
