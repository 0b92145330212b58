package extract

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

func TestHeaderBlock(t *testing.T) {
	tests := []struct {
		name, message string
		limit         int64
		fields        string // Name=Value, separated by |
		body          string
		exact         bool
		codes         string
	}{
		{name: "exact", message: "A: b\r\nC:\r\n\td\r\n e\r\n\r\nbody", fields: "A= b|C=\r\n\td\r\n e", body: "body", exact: true},
		{name: "a continuation of blanks", message: "X: a\r\n \r\n b\r\nY: c\r\n\r\nbody", fields: "X= a\r\n \r\n b|Y= c", body: "body", exact: true},
		{name: "byte order mark", message: "\uFEFFA-B: c\r\nX-Y: z\r\n\r\nbody", fields: "A-B= c|X-Y= z", body: "body"},
		{name: "no fields", message: "\r\nbody", fields: "", body: "body", exact: true},
		{name: "no blank line", message: "A: b\r\n", fields: "A= b"},
		{name: "no line end", message: "A: b", fields: "A= b"},
		{name: "LF", message: "A: b\n\nbody", fields: "A= b", body: "body", codes: "bare-newline"},
		{name: "mixed line ends", message: "A: b\nC: d\r\n\r\nbody", fields: "A= b|C= d", body: "body", codes: "bare-newline"},
		{name: "doubled CR", message: "A: b\r\r\n\r\r\nbody", fields: "A= b\r", body: "body"},
		{name: "NUL", message: "A: b\x00c\r\n\r\n", fields: "A= bc", codes: "header-nul"},
		{name: "8-bit", message: "A: \xe4\r\nB: ä\r\n\r\n", fields: "A= \uFFFD|B= ä", codes: "header-charset"},
		{name: "blank before the colon", message: "Subject : x\r\n\r\n", fields: "Subject= x"},
		{name: "line without colon", message: "A: b\r\nno colon\r\n folded\r\nC: d\r\n\r\nbody", fields: "A= b|C= d", body: "body", codes: "header-syntax"},
		{name: "last line without colon", message: "A: b\r\nno colon\r\n\r\nbody", fields: "A= b", body: "body", codes: "header-syntax"},
		{name: "body without blank line", message: "A: b\r\nno colon\r\nmore", fields: "A= b", body: "no colon\r\nmore", codes: "missing-blank-line"},
		{name: "odd names", message: "A B: c\r\nX-A: y\r\nÄ: d\r\n\xe4: e\r\n: f\r\n\r\nbody", fields: "A B= c|X-A= y|Ä= d|\uFFFD= e", body: "body", codes: "header-syntax header-charset"},
		{name: "control character in a name", message: "A: b\r\nB\x01: c\r\nC: d\r\n\r\n", fields: "A= b|C= d", codes: "header-syntax"},
		{name: "leading blank", message: " Subject: x\r\nA: b\r\n\r\nbody", fields: "Subject= x|A= b", body: "body", codes: "header-syntax"},
		{name: "leading empty lines", message: "\r\n\r\nReceived: x\r\n\r\nbody", fields: "Received= x", body: "body", codes: "leading-blank-lines"},
		{name: "empty header, body like a field", message: "\r\nHello: x\r\n\r\nbody", body: "Hello: x\r\n\r\nbody", exact: true},
		{name: "mbox line", message: "From a@b Mon Jan  2 15:04:05 2006\r\nA: b\r\n\r\nbody", fields: "A= b", body: "body", codes: "mbox-from"},
		{name: "quoted mbox line", message: ">From a@b Mon Jan  2 15:04:05 2006\nA: b\n\nbody", fields: "A= b", body: "body", codes: "mbox-from bare-newline"},
		{name: "From with a blank", message: "From : a@b\r\n\r\n", fields: "From= a@b"},
		{name: "no header at all", message: "Dear all,\r\nplease\r\n\r\nregards", body: "Dear all,\r\nplease\r\n\r\nregards", codes: "missing-header"},
		{name: "no header, a colon in the first line", message: "ALARM printer 3: paper jam\r\n\r\nplease come", body: "ALARM printer 3: paper jam\r\n\r\nplease come", codes: "missing-header"},
		{name: "first line no field", message: "garbage\r\nSubject: x\r\n\r\nbody", fields: "Subject= x", body: "body", codes: "header-syntax"},
		{name: "fold of blanks only", message: "A: b\r\n \r\nC: d\r\n\r\nbody", fields: "A= b\r\n |C= d", body: "body", exact: true},
		{name: "at the limit", limit: 14, message: "A: b\r\nCC: d\r\n\r\nbody", fields: "A= b", body: "body", codes: "header-too-large"},
		{name: "exactly the limit", limit: 15, message: "A: b\r\nCC: d\r\n\r\nbody", fields: "A= b|CC= d", body: "body", exact: true, codes: "address-syntax"},
		{name: "far over the limit", limit: 8, message: "A: b\r\nCC: d\r\n e\r\nF: g\r\n\r\nbody", fields: "A= b", body: "body", codes: "header-too-large"},
		{name: "long line over the limit", limit: 100, message: "A: b\r\nC: " + strings.Repeat("d", 200000) + "\r\n\r\nbody", fields: "A= b", body: "body", codes: "header-too-large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, tt.message, Limits{MaxHeaderBytes: tt.limit})
			var fields []string
			for _, f := range got.Email.Headers {
				fields = append(fields, f.Name+"="+f.Value)
			}
			if f := strings.Join(fields, "|"); f != tt.fields || got.Parts[0] != tt.body || got.Exact != tt.exact || got.codes() != tt.codes {
				t.Errorf("%.200q:\ngot  %q body %q exact %v [%s]\nwant %q body %q exact %v [%s]", tt.message,
					f, got.Parts[0], got.Exact, got.codes(), tt.fields, tt.body, tt.exact, tt.codes)
			}
			if got.Raw+got.Rest+got.Parts[0] != tt.message {
				t.Errorf("%.200q: header block %q, rest %.200q and body are not the message", tt.message, got.Raw, got.Rest)
			}
			if l := int64(len(got.Raw)); tt.limit > 0 && l > tt.limit {
				t.Errorf("%.200q: Raw has %d octets, more than %d", tt.message, l, tt.limit)
			}
		})
	}
}

