package route

import (
	"slices"
	"strings"
	"testing"
)

func patterns(t testing.TB, list ...string) []Pattern {
	t.Helper()
	var ps []Pattern
	for _, s := range list {
		p, err := ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != s {
			t.Errorf("String: got %q, want %q", p.String(), s)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestPatternMatches(t *testing.T) {
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
		{"local part with slashes", "/G=J/S=Doe/@example.com", []string{"/g=j/s=doe/@example.com"}, []string{"j@example.com"}},
		{"expression", `/^inv-[0-9]+@example\.com$/`, []string{"inv-7@example.com", "INV-08@EXAMPLE.com.", `"inv-7"@example.com`, `"in\v-7"@example.com`},
			[]string{"inv-@example.com", "inv-7@examplexcom", "inv-7@example.com.org", "xinv-7@example.com", "inv-7", ""}},
		{"expression without anchors", `/in@example\.com/`, []string{"in@example.com"}, []string{"xin@example.com", "in@example.comx"}},
		{"expression with a choice", `/a@x|b@y|@/`, []string{"a@x", "b@y", "@"}, []string{"a@xx", "bb@y", "c@z"}},
		{"expression that prefers the shorter", `/in@(ex|example)/`, []string{"in@ex", "in@example"}, []string{"in@exam"}},
		{"expression of lines", `/(?m)^in@example$/`, []string{"in@example"}, []string{"in@example.com"}},
		{"expression in upper case", `/IN-[A-Z]@EXAMPLE\.COM/`, []string{"in-x@example.com"}, []string{"in-7@example.com"}},
		{"expression of A-labels", `/.*@xn--bcher-kva\.example/`, []string{"in@bücher.example", "a@b@xn--bcher-kva.example"}, []string{"in@bucher.example"}},
		{"expression whose @ is in a class", `/in[^a-z]example/`, []string{"in@example"}, []string{"inaexample"}},
		{"expression with a slash", `/a\/b@example\.com/`, []string{"a/b@example.com"}, []string{"a@example.com"}},
		{"expression with a class", `/[^x]+@[a-z.]+/`, []string{"in@example.com"}, []string{"x@example.com", "X@example.com"}},
		{"IPv6 literal", "[IPv6:2001:DB8::1]", []string{"in@[IPv6:2001:db8::1]"}, []string{"in@[IPv6:2001:db8::2]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ps := NewPatterns(patterns(t, tt.entry))
			for _, address := range tt.yes {
				if !ps.Match(address) {
					t.Errorf("%q does not match %q", tt.entry, address)
				}
			}
			for _, address := range tt.no {
				if ps.Match(address) {
					t.Errorf("%q matches %q", tt.entry, address)
				}
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	list := patterns(t, "in@example.com", "example.org", "invoices+*@example.com", "*.example.net", `/^inv-[0-9]+@example\.com$/`)
	ps := NewPatterns(append(list, list...))
	for address, want := range map[string]bool{
		"in@example.com": true, "any@example.org": true, "invoices+a@example.com": true, "any@a.example.net": true, "inv-7@example.com": true,
		"out@example.com": false, "in@example.edu": false, "invoices+a@example.edu": false, "any@example.net": false, "inv-@example.com": false, "in": false, "": false,
	} {
		if got := ps.Match(address); got != want {
			t.Errorf("Match(%q): got %v, want %v", address, got, want)
		}
	}
	if none := NewPatterns(nil); none.Len() != 0 || none.Match("in@example.com") {
		t.Errorf("a list of nothing has %d patterns, and matches: %v", none.Len(), none.Match("in@example.com"))
	}
	if ps.Len() < len(list) {
		t.Errorf("Len: got %d, want %d at least", ps.Len(), len(list))
	}
}

func TestParsePatternErrors(t *testing.T) {
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
		{"a slash", "/", `"/" begins with a / and does not end in one`},
		{"expression without an end", `/^in@example\.com$`, `begins with a / and does not end in one`},
		{"expression of nothing", "//", `"//" matches no address, as no @ can be in what it matches; it is compared with all of an address`},
		{"expression of a part", "/^inv-[0-9]+/", `matches no address, as no @ can be in what it matches`},
		{"expression with a slash", `/a/b@example\.com/`, `has a / within the expression; write it \/`},
		{"expression that ends in a slash", `/in@example\.com\/`, `ends in \/, which is a slash of the expression; put another / behind it`},
		{"expression with an open parenthesis", "/(in@example/", `is not a regular expression: missing closing ): (in@example`},
		{"expression with an open quotation", `/\Qin@example/`, `is not a regular expression: \Q without \E`},
		{"expression that looks back", "/(?<=a)@/", `is not a regular expression: `},
		{"expression that closes what is put around it", "/a@b)|(c/", `is not a regular expression: unexpected ): a@b)|(c`},
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
			_, err := ParsePattern(tt.entry)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasSuffix(err.Error(), "; "+wantPattern) {
				t.Errorf("ParsePattern(%q):\ngot  %v\nwant %s; %s", tt.entry, err, tt.want, wantPattern)
			}
		})
	}
}

// Stars do not multiply: what took exponential time would not end here.
func TestGlobIsLinear(t *testing.T) {
	p := parseGlob(strings.Repeat("a*", 1000) + "b")
	if p.matches(strings.Repeat("a", 100_000)) {
		t.Error("a pattern that ends in b matches a name without one")
	}
	if !p.matches(strings.Repeat("a", 100_000) + "b") {
		t.Error("the pattern does not match")
	}
}

func TestParsePatterns(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"nothing but commas", " , ,", nil},
		{"one", "in@example.com", []string{"in@example.com"}},
		{"several", " in@example.com,example.org , *.example.net,", []string{"in@example.com", "example.org", "*.example.net"}},
		{"expression", `/a{1,2}@example\.com/`, []string{`/a{1,2}@example\.com/`}},
		{"expression among others", `a@b, /a{1,2}\/,@x/ , /b{3,}@y/,c@d`, []string{"a@b", `/a{1,2}\/,@x/`, "/b{3,}@y/", "c@d"}},
		{"local parts with slashes", `/G=J/@example.com,/S=D/@example.com`, []string{"/G=J/@example.com", "/S=D/@example.com"}},
		{"quoted", `"a,b"@example.com,"c\",d"@example.com`, []string{`"a,b"@example.com`, `"c\",d"@example.com`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := ParsePatterns(tt.text)
			var got []string
			for _, p := range list {
				got = append(got, p.String())
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("ParsePatterns(%q):\ngot  %q, %v\nwant %q", tt.text, got, err, tt.want)
			}
		})
	}
	for _, text := range []string{"in@example.com,@", `"a,b@example.com`, "/a{1,2}@x", "/a@b/c,d"} {
		if list, err := ParsePatterns(text); err == nil {
			t.Errorf("ParsePatterns(%q): got %v, want an error", text, list)
		}
	}
}
