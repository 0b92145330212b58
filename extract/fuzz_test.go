package extract

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"lsmtpd/schema"
)

func FuzzMessage(f *testing.F) {
	f.Add([]byte(small), 1000, 100, 1<<20)
	f.Add([]byte(mixed("--x", "Content-Type: multipart/mixed", "", "--z", "A: b", "", "c", "--z--", "--x--")), 3, 2, 120)
	f.Add([]byte("\r\n\r\nFrom a b\r\n X: y\nno\n\n--"), 1, 1, 20)
	files, _ := filepath.Glob("testdata/*.eml")
	for _, name := range files {
		message, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message, 1000, 100, 1<<20)
	}
	f.Fuzz(func(t *testing.T, message []byte, parts, depth, header int) {
		got := mustRead(t, string(message), Limits{MaxParts: parts, MaxDepth: depth, MaxHeaderBytes: int64(header)})
		checkEnvelope(t, got)
	})
}

// checkEnvelope makes of a reading what is published of it, which must be text and must be JSON.
func checkEnvelope(t *testing.T, got reading) {
	t.Helper()
	e := got.Email
	e.BodyStructure, e.BodyValues = got.Structure, map[string]schema.BodyValue{}
	e.SortBody()
	walk(got.Structure, func(p *schema.BodyPart) {
		if p.SubParts == nil && strings.HasPrefix(p.Type, "text/") {
			e.BodyValues[*p.PartID] = got.Texts[*p.PartID]
			e.Preview = checkPreview(t, got.Texts[*p.PartID].Value, p.Type == "text/html")
		}
	})
	encoded, err := json.Marshal(e)
	if err != nil || !json.Valid(encoded) {
		t.Errorf("the envelope is no JSON: %v", err)
	}
	for _, v := range e.BodyValues {
		if !utf8.ValidString(v.Value) {
			t.Errorf("text %q is not UTF-8", v.Value)
		}
	}
}

// checkPreview returns the preview of a text, and checks that it is one.
func checkPreview(t *testing.T, text string, isHTML bool) string {
	t.Helper()
	p := Preview(text, isHTML)
	if utf8.RuneCountInString(p) > maxPreview || !utf8.ValidString(p) || strings.Contains(p, "\x00") || strings.TrimSpace(p) != p {
		t.Errorf("preview of %q: %q", text, p)
	}
	return p
}

// mustReadField is mustRead of a message of one field, in two ways: at once, and an octet at a time.
func mustReadField(t *testing.T, field, value string) reading {
	t.Helper()
	message := field + ": " + value + "\r\n\r\n"
	got, err := read(strings.NewReader(message), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := readBodies(iotest.OneByteReader(strings.NewReader(message)), Limits{}, iotest.OneByteReader)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, other) {
		t.Errorf("%q differs (-at once +an octet at a time):\n%s", message, cmp.Diff(got, other))
	}
	checkReading(t, message, got, Limits{}.withDefaults())
	return got
}

func FuzzHeader(f *testing.F) {
	f.Add("Subject: =?utf-8?q?a?= =?utf-8?b?YQ==?=\r\nFrom: \"a\" <b@c>, g: d@e;\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\nReferences: <a@b>\r\n", 0)
	f.Add("To: a <b\r\nCc: (c) d@e (f)\r\nDate: 2006-01-02 15:04:05 GMT\r\n", 0)
	f.Add("Content-Type: text/plain; name=a\r\n b;charset=x\r\nContent-ID: <a\r\nContent-Language: de, (x) en\r\nMessage-ID: a b <c>\r\nFrom a\r\nno\r\n\r\nbody", 100)
	f.Fuzz(func(t *testing.T, header string, limit int) {
		e := mustRead(t, header, Limits{MaxHeaderBytes: int64(limit)}).Email
		for _, list := range [][]schema.EmailAddress{e.From, e.Sender, e.To, e.CC, e.BCC, e.ReplyTo} {
			for _, a := range list {
				if a.Email == "" {
					t.Errorf("%q: empty address in %v", header, list)
				}
			}
		}
		for _, list := range [][]string{e.MessageID, e.InReplyTo, e.References} {
			for _, id := range list {
				if id == "" || strings.ContainsAny(id, " \t\r\n") {
					t.Errorf("%q: identifier %q", header, id)
				}
			}
		}
	})
}

func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		"text/plain; charset=utf-8; name*0*=utf-8'en'%41; name*1=b; name=\"c\\\"d\"",
		"attachment; filename==?utf-8?q?a?=; filename*=iso-8859-1''%e4",
		"multipart/mixed boundary=x charset=y (c) ;; a; b=\"c",
	} {
		f.Add(s, "ä b.txt", byte(3))
	}
	f.Fuzz(func(t *testing.T, s, name string, size byte) {
		for _, field := range []string{"Content-Type", "Content-Disposition"} {
			checkName(t, mustReadField(t, field, s).Structure)
		}
		// A name that was written in any way the standards have is read as it was.
		if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, "=?") {
			return
		}
		want := safeName(norm.NFC.String(name))
		for _, written := range []string{mime.FormatMediaType("attachment", map[string]string{"filename": name}), sections(name, int(size)+1)} {
			got := mustReadField(t, "Content-Disposition", written).Structure.Name
			if got == nil && want != "" && written != "" || got != nil && norm.NFC.String(*got) != want {
				t.Errorf("%q: got %s, want %q", written, show(got), want)
			}
		}
	})
}

func show(s *string) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%q", *s)
}

