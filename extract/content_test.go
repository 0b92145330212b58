package extract

import (
	"strings"
	"testing"
)

func str(s *string) string {
	if s == nil {
		return "<nil>"
	}
	return *s
}

func TestFileName(t *testing.T) {
	tests := []struct{ name, disposition, contentType, want string }{
		{"quoted", `attachment; filename="report.pdf"`, "", "report.pdf"},
		{"unquoted with blanks", `attachment; filename=My nice report.pdf`, "", "My nice report.pdf"},
		{"unquoted with tspecials", `attachment; filename=Report (1) [a,b]:@.pdf; size=3`, "", "Report (1) [a,b]:@.pdf"},
		{"unquoted UTF-8", "attachment; filename=Prüfung.pdf", "", "Prüfung.pdf"},
		{"quoted UTF-8", "attachment; filename=\"Prüfung.pdf\"", "", "Prüfung.pdf"},
		{"windows-1252", "attachment; filename=\"Pr\xfcfung.pdf\"", "", "Prüfung.pdf"},
		{"encoded word quoted", `attachment; filename="=?iso-8859-1?Q?Pr=FCfung?= =?iso-8859-1?Q?_2.pdf?="`, "", "Prüfung 2.pdf"},
		{"encoded word unquoted", `attachment; filename==?utf-8?B?w7wucGRm?=`, "", "ü.pdf"},
		{"encoded words in two quoted strings", "attachment; filename=\"=?utf-8?q?a?=\"\r\n \"=?utf-8?q?b?=\"", "", "ab"},
		{"RFC 2231", `attachment; filename*=utf-8'de'Pr%c3%bcfung.pdf`, "", "Prüfung.pdf"},
		{"RFC 2231 in another charset", `attachment; filename*=iso-8859-15''%A4.pdf`, "", "€.pdf"},
		{"RFC 2231 in quotes", `attachment; filename*="koi8-r''%C1.pdf"`, "", "а.pdf"},
		{"RFC 2231 without charset", `attachment; filename*=a%20b.pdf`, "", "a b.pdf"},
		{"continuations", "attachment; filename*0=\"one \";\r\n filename*1=\"two.pdf\"", "", "one two.pdf"},
		{"continuations encoded, out of order", "attachment; filename*2=c.pdf; filename*0*=shift_jis''%83; filename*1*=%5C", "", "ソc.pdf"},
		{"continuations with a gap", "attachment; filename*0=a; filename*2=c", "", "a"},
		{"continuations from 1 on", "attachment; filename*1=a; filename=b", "", "b"},
		{"filename* before filename", `attachment; filename=plain.pdf; filename*=utf-8''ext.pdf`, "", "ext.pdf"},
		{"filename before name*", `attachment; filename=plain.pdf`, `application/pdf; name*=utf-8''ext.pdf`, "plain.pdf"},
		{"name* before name", "", `application/pdf; name=plain.pdf; name*=utf-8''ext.pdf`, "ext.pdf"},
		{"name", "attachment", `application/pdf; name="a b.pdf"`, "a b.pdf"},
		{"duplicate", `attachment; filename=one.pdf; filename=two.pdf`, "", "one.pdf"},
		{"missing semicolon", `attachment filename=a.pdf`, "", "a.pdf"},
		{"missing semicolon after quotes", `attachment; foo="x" filename="a.pdf"`, "", "a.pdf"},
		{"missing semicolon after a token", "", `application/pdf; charset=utf-8 name=a.pdf`, "a.pdf"},
		{"doubled and leading semicolons", `;attachment;; ; filename=a.pdf;;`, "", "a.pdf"},
		{"comments", `attachment (really); (now) filename (of) = (is) "a.pdf" (yes); x=y`, "", "a.pdf"},
		{"unclosed quote", `attachment; filename="a.pdf; size=3`, "", "a.pdf"},
		{"escaped quote", `attachment; filename="a\"b\\c.pdf"`, "", "c.pdf"},
		{"path of Windows", `attachment; filename="C:\temp\a.pdf"`, "", "a.pdf"},
		{"path of Unix", `attachment; filename="../../etc/passwd"`, "", "passwd"},
		{"only a path", `attachment; filename="../"`, "", "<nil>"},
		{"dots", `attachment; filename=".."`, "", "<nil>"},
		{"dots and blanks", `attachment; filename=". .. "`, "", "<nil>"},
		{"nothing to be seen", "attachment; filename=\"\u200b\u2800\"", "", "<nil>"},
		{"falls back where unusable", `attachment; filename="/"`, "application/pdf; name=b.pdf", "b.pdf"},
		{"control characters", "attachment; filename=\"a\x01\tb\x7f.pdf\"", "", "a b.pdf"},
		{"line ends in an encoded word", "attachment; filename=\"=?utf-8?q?Outlook=0D=0A=0ALogo.png?=\"", "", "Outlook Logo.png"},
		{"file", "", `application/octet-stream; file="A.EXE"`, "A.EXE"},
		{"filename before file", `attachment; filename=a`, `application/octet-stream; file=b`, "a"},
		{"escaped quotes without quotes", `attachment; filename=\"report.pdf\"`, "", "report.pdf"},
		{"separator at its end", `attachment; filename="C:\dir\\"`, "", "dir"},
		{"doubled quotes", `attachment; filename=""report.pdf""; size=1`, "", "report.pdf"},
		{"quotes inside", `attachment; filename="the "new" report.pdf"`, "", `the "new" report.pdf`},
		{"encoded word in sections", `attachment; filename*0="=?utf-8?b?UHLDvGZ1"; filename*1="bmcucGRm?="`, "", "Prüfung.pdf"},
		{"parameter on a line of its own", "attachment;\r\nfilename=\"y.pdf\"", "", "y.pdf"},
		{"comma for a semicolon", "attachment, filename=a.pdf", "", "a.pdf"},
		{"no disposition", "filename=a.pdf", "", "a.pdf"},
		{"colon for a semicolon", "attachment:filename=a.pdf", "", "a.pdf"},
		{"escaped quote at its end", "", `application/pdf; name=value1\"`, `value1"`},
		{"S/MIME", "", "application/pkcs7-mime; smime-type=enveloped-data", "smime.p7m"},
		{"S/MIME certificates", "", "application/pkcs7-mime; smime-type=certs-only", "smime.p7c"},
		{"S/MIME signature", "attachment", "application/x-pkcs7-signature", "smime.p7s"},
		{"PGP signature", "", "application/pgp-signature", "signature.asc"},
		{"S/MIME with a name", "attachment; filename=a.p7m", "application/pkcs7-mime", "a.p7m"},
		{"direction marks", "attachment; filename=\"a\u202efdp.exe\u2066\"", "", "afdp.exe"},
		{"empty", `attachment; filename=""`, "", "<nil>"},
		{"too long with a suffix", `attachment; filename="` + strings.Repeat("ü", 200) + `.pdf"`, "", strings.Repeat("ü", 125) + ".pdf"},
		{"too long", `attachment; filename="` + strings.Repeat("ü", 200) + `"`, "", strings.Repeat("ü", 127)},
		{"percent signs are kept", `attachment; filename="100%25.pdf"`, "", "100%25.pdf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			message := "Content-Type: " + tt.contentType + "\r\n"
			if tt.contentType == "" {
				message = ""
			}
			if tt.disposition != "" {
				message += "Content-Disposition: " + tt.disposition + "\r\n"
			}
			got := mustRead(t, message+"\r\n", Limits{})
			if name := str(got.Structure.Name); name != tt.want {
				t.Errorf("name in %q: got %q, want %q", message, name, tt.want)
			}
		})
	}
}