// describe reads one header field.
func describe(t *testing.T, field string) (schema.Email, string) {
	t.Helper()
	got := mustRead(t, field+"\r\n\r\n", Limits{})
	return got.Email, got.codes()
}

func TestSubject(t *testing.T) {
	tests := []struct{ name, value, want, codes string }{
		{"plain", " hello", "hello", ""},
		{"empty", "", "", ""},
		{"folded", " a\r\n\tb", "a\tb", ""},
		{"UTF-8", " Grüße", "Grüße", ""},
		{"windows-1252", " Gr\xfc\xdfe \x80", "Grüße €", "header-charset"},
		{"NUL", " a\x00b", "ab", "header-nul"},
		{"encoded word", " =?utf-8?Q?Gr=C3=BC=C3=9Fe_an?= alle", "Grüße an alle", ""},
		{"base64 word", " =?UTF-8?B?R3LDvMOfZQ==?=", "Grüße", ""},
		{"base64 without padding", " =?UTF-8?B?R3LDvMOfZQ?=", "Grüße", ""},
		{"adjacent words", " =?utf-8?q?a?=\r\n =?utf-8?q?b?= c", "ab c", ""},
		{"character split between words", " =?utf-8?q?=C3?= =?utf-8?b?vA==?=", "ü", ""},
		{"no blank between words", " =?utf-8?q?a?==?utf-8?q?b?=x", "abx", ""},
		{"blanks inside a word", " =?utf-8?q?a b c?=", "a b c", ""},
		{"question mark inside a word", " =?utf-8?q?what?!?=", "what?!", ""},
		{"language", " =?utf-8*en?q?a?=", "a", ""},
		{"iso-2022-jp", " =?iso-2022-jp?B?GyRCJCIbKEI=?=", "あ", ""},
		{"iso-2022-kr", " =?iso-2022-kr?B?GyQpQw4wIQ8=?=", "가", ""},
		{"unknown charset", " =?x-none?q?a=E4?=", "aä", ""},
		{"unknown charset, UTF-8", " =?x-none?q?=C3=A4?=", "ä", ""},
		{"octets that do not fit", " =?utf-8?q?a=E4b?=", "aäb", ""},
		{"line ends in a word", " =?utf-8?q?a=0D=0Ab=09c?=", "ab\tc", ""},
		{"equals signs", " =?utf-8?Q?a=4?= =?utf-8?Q?=?=", "a=4=", ""},
		{"UTF-16 in words", " =?utf-16le?b?6QA=?=", "é", ""},
		{"not closed", " =?utf-8?q?abc", "=?utf-8?q?abc", ""},
		{"not closed, then one", " =?utf-8?q?abc =?utf-8?q?d?=", "=?utf-8?q?abc d", ""},
		{"unknown letter", " =?utf-8?x?abc?=", "=?utf-8?x?abc?=", ""},
		{"no word", " =?=?", "=?=?", ""},
		{"decomposed", " u\u0308", "ü", ""},
		{"NUL in a word", " =?utf-8?q?a=00b?=", "ab", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, codes := describe(t, "Subject:"+tt.value)
			if str(e.Subject) != tt.want || codes != tt.codes {
				t.Errorf("Subject:%s: got %q [%s], want %q [%s]", tt.value, str(e.Subject), codes, tt.want, tt.codes)
			}
		})
	}
	if e, _ := describe(t, "X: y"); e.Subject != nil {
		t.Errorf("no Subject: got %q, want nil", *e.Subject)
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct{ name, value, want, codes string }{
		{"plain", " a@b.org", "a@b.org", ""},
		{"name", ` "Doe, J." <j@b.org>, x y <z@b.org>`, "Doe, J. <j@b.org>|x y <z@b.org>", ""},
		{"encoded", " =?utf-8?q?J=C3=BCrgen?= <j@b.org>", "Jürgen <j@b.org>", ""},
		{"encoded in quotes", ` "=?utf-8?q?J=C3=BCrgen?=" <j@b.org>`, "Jürgen <j@b.org>", ""},
		{"encoded, other charset", " =?iso-2022-kr?B?GyQpQw4wIQ8=?= <j@b.org>", "가 <j@b.org>", ""},
		{"encoded, unknown charset", " =?x-none?q?a?= <j@b.org>", "a <j@b.org>", ""},
		{"8-bit name", " J\xfcrgen <j@b.org>", "Jürgen <j@b.org>", "header-charset"},
		{"group", " friends: a@b.org, C <c@b.org>;, d@b.org", "a@b.org|C <c@b.org>|d@b.org", ""},
		{"empty group", " undisclosed-recipients:;", "", ""},
		{"comment as name", " j@b.org (Jo)", "Jo <j@b.org>", ""},
		{"comment as name, otherwise odd", " j@b.org (Jo), ,", "Jo <j@b.org>", ""},
		{"no bracket closed", " Jo <j@b.org", "Jo <j@b.org>", "address-syntax"},
		{"dots and blanks in the name", " Dr. Jo (x) D. <j@b.org>", "Dr. Jo D. <j@b.org>", ""},
		{"comma in the name", " Doe, Jo <j@b.org>", "Doe, Jo <j@b.org>", "address-syntax"},
		{"at sign in the name", " j@b.org <j@b.org>", "j@b.org <j@b.org>", "address-syntax"},
		{"no domain", " root", "root", "address-syntax"},
		{"quoted local part", ` "a b"@c.org`, `"a b"@c.org`, ""},
		{"route", " <@x,@y:a@b.org>", "a@b.org", ""},
		{"semicolons between", " a@b.org; c@d.org", "a@b.org|c@d.org", "address-syntax"},
		{"name without comma", " Jo j@b.org", "Jo <j@b.org>", "address-syntax"},
		{"null", " <>", "", "address-syntax"},
		{"nothing", "", "", ""},
		{"words", " not an address", "", "address-syntax"},
		{"unclosed quote", ` "Jo <j@b.org>`, "Jo <j@b.org>", "address-syntax"},
		{"two brackets", " Jo <a@b.org> <c@d.org>", "Jo <a@b.org>|c@d.org", "address-syntax"},
		{"no comma between", " Jo D <a@b.org> Al E. <c@d.org> (F), g@h.org", "Jo D <a@b.org>|Al E. <c@d.org>|g@h.org", "address-syntax"},
		{"no comma between, no names", " a@b.org c@d.org", "a@b.org|c@d.org", "address-syntax"},
		{"an address behind one", " Jo <a@b.org> c@d.org El <e@f.org>", "Jo <a@b.org>|c@d.org El <e@f.org>", "address-syntax"},
		{"a name behind it", " <a@b.org> Jo", "Jo <a@b.org>", ""},
		{"comma in an encoded word", " =?utf-8?q?Doe,_J=C3=BCrgen?= <a@b.org>, c@d.org", "Doe, Jürgen <a@b.org>|c@d.org", ""},
		{"pieces apart", " jane . doe @ example . org", "jane.doe@example.org", ""},
		{"comments inside", " Jo <jane(home)@example(net).org>", "Jo <jane@example.org>", ""},
		{"a quoted name without brackets", ` "Jo D" j@b.org`, "Jo D <j@b.org>", "address-syntax"},
		{"words of a charset with states", " =?iso-2022-jp?B?GyRC?= =?iso-2022-jp?B?RnxLXBsoQg==?= <a@b.org>", "日本 <a@b.org>", ""},
		{"quoted local part beside an encoded word", ` "john doe"@example.org, =?utf-8?q?J=C3=B6?= <a@b.org>`, `"john doe"@example.org|Jö <a@b.org>`, ""},
		{"brackets in a quoted local part", ` =?utf-8?q?J=C3=B6?= <a@b.org>, Jo <"x> <boss@corp.example>,"@evil.org>`, `Jö <a@b.org>|Jo <"x> <boss@corp.example>,"@evil.org>`, ""},
		{"quoted-pair beside an encoded word", ` "Doe\, Jo" <j@x.org>, =?utf-8?q?J=C3=B6?= <a@b.org>`, "Doe, Jo <j@x.org>|Jö <a@b.org>", ""},
		{"several in one pair of brackets", " Jo <a@b.org,c@d.org; e@f.org>", "Jo <a@b.org>|c@d.org|e@f.org", "address-syntax"},
		{"smileys", " Jo :) <a@b.org>, Al :-( <c@d.org>", "Jo :) <a@b.org>|Al :-( <c@d.org>", "address-syntax"},
		{"mailto", " <mailto:a@b.org>, mailto:c@d.org", "a@b.org|c@d.org", "address-syntax"},
		{"quotes around it", ` "a@b.org", 'c@d.org', Jo <'e@f.org'>`, "a@b.org|c@d.org|Jo <e@f.org>", "address-syntax"},
		{"a bracket behind it", " a@b.org>", "a@b.org", "address-syntax"},
		{"an at sign alone", " @", "@", "address-syntax"},
		{"an apostrophe", " Jo (x) <o'brien@example.org>, @@", "Jo <o'brien@example.org>|@@", "address-syntax"},
		{"two at signs", " a@b@c.org", "a@b@c.org", "address-syntax"},
		{"a parenthesis nothing closes before a comment", " Smile ( (home) <a@b.org>", "Smile ( (home) <a@b.org>", "address-syntax"},
		{"line ends in a name", " =?utf-8?q?a=0D=0ABcc:_z?= <a@b.org>", "aBcc: z <a@b.org>", ""},
		{"doubled brackets", " Jo <<a@b.org>>", "Jo <a@b.org>", "address-syntax"},
		{"folded", " a@b.org,\r\n c@d.org", "a@b.org|c@d.org", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, codes := describe(t, "To:"+tt.value)
			var list []string
			for _, a := range e.To {
				if a.Name != nil {
					list = append(list, *a.Name+" <"+a.Email+">")
				} else {
					list = append(list, a.Email)
				}
			}
			if got := strings.Join(list, "|"); got != tt.want || codes != tt.codes {
				t.Errorf("To:%s: got %q [%s], want %q [%s]", tt.value, got, codes, tt.want, tt.codes)
			}
		})
	}
}

