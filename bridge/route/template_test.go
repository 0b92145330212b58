package route

import (
	"strings"
	"testing"
)

func template(t testing.TB, s string) Template {
	t.Helper()
	tmpl, err := ParseTemplate(s, MaxAddress)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestTemplate(t *testing.T) {
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("a", 62)+".", 4), ".") // 251 octets
	for _, tt := range []struct {
		name, text, domain, want string
		ok                       bool
	}{
		{"empty", "", "example.com", "", true},
		{"static", "mail", "example.com", "mail", true},
		{"static, without a domain", "mail", "[192.0.2.1]", "mail", true},
		{"domain alone", "{rcpt.domain}", "example.com", "example.com", true},
		{"in the middle", "/queues/{rcpt.domain}/in", "example.com", "/queues/example.com/in", true},
		{"twice", "{rcpt.domain}{rcpt.domain}", "a.example", "a.examplea.example", true},
		{"A-label", "{rcpt.domain}", "xn--bcher-kva.example", "xn--bcher-kva.example", true},
		{"underscore", "{rcpt.domain}", "my_host.example", "my_host.example", true},
		{"longest", "1234{rcpt.domain}", long, "1234" + long, true},
		{"too long", "12345{rcpt.domain}", long, "", false},
		{"no domain", "{rcpt.domain}", "", "", false},
		{"address literal", "{rcpt.domain}", "[192.0.2.1]", "", false},
		{"IPv6 literal", "{rcpt.domain}", "[ipv6:2001:db8::1]", "", false},
		{"empty label", "{rcpt.domain}", "example..com", "", false},
		{"star", "{rcpt.domain}", "*.example.com", "", false},
		{"slash", "{rcpt.domain}", "a/b.example", "", false},
		{"braces", "{rcpt.domain}", "{rcpt.domain}", "", false},
		{"upper case", "{rcpt.domain}", "EXAMPLE.com", "", false},
		{"U-label", "{rcpt.domain}", "bücher.example", "", false},
		{"long label", "{rcpt.domain}", strings.Repeat("a", 64) + ".example", "", false},
		{"long domain", "{rcpt.domain}", long + ".ab", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmpl := template(t, tt.text)
			if got, ok := tmpl.expand(tt.domain); got != tt.want || ok != tt.ok {
				t.Errorf("%q for %q:\ngot  %q, %v\nwant %q, %v", tt.text, tt.domain, got, ok, tt.want, tt.ok)
			}
			if tmpl.String() != tt.text {
				t.Errorf("String: got %q, want %q", tmpl.String(), tt.text)
			}
		})
	}
	if got, ok := (Template{}).expand("example.com"); got != "" || !ok {
		t.Errorf("the zero template: got %q, %v", got, ok)
	}
}

func TestParseTemplateErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown placeholder", "mail.{rcpt.local}", `"mail.{rcpt.local}" has the unknown placeholder {rcpt.local}; want {rcpt.domain}, or no braces`},
		{"case", "{Rcpt.Domain}", `"{Rcpt.Domain}" has the unknown placeholder {Rcpt.Domain}; want {rcpt.domain}, or no braces`},
		{"empty placeholder", "{}", `"{}" has the unknown placeholder {}; want {rcpt.domain}, or no braces`},
		{"behind a good one", "{rcpt.domain}{x}", `"{rcpt.domain}{x}" has the unknown placeholder {x}; want {rcpt.domain}, or no braces`},
		{"open", "mail.{rcpt.domain", `"mail.{rcpt.domain" has a { without a } behind it; want {rcpt.domain}, or no braces`},
		{"two opened", "{{rcpt.domain}}", `"{{rcpt.domain}}" has a { without a } behind it; want {rcpt.domain}, or no braces`},
		{"not opened", "rcpt.domain}", `"rcpt.domain}" has a } without a { before it; want {rcpt.domain}, or no braces`},
		{"closed twice", "{rcpt.domain}}", `"{rcpt.domain}}" has a } without a { before it; want {rcpt.domain}, or no braces`},
		{"control character", "a\nb", `"a\nb" has a control character, or octets that are not UTF-8; want printable text`},
		{"not UTF-8", "\xff", `"\xff" has a control character, or octets that are not UTF-8; want printable text`},
		{"too long", strings.Repeat("a", 256), `" has at least 256 octets; want 255 at most`},
		{"too long with any domain", strings.Repeat("a", 255) + "{rcpt.domain}", `" has at least 256 octets; want 255 at most`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseTemplate(tt.text, MaxAddress)
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("ParseTemplate(%q):\ngot  %v\nwant %s", tt.text, err, tt.want)
			}
		})
	}
	for _, text := range []string{strings.Repeat("a", 255), strings.Repeat("a", 254) + "{rcpt.domain}"} {
		if _, err := ParseTemplate(text, MaxAddress); err != nil {
			t.Errorf("a template that fits: %v", err)
		}
	}
}