func TestMediaType(t *testing.T) {
	tests := []struct{ name, value, want, charset, codes string }{
		{"plain", "text/html; charset=utf-8", "text/html", "utf-8", ""},
		{"capitals", "TEXT/HTML; CHARSET=UTF-8", "text/html", "UTF-8", ""},
		{"without charset", "text/plain", "text/plain", "us-ascii", ""},
		{"folded", "text/html;\r\n\tcharset=\"iso-8859-1\"", "text/html", "iso-8859-1", ""},
		{"not text", "image/png; charset=utf-8", "image/png", "utf-8", ""},
		{"comment", "text/html (page); charset=us-ascii (plain)", "text/html", "us-ascii", ""},
		{"blanks around the slash", "text / html; charset=a", "text/html", "a", ""},
		{"in quotes", `"text/html"; charset=a`, "text/html", "a", ""},
		{"charset in single quotes", `text/html; charset='utf-8'`, "text/html", "utf-8", ""},
		{"missing semicolon", "text/html charset=utf-8", "text/html", "utf-8", "1:parameter-syntax"},
		{"trailing semicolon", "text/html;", "text/html", "us-ascii", ""},
		{"no subtype", "text", "text/plain", "us-ascii", "1:content-type-syntax"},
		{"empty", "", "text/plain", "us-ascii", "1:content-type-syntax"},
		{"odd characters", "application/@@", "application/octet-stream", "<nil>", "1:content-type-syntax"},
		{"empty subtype", "image/", "application/octet-stream", "<nil>", "1:content-type-syntax"},
		{"multipart without subtype", "multipart; boundary=x", "multipart/mixed", "<nil>", "content-type-syntax missing-delimiter"},
		{"NUL", "text/ht\x00ml", "text/html", "us-ascii", "header-nul"},
		{"something behind it", "application/pdf/.pdf; name=a.pdf", "application/pdf", "<nil>", "1:content-type-syntax"},
		{"a bracket behind it", "text/html>; charset=utf-8", "text/html", "utf-8", "1:content-type-syntax"},
		{"half a type", "application/; name=a", "application/octet-stream", "<nil>", "1:content-type-syntax"},
		{"duplicate parameter", "text/html; charset=a; charset=b", "text/html", "a", "1:parameter-syntax"},
		{"parameter without value", "text/html; foo; charset=a", "text/html", "a", "1:parameter-syntax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, "Content-Type: "+tt.value+"\r\n\r\n", Limits{})
			if s := got.Structure; s.Type != tt.want || str(s.Charset) != tt.charset || got.codes() != tt.codes {
				t.Errorf("Content-Type: %s: got %s charset %s [%s], want %s charset %s [%s]",
					tt.value, s.Type, str(s.Charset), got.codes(), tt.want, tt.charset, tt.codes)
			}
		})
	}
}

