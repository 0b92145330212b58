package extract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

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
		mustRead(t, string(message), Limits{MaxParts: parts, MaxDepth: depth, MaxHeaderBytes: int64(header)})
	})
}

func FuzzHeader(f *testing.F) {
	f.Add("Subject: =?utf-8?q?a?= =?utf-8?b?YQ==?=\r\nFrom: \"a\" <b@c>, g: d@e;\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\nReferences: <a@b>\r\n")
	f.Add("To: a <b\r\nCc: (c) d@e (f)\r\nDate: 2006-01-02 15:04:05 GMT\r\n")
	f.Fuzz(func(t *testing.T, header string) {
		r := NewReader(strings.NewReader(header), Limits{})
		defer r.Close()
		h, err := r.Header()
		if err != nil {
			t.Fatal(err)
		}
		var e schema.Email
		h.Describe(&e)
		texts := []string{}
		if e.Subject != nil {
			texts = append(texts, *e.Subject)
		}
		for _, list := range [][]schema.EmailAddress{e.From, e.Sender, e.To, e.CC, e.BCC, e.ReplyTo} {
			for _, a := range list {
				if texts = append(texts, a.Email); a.Name != nil {
					texts = append(texts, *a.Name)
				}
				if a.Email == "" {
					t.Errorf("%q: empty address in %v", header, list)
				}
			}
		}
		texts = append(append(append(texts, e.MessageID...), e.InReplyTo...), e.References...)
		for _, f := range h.Fields {
			texts = append(texts, f.Name, f.Value)
		}
		for _, s := range texts {
			if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
				t.Errorf("%q: %q is not valid", header, s)
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
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		value, p := parseParameters(s)
		_ = value
		p.boundary.octets()
		for _, param := range []*parameter{&p.boundary, &p.charset, &p.name, &p.filename} {
			if text := param.text(new(charsets)); !utf8.ValidString(text) {
				t.Errorf("%q: value %q is not UTF-8", s, text)
			}
		}
		_, name := nameOf(new(charsets), &p.filename, &p.name)
		if name == nil {
			return
		}
		if *name == "" || len(*name) > maxName || !utf8.ValidString(*name) || strings.ContainsAny(*name, `/\`) ||
			strings.IndexFunc(*name, unicode.IsControl) >= 0 {
			t.Errorf("%q: name %q", s, *name)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("a\r\n\xe4\xc3\xa4\xff"), "utf-8")
	f.Add([]byte("\x1b$)C\x0e!!\x0f"), "iso-2022-kr")
	f.Add([]byte("\x1b$B$\"\x1b(B"), "iso-2022-jp")
	f.Fuzz(func(t *testing.T, octets []byte, charset string) {
		for _, whole := range []bool{true, false} {
			value := textOf(octets, charset, "text/html", whole).Value
			if !utf8.ValidString(value) {
				t.Errorf("%q as %q: %q is not UTF-8", octets, charset, value)
			}
			for _, isHTML := range []bool{true, false} {
				if p := Preview(value, isHTML); utf8.RuneCountInString(p) > maxPreview || !utf8.ValidString(p) {
					t.Errorf("preview of %q: %q", value, p)
				}
			}
		}
	})
}