// sections writes a file name by RFC 2231 §4.1, size octets in a section.
func sections(name string, size int) string {
	var b strings.Builder
	b.WriteString("attachment")
	for i := 0; i == 0 || name != ""; i++ {
		n := min(len(name), max(size, len(name)/maxSections+1))
		fmt.Fprintf(&b, "; filename*%d*=%s", i, map[bool]string{true: "utf-8''"}[i == 0])
		for _, c := range []byte(name[:n]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		name = name[n:]
	}
	return b.String()
}

// checkName checks that the name of a part is safe.
func checkName(t *testing.T, p *schema.BodyPart) {
	t.Helper()
	if p.Name != nil && (*p.Name == "" || len(*p.Name) > maxName || strings.ContainsAny(*p.Name, `/\`) ||
		strings.ContainsFunc(*p.Name, unicode.IsControl) || strings.ContainsFunc(*p.Name, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) })) {
		t.Errorf("name %q", *p.Name)
	}
}

// plainAddress is an address that needs no quotes and no case folding.
var plainAddress = regexp.MustCompile(`^[a-z0-9]+(\.[a-z0-9]+)*@[a-z0-9]+(\.[a-z0-9]+)*$`)

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		`"Doe, J." <j@example.org>, Jo (a (b) \) c) Doe <k@example.org>, g: l@example.org, m@example.org;, <>`,
		`Doe, J. <j@example.org>; undisclosed-recipients:;, a@b@c, <@r,@s:t@u>`,
		`=?utf-8?q?J=C3=B6?= <j@example.org>, "=?utf-8?q?a?= b" <c@d> e, "a" "b" <c d@e>, f (g`,
		"a\r\n <b@c\r\n >, \"\xe4\" <d@e>, :::;;;,,, \"\\\"\" <\"a b\"@c>, mailto:a@b",
	} {
		f.Add(s, "Jö D.")
	}
	f.Fuzz(func(t *testing.T, s, name string) {
		var got []schema.EmailAddress
		for _, a := range mustReadField(t, "From", s).Email.From {
			if got = append(got, a); a.Email == "" || a.Name != nil && *a.Name == "" {
				t.Errorf("%q: empty address or name in %v", s, got)
			}
		}
		// What a strict writer makes of the addresses is read as the same addresses.
		if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
			name = "x"
		}
		name = strings.TrimSpace(norm.NFC.String(name))
		list := []schema.EmailAddress{newAddress(name, "a@example.org")}
		for _, a := range got {
			if plainAddress.MatchString(a.Email) && (a.Name == nil || !strings.ContainsFunc(*a.Name, unicode.IsControl)) {
				list = append(list, a)
			}
		}
		var written []string
		for _, a := range list {
			name := ""
			if a.Name != nil {
				name = *a.Name
			}
			if strings.Contains(name, "=?") {
				return // such a name would be decoded again
			}
			written = append(written, (&mail.Address{Name: name, Address: a.Email}).String())
		}
		again := mustReadField(t, "From", strings.Join(written, ",\r\n ")).Email.From
		if d := cmp.Diff(list, again); d != "" {
			t.Errorf("%q (-written +read):\n%s", written, d)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("=?utf-8?q?a_=62?= =?UTF-8*de?b?w6Q=?=\r\n =?utf-8?b?w?= c =?=?a?q?", []byte("\xc3\xa4"), "utf-8", 1)
	f.Add("=?iso-2022-jp?b?GyRCJCIbKEI=?=", []byte("\x1b$B$\"\x1b(B"), "iso-2022-jp", 4)
	f.Add("=?x?q?\xe4?= =?? =?q?b??= ?=", []byte("\x83\x5c"), "shift_jis", 1)
	f.Fuzz(func(t *testing.T, text string, octets []byte, charset string, cut int) {
		e := mustReadField(t, "Subject", text).Email
		if e.Subject != nil && !norm.NFC.IsNormalString(*e.Subject) {
			t.Errorf("%q: %q is not normalized", text, *e.Subject)
		}
		// What a strict writer makes of a text is read as that text.
		if plain := norm.NFC.String(strings.TrimLeft(text, " \t")); utf8.ValidString(text) && !strings.ContainsFunc(plain, unicode.IsControl) && !strings.Contains(plain, "=?") {
			for _, encoder := range []mime.WordEncoder{mime.QEncoding, mime.BEncoding} {
				written := encoder.Encode("utf-8", plain)
				if got := new(charsets).decodeText(strings.ReplaceAll(written, "?= =?", "?=\r\n =?")); got != plain {
					t.Errorf("%q: got %q, want %q", written, got, plain)
				}
			}
		}
		// Octets may be divided between words at any place.
		if !isToken(charset) || strings.ContainsAny(charset, "*?") || len(charset) > maxCharset || len(octets) == 0 || strings.Contains(string(octets), "\x00") {
			return
		}
		cut = int(uint(cut) % uint(len(octets)))
		one := new(charsets).decodeText(wordOf(charset, octets))
		if two := new(charsets).decodeText(wordOf(charset, octets[:cut]) + "\r\n " + wordOf(charset, octets[cut:])); two != one {
			t.Errorf("%q in %s divided at %d: got %q, want %q", octets, charset, cut, two, one)
		}
		if most := maxExpansion * len(octets); len(one) > most {
			t.Errorf("%q in %s: got %d octets, want at most %d", octets, charset, len(one), most)
		}
	})
}

// wordOf is an encoded word of octets, or nothing for none.
func wordOf(charset string, octets []byte) string {
	if len(octets) == 0 {
		return ""
	}
	return "=?" + charset + "?b?" + base64.StdEncoding.EncodeToString(octets) + "?="
}

func FuzzPreview(f *testing.F) {
	f.Add("<p>a<b>b</b>&nbsp;c<style>d</style><!-- e --><", true)
	f.Add("a\u200b  \u00ad b\x00\xff", false)
	f.Fuzz(func(t *testing.T, text string, isHTML bool) {
		checkPreview(t, strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "?"), isHTML)
	})
}