func TestMessageIDs(t *testing.T) {
	tests := []struct{ name, value, want, codes string }{
		{"one", " <a@b>", "a@b", ""},
		{"several, comments", " <a@b> (c)\r\n <d@e>,<f>", "a@b|d@e|f", ""},
		{"blank inside", " <a @b>", "a@b", ""},
		{"no brackets", " a@b", "a@b", ""},
		{"not closed", " <a@b", "a@b", ""},
		{"empty", " <>", "", "message-id-syntax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, codes := describe(t, "References:"+tt.value)
			if got := strings.Join(e.References, "|"); got != tt.want || codes != tt.codes {
				t.Errorf("References:%s: got %q [%s], want %q [%s]", tt.value, got, codes, tt.want, tt.codes)
			}
		})
	}
}

func TestDate(t *testing.T) {
	tests := []struct {
		value, want string
		odd         bool
	}{
		{"Mon, 2 Jan 2006 15:04:05 -0700", "2006-01-02T15:04:05-07:00", false},
		{"2 Jan 2006 15:04 +0100 (CET)", "2006-01-02T15:04:00+01:00", false},
		{"Mon, 02 Jan 06 15:04:05 GMT", "2006-01-02T15:04:05Z", false},
		{"Mon,  2 Jan 2006\r\n 15:04:05 GMT", "2006-01-02T15:04:05Z", false},
		{"Mon Jan  2 15:04:05 2006", "2006-01-02T15:04:05Z", true},
		{"Mon, 2 Jan 2006 15:04:05 GMT+0200", "2006-01-02T15:04:05+02:00", true},
		{"Mon, 2 Jan 2006 15:04:05 +02:00", "2006-01-02T15:04:05+02:00", true},
		{"Monday, 2 Jan 2006 15:04:05 +0200", "2006-01-02T15:04:05+02:00", false},
		{"2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z", true},
		{"2006-01-02 15:04:05 +0200", "2006-01-02T15:04:05+02:00", true},
		{"Mon, 2 Jan 2006 15:04:05", "2006-01-02T15:04:05Z", true},
		{"Mon, 2 Jan 0000 15:04:05 +0000", "", true},
		{"Mon, 2 Jan 2006 15:04:05 +9900", "", true},
		{"Fri, 31 Dec 9999 23:59:59 -1200", "", true},
		{"Mon, 2 Jan 06 15:04:05 EST", "2006-01-02T15:04:05-05:00", false},
		{"2 Jan 99 15:04:05 Z", "1999-01-02T15:04:05Z", false},
		{"2 Jan 99 15:04:05 A", "1999-01-02T15:04:05Z", false},
		{"2 Jan 60 15:04:05 PDT", "1960-01-02T15:04:05-07:00", false},
		{"2 Jan 106 15:04:05 +0000", "2006-01-02T15:04:05Z", false},
		{"Mon , 2 Jan 2006 15 : 04 : 05 +0000", "2006-01-02T15:04:05Z", false},
		{"Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z", false},
		{"2 Jan 2006 15:04:05 +02", "2006-01-02T15:04:05+02:00", true},
		{"2 Jan 2006 15:04:05 CET", "2006-01-02T15:04:05Z", true},
		{"02-Jan-06 15:04:05 +0000", "2006-01-02T15:04:05Z", true},
		{"2 Sept 2006 15:04:05 +0000", "2006-09-02T15:04:05Z", true},
		{"September 2, 2006 3:04:05 PM +0000", "2006-09-02T15:04:05Z", true},
		{"2 Jan 2006 12:04 AM", "2006-01-02T00:04:00Z", true},
		{"2 Jan 2006 15.04.05 0200", "2006-01-02T15:04:05+02:00", true},
		{"2006/01/02 15:04", "2006-01-02T15:04:00Z", true},
		{"2 Jan 2006", "2006-01-02T00:00:00Z", true},
		{"Mon, 2 Jan 2006 15:04:05 \"GMT\"", "2006-01-02T15:04:05Z", false},
		{"31 Feb 2006 15:04:05 +0000", "", true},
		{"2 Jan 2006 25:04:05 +0000", "", true},
		{"1/2/2006", "", true},
		{"1 Jan 2020 1:2K", "2020-01-01T00:00:00Z", true},
		{"1 Jan 2020 1:KKKK", "2020-01-01T00:00:00Z", true},
		{"Mon, 2 Jan 2006 15:04:05 -0060", "2006-01-02T15:04:05-01:00", true},
		{"yesterday", "", true},
		{"", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			e, codes := describe(t, "Date: "+tt.value)
			got, wantCodes := "", ""
			if e.SentAt != nil {
				got = e.SentAt.Format(time.RFC3339)
				if _, err := json.Marshal(e.SentAt); err != nil {
					t.Errorf("Date: %s: %v", tt.value, err)
				}
			}
			if tt.odd {
				wantCodes = CodeDateSyntax
			}
			if got != tt.want || codes != wantCodes {
				t.Errorf("Date: %s: got %q [%s], want %q [%s]", tt.value, got, codes, tt.want, wantCodes)
			}
		})
	}
}

