package smtpd

import (
	"strings"
	"testing"
)

func recipients(t *testing.T, list ...string) *Recipients {
	t.Helper()
	var rs []Recipient
	for _, s := range list {
		r, err := ParseRecipient(s)
		if err != nil {
			t.Fatal(err)
		}
		if r.String() != s {
			t.Errorf("String: got %q, want %q", r.String(), s)
		}
		rs = append(rs, r)
	}
	return NewRecipients(rs)
}

func TestRecipientsAllows(t *testing.T) {
	for _, tt := range []struct {
		name, entry string
		yes, no     []string
	}{
		{"address", "in@example.com", []string{"in@example.com", "IN@EXAMPLE.COM", `"in"@example.com`, `"i\n"@example.com`, "in@example.com."},
			[]string{"out@example.com", "in@example.org", "in@sub.example.com", "xin@example.com", "in", "example.com", "", "@example.com", "in@", "in@example.com@example.org", `"in@example.com"@example.org`}},
		{"address in upper case", "In@Example.COM", []string{"in@example.com", "iN@example.com"}, []string{"on@example.com"}},
		{"domain", "example.com", []string{"a@example.com", "a@EXAMPLE.com", `"a@b"@example.com`}, []string{"a@sub.example.com", "a@xexample.com", "a@example.com.org", "example.com"}},
		{"domain with an @", "@example.com", []string{"a@example.com"}, []string{"a@sub.example.com", "a@example.org"}},
		{"domain of one label", "localhost", []string{"a@localhost"}, []string{"localhost", "a@local"}},
		{"domain by a star", "*@example.com", []string{"a@example.com", "*@example.com"}, []string{"a@example.org"}},
		{"detail", "invoices+*@example.com", []string{"invoices+@example.com", "INVOICES+acme@example.com", `"invoices+a b"@example.com`}, []string{"invoices@example.com", "invoices+a@example.org", "xinvoices+a@example.com"}},
		{"end", "*-in@example.com", []string{"-in@example.com", "a-in@example.com", "-in-in@example.com"}, []string{"in@example.com", "a-in-@example.com"}},
		{"overlapping ends", "aba*aba@example.com", []string{"abaaba@example.com", "aba-aba@example.com"}, []string{"aba@example.com", "ababa@example.com"}},
		{"several stars", "a*b*c@example.com", []string{"abc@example.com", "axbxc@example.com", "abbcbc@example.com"}, []string{"acb@example.com", "ac@example.com", "abcx@example.com"}},
		{"the same run twice", "a*b*b*c@example.com", []string{"abbc@example.com", "axbxbxc@example.com"}, []string{"abc@example.com", "axbxc@example.com"}},
		{"stars side by side", "a**b@example.com", []string{"ab@example.com", "axb@example.com"}, []string{"a@example.com"}},
		{"subdomains", "*@*.example.com", []string{"a@b.example.com", "a@b.c.example.com"}, []string{"a@example.com", "a@xexample.com"}},
		{"subdomains without an @", "*.example.com", []string{"a@b.example.com"}, []string{"a@example.com"}},
		{"address in subdomains", "in@*.example.com", []string{"in@b.example.com"}, []string{"out@b.example.com", "in@example.com", `"in@x.example.com"@example.org`}},
		{"a star stays on its side", "a*@example.com", []string{"a@example.com"}, []string{`"a@example.com"@example.org`}},
		{"everything", "*", []string{"a@example.com", "ü@bücher.example"}, []string{"a"}},
		{"everything with an @", "*@*", []string{"a@example.com"}, nil},
		{"U-label", "in@bücher.example", []string{"in@bücher.example", "in@BÜCHER.example", "in@bu\u0308cher.example", "in@xn--bcher-kva.example", "in@XN--BCHER-KVA.EXAMPLE"}, []string{"in@bucher.example"}},
		{"A-label", "xn--bcher-kva.example", []string{"in@bücher.example", "in@xn--bcher-kva.example"}, []string{"in@bucher.example"}},
		{"U-label beside a star", "*.bücher.example", []string{"in@a.bücher.example", "in@a.xn--bcher-kva.example"}, []string{"in@bücher.example"}},
		{"no U-label", "example.com", []string{"a@example.com"}, []string{"a@\u00a0.example", "a@xn--\u00fc.example"}},
		{"local part in UTF-8", "büro@example.com", []string{"büro@example.com", "BÜRO@example.com", "bu\u0308ro@example.com"}, []string{"buro@example.com"}},
		{"I with a dot", "in@example.com", []string{"IN@example.com"}, []string{"\u0130n@example.com"}},
		{"quoted", `"a b"@example.com`, []string{`"a b"@example.com`, `"A\ b"@example.com`}, []string{"ab@example.com", `"a  b"@example.com`}},
		{"quoted without need", `"in"@example.com`, []string{"in@example.com"}, []string{`"in "@example.com`}},
		{"quoted quote", `"a\"b\\c"@example.com`, []string{`"a\"b\\c"@example.com`}, []string{`"ab\\c"@example.com`}},
		{"underscore", "in@my_host.example", []string{"in@my_host.example"}, nil},
		{"IPv4 literal", "in@[192.0.2.1]", []string{"in@[192.0.2.1]"}, []string{"in@192.0.2.1", "in@[192.0.2.10]"}},
		{"IPv6 literal", "[IPv6:2001:DB8::1]", []string{"in@[IPv6:2001:db8::1]"}, []string{"in@[IPv6:2001:db8::2]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs := recipients(t, tt.entry)
			for _, address := range tt.yes {
				if !rs.Allows(address) {
					t.Errorf("%q does not allow %q", tt.entry, address)
				}
			}
			for _, address := range tt.no {
				if rs.Allows(address) {
					t.Errorf("%q allows %q", tt.entry, address)
				}
			}
		})
	}
}