func TestOtherContentFields(t *testing.T) {
	got := mustRead(t, lines("Content-Disposition: INLINE; x=y", "Content-ID:  <a@b> (c)", "Content-Language: de, en-GB (British) ,,fr",
		"Content-Location: http://example.org/\r\n a b", "Content-Type: text/html", "Content-Type: text/plain", "", ""), Limits{})
	s := got.Structure
	if s.Type != "text/html" || str(s.Disposition) != "inline" || str(s.CID) != "a@b" || strings.Join(s.Language, "|") != "de|en-GB|fr" ||
		str(s.Location) != "http://example.org/ab" || got.codes() != "1:duplicate-field" {
		t.Errorf("got %+v, disposition %s, cid %s, location %s [%s]", s.BodyProperties, str(s.Disposition), str(s.CID), str(s.Location), got.codes())
	}
	got = mustRead(t, lines("Content-Disposition:", "Content-ID: bare@id", "Content-Language: ", "Content-Location: ", "", ""), Limits{})
	s = got.Structure
	if s.Disposition != nil || str(s.CID) != "bare@id" || s.Language != nil || s.Location != nil {
		t.Errorf("empty fields: got %+v", s.BodyProperties)
	}
}

func TestDisposition(t *testing.T) {
	for value, want := range map[string]string{
		"attachment": "attachment", "INLINE; a=b": "inline", "attachment, filename=a.pdf": "attachment",
		"filename=a.pdf": "<nil>", "attachment:filename=a.pdf": "attachment", "x-other": "x-other", `"inline"`: "inline", "": "<nil>",
	} {
		if got := str(mustRead(t, "Content-Disposition: "+value+"\r\n\r\n", Limits{}).Structure.Disposition); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