func TestRepeatedFields(t *testing.T) {
	e, codes := describe(t, "Subject: a\r\nsubject: b\r\nTo: x@y\r\nTO: z@y")
	if str(e.Subject) != "b" || len(e.To) != 1 || e.To[0].Email != "z@y" || codes != "duplicate-field duplicate-field" {
		t.Errorf("got subject %q, to %v [%s], want the last of each", str(e.Subject), e.To, codes)
	}
}

// TestHeaderRest leaves some of a header block over the limit unread, to be skipped.
func TestHeaderRest(t *testing.T) {
	message := "A: b\r\nSubject: " + strings.Repeat("x", 100) + "\r\n\r\r\nbody"
	for n := range 120 {
		r := NewReader(strings.NewReader(message), Limits{MaxHeaderBytes: 10})
		h, err := r.Header()
		if err != nil || h.Rest == nil {
			t.Fatalf("got rest %v, %v", h.Rest, err)
		}
		rest, err := io.ReadAll(io.LimitReader(iotest.OneByteReader(h.Rest), int64(n)))
		if want := message[10 : len(message)-len("body")]; err != nil || string(rest) != want[:min(n, len(want))] {
			t.Errorf("reading %d octets of the rest: got %q, %v", n, rest, err)
		}
		p, err := r.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(p.Body); err != nil || string(body) != "body" {
			t.Errorf("after %d octets of the rest: body %q, %v", n, body, err)
		}
		if k, err := h.Rest.Read(make([]byte, 1)); k != 0 || err != io.EOF {
			t.Errorf("rest after NextPart: got %d, %v, want io.EOF", k, err)
		}
		r.Close()
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	for range 300 {
		b.WriteString("--x\r\nContent-Transfer-Encoding: " + strings.Repeat("\xe4\x01", 500) + "\r\n\r\n\r\n")
	}
	got := mustRead(t, mixed(b.String(), "--x--"), Limits{})
	if n := len(got.Problems); n != maxProblems+1 {
		t.Fatalf("got %d problems, want %d", n, maxProblems+1)
	}
	want := schema.Problem{Code: CodeMore, Detail: fmt.Sprintf("%d more problems are not listed", 600-maxProblems)}
	if d := cmp.Diff(want, got.Problems[maxProblems]); d != "" {
		t.Errorf("the last problem (-want +got):\n%s", d)
	}
	for _, p := range got.Problems {
		if len(p.Detail) > maxProblemDetail || strings.ContainsAny(p.Detail, "\x01\r\n") {
			t.Errorf("detail %q", p.Detail)
		}
	}
}

// TestLongFields reads values longer than is interpreted: nothing comes out that was not in them.
func TestLongFields(t *testing.T) {
	var to strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&to, "Jö%d <user%d@example.org>,\r\n ", i, i)
	}
	e, codes := describe(t, "To: "+to.String()+"last@example.org")
	for i, a := range e.To {
		if want := fmt.Sprintf("user%d@example.org", i); a.Email != want || a.Name == nil || *a.Name != fmt.Sprintf("Jö%d", i) {
			t.Fatalf("address %d: got %v %s, want %s", i, a.Name, a.Email, want)
		}
	}
	if len(e.To) < 1000 || codes != "field-too-large" {
		t.Errorf("got %d addresses, %q", len(e.To), codes)
	}
	for lead := range 4 {
		text := strings.Repeat("x", lead) + strings.Repeat("日本語", 3000)
		e, codes := describe(t, "Subject: "+text)
		if e.Subject == nil || len(*e.Subject) < 10000 || !strings.HasPrefix(text, *e.Subject) || codes != "field-too-large" {
			t.Errorf("got %.40q of %d octets, %q", *e.Subject, len(*e.Subject), codes)
		}
	}
}