func TestRecipientsList(t *testing.T) {
	rs := recipients(t, "in@example.com", "example.org", "invoices+*@example.com", "*.example.net")
	for address, want := range map[string]bool{
		"in@example.com": true, "any@example.org": true, "invoices+a@example.com": true, "any@a.example.net": true,
		"out@example.com": false, "in@example.edu": false, "invoices+a@example.edu": false, "any@example.net": false,
	} {
		if got := rs.Allows(address); got != want {
			t.Errorf("Allows(%q): got %v, want %v", address, got, want)
		}
	}
	var none *Recipients
	for name, rs := range map[string]*Recipients{"empty": recipients(t), "nil": none} {
		for _, address := range []string{"in@example.com", "in", ""} {
			if !rs.Allows(address) {
				t.Errorf("the %s list does not allow %q", name, address)
			}
		}
	}
}

func TestParseRecipientErrors(t *testing.T) {
	for _, tt := range []struct{ name, entry, want string }{
		{"empty", "", `"" has "" where a label of a domain should be`},
		{"only an @", "@", `"@" has "" where a label of a domain should be`},
		{"no domain", "in@", `"in@" has "" where a label of a domain should be`},
		{"two @", "a@b@example.com", `"a@b@example.com" has '@' before the @, which must be quoted`},
		{"brackets", "<in@example.com>", `"<in@example.com>" has '<' before the @, which must be quoted`},
		{"bracket behind", "in@example.com>", `"in@example.com>" has "com>" where a label of a domain should be`},
		{"blank", "in box@example.com", `"in box@example.com" has ' ' before the @, which must be quoted`},
		{"two entries", "a@example.com b@example.com", `"a@example.com b@example.com" has '@' before the @, which must be quoted`},
		{"empty label", "in@example..com", `"in@example..com" has "" where a label of a domain should be`},
		{"dot at the end", "example.com.", `"example.com." has "" where a label of a domain should be`},
		{"hyphen at the edge", "-a.example", `"-a.example" has "-a" where a label of a domain should be`},
		{"regular expression", "/^in@example\\.com$/", `has "example\\" where a label of a domain should be`},
		{"no U-label", "in@a\u00a0b.example", "\"in@a\\u00a0b.example\" has \"a\\u00a0b\" where a label of a domain should be"},
		{"U-label with a star", "in@bü*.example", `"in@bü*.example" has a * beside letters that are not ASCII in the label "bü*", whose A-label is another`},
		{"not UTF-8", "\xff@example.com", `has a control character, or octets that are not UTF-8, before the @`},
		{"control character", "\x00@example.com", `has a control character, or octets that are not UTF-8, before the @`},
		{"quote without an end", `"in@example.com`, `has a quoted string without an end`},
		{"quote that is escaped", `"in\"@example.com`, `has a quoted string without an end`},
		{"only a quote", `"@example.com`, `has a quoted string without an end`},
		{"behind the quoted string", `"in"x@example.com`, `goes on after the quoted string`},
		{"quote in the middle", `in"x"@example.com`, `has '"' before the @, which must be quoted`},
		{"literal without an address", "in@[example.com]", `has no IP address in the brackets, as [192.0.2.1] or [IPv6:2001:db8::1]`},
		{"literal without an end", "in@[192.0.2.1", `has no IP address in the brackets, as [192.0.2.1] or [IPv6:2001:db8::1]`},
		{"literal without a tag", "in@[2001:db8::1]", `has no IP address in the brackets, as [192.0.2.1] or [IPv6:2001:db8::1]`},
		{"literal with a wrong tag", "in@[IPv6:192.0.2.1]", `has no IP address in the brackets, as [192.0.2.1] or [IPv6:2001:db8::1]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseRecipient(tt.entry)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasSuffix(err.Error(), "; "+wantRecipient) {
				t.Errorf("ParseRecipient(%q):\ngot  %v\nwant %s; %s", tt.entry, err, tt.want, wantRecipient)
			}
		})
	}
}

// Stars do not multiply: what took exponential time would not end here.
func TestPatternIsLinear(t *testing.T) {
	p := parsePattern(strings.Repeat("a*", 1000) + "b")
	if p.matches(strings.Repeat("a", 100_000)) {
		t.Error("a pattern that ends in b matches a name without one")
	}
	if !p.matches(strings.Repeat("a", 100_000) + "b") {
		t.Error("the pattern does not match")
	}
}

func FuzzRecipients(f *testing.F) {
	f.Add("invoices+*@example.com", "invoices+a@example.com")
	f.Add(`"a\"b"@*.bücher.example`, `"a\"b"@x.bücher.example`)
	f.Add("[IPv6:::1]", "a@[ipv6:::1]")
	f.Fuzz(func(t *testing.T, entry, address string) {
		r, err := ParseRecipient(entry)
		if err != nil {
			return
		}
		rs := NewRecipients([]Recipient{r})
		rs.Allows(address)
		if strings.Contains(entry, "@") && !strings.HasPrefix(entry, "@") && !rs.Allows(entry) {
			t.Errorf("%q does not allow itself", entry)
		}
	})
}
