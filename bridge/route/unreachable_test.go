package route

import (
	"slices"
	"strings"
	"testing"
)

func TestUnreachable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		routes []string
		want   []int // of the last route; nil where it can be reached
	}{
		{"alone", []string{"in@example.com -> a"}, nil},
		{"other address", []string{"in@example.com -> a", "out@example.com -> b"}, nil},
		{"same text", []string{"in@example.com -> a", "in@example.com -> b"}, []int{0}},
		{"same but for the case", []string{"in@example.com -> a", "IN@EXAMPLE.com -> b"}, []int{0}},
		{"same but for the quoting", []string{`"in"@example.com -> a`, "in@example.com -> b"}, []int{0}},
		{"same domain in another way", []string{"example.com -> a", "*@example.com -> b"}, []int{0}},
		{"same expression", []string{`/a.*@b/ -> a`, `/a.*@b/ -> b`}, []int{0}},
		{"other expression", []string{`/a.*@b/ -> a`, `/aa.*@b/ -> b`}, nil},
		{"behind everything", []string{"* -> a", "in@example.com -> b"}, []int{0}},
		{"expression behind everything", []string{"*@* -> a", `/.*@b/ -> b`}, []int{0}},
		{"everything behind an expression of everything", []string{`/.*@.*/ -> a`, "* -> b"}, nil}, // not told
		{"everything last", []string{"in@example.com -> a", "* -> b"}, nil},
		{"address behind its domain", []string{"out@example.org -> a", "example.com -> b", "in@example.com -> c"}, []int{1}},
		{"address behind another domain", []string{"example.com -> b", "in@sub.example.com -> c"}, nil},
		{"address behind a wider pattern", []string{"i*@*.com -> a", "in@example.com -> b"}, []int{0}},
		{"pattern behind a wider one", []string{"in*@example.com -> a", "in-*-x@example.com -> b"}, []int{0}},
		{"pattern behind a narrower one", []string{"in-*-x@example.com -> a", "in*@example.com -> b"}, nil},
		{"subdomains behind subdomains", []string{"*.example.com -> a", "in@*.sub.example.com -> b"}, []int{0}},
		{"address behind its expression", []string{`/i.@example\.com/ -> a`, "in@example.com -> b"}, []int{0}},
		{"pattern behind an expression", []string{`/.*@example\.com/ -> a`, "in*@example.com -> b"}, nil}, // not told
		{"a star is no letter", []string{`/[*]@example\.com/ -> a`, "*@example.com -> b"}, nil},
		{"one pattern of two is left", []string{"in@example.com -> a", "in@example.com,out@example.com -> b"}, nil},
		{"by two routes", []string{"in@example.com -> a", "x@example.com -> x", "example.org -> b", "in@example.com,out@example.org,z@example.org -> c"}, []int{0, 2}},
		{"address literals behind a template", []string{"* -> {rcpt.domain}", "* -> b"}, nil},
		{"address literal behind a template", []string{"* -> {rcpt.domain}", "[192.0.2.1] -> b"}, nil},
		{"subdomains behind a template", []string{"* -> {rcpt.domain}", "*.example.com -> b"}, []int{0}},
		{"address behind a template", []string{"* -> {rcpt.domain}", "in@example.com -> b"}, []int{0}},
		{"expression behind a template", []string{"* -> {rcpt.domain}", `/in@.*/ -> b`}, nil},
		{"domain too long for the template before", []string{"* -> " + strings.Repeat("a", 250) + "{rcpt.domain}", "in@example.com -> b"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routes := rules(t, tt.routes...)
			got, unreachable := Unreachable(routes, len(routes)-1)
			if unreachable != (tt.want != nil) || unreachable && !slices.Equal(got, tt.want) {
				t.Errorf("the last of %q:\ngot  %v, %v\nwant %v", tt.routes, got, unreachable, tt.want)
			}
		})
	}
}
