package route

import (
	"strings"
	"testing"
)

func FuzzParsePattern(f *testing.F) {
	f.Add("invoices+*@example.com", "invoices+a@example.com")
	f.Add(`"a\"b"@*.bücher.example`, `"a\"b"@x.bücher.example`)
	f.Add("[IPv6:::1]", "a@[ipv6:::1]")
	f.Add(`/^inv-[0-9]+@example\.com$/`, "INV-1@example.com")
	f.Add(`/a|b@\Qx\E/`, "b@x")
	f.Fuzz(func(t *testing.T, text, address string) {
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		ps := NewPatterns([]Pattern{p})
		ps.Match(address)
		if !p.covers(p) {
			t.Errorf("%q does not cover itself", text)
		}
		if p.expression == nil && strings.Contains(text, "@") && !strings.HasPrefix(text, "@") && !ps.Match(text) {
			t.Errorf("%q does not match itself", text)
		}
	})
}

// Whatever the order of maps and lists, the first route that matches is the one that trying them one by one finds,
// no route is called unreachable that is reached, and what is found keeps to the limits.
func FuzzLookup(f *testing.F) {
	f.Add("in@example.com -> a\nexample.com -> b\n* -> c", "in@example.com")
	f.Add("*@a*.example -> {rcpt.domain}\n/.*@.*/ -> b", "in@[192.0.2.1]")
	f.Add("* -> {rcpt.domain}x\nin-*@b.example,c.example -> b\nin-1@b.example -> c", `"IN-1"@B.example.`)
	f.Add("postmaster@mx.example.net -> p", "Postmaster")
	f.Fuzz(func(t *testing.T, text, rcpt string) {
		var routes []Route
		for line := range strings.Lines(text) {
			match, address, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " -> ")
			list, err := ParsePatterns(match)
			if err != nil {
				continue
			}
			if tmpl, err := ParseTemplate(address, MaxAddress); err == nil {
				routes = append(routes, Route{Match: list, Address: tmpl, GroupID: tmpl, OffloadThreshold: int64(len(routes))})
			}
		}
		got, ok := NewTable(routes, "", hostname).Lookup(rcpt)
		if len(routes) == 0 || strings.EqualFold(strings.SplitN(rcpt, "@", 2)[0], "postmaster") {
			return
		}
		m, mailboxOK := parseMailbox(rcpt)
		want, wantOK, number := Target{}, false, -1
		for i := range routes {
			if mailboxOK && routes[i].matches(m) {
				if want, wantOK = routes[i].target(m.domain); wantOK {
					number = i
					break
				}
			}
		}
		if m.local != "postmaster" && (got != want || ok != wantOK) {
			t.Errorf("Lookup(%q) in\n%s\ngot  %+v, %v\nwant %+v, %v", rcpt, text, got, ok, want, wantOK)
		}
		if len(got.Address) > MaxAddress || strings.ContainsAny(got.Address, "{}\r\n\x00") {
			t.Errorf("Lookup(%q): address %q", rcpt, got.Address)
		}
		if number >= 0 && ordinary(routes, m.domain) {
			if by, unreachable := Unreachable(routes, number); unreachable {
				t.Errorf("route %d, which %q reaches, is called unreachable for %v:\n%s", number, rcpt, by, text)
			}
		}
	})
}

// ordinary reports whether a domain is an address literal, or one that no template is too long with.
func ordinary(routes []Route, domain string) bool {
	if strings.HasPrefix(domain, "[") {
		_, err := patternLiteral(domain)
		return err == nil
	}
	for i := range routes {
		if _, ok := routes[i].Address.expand(domain); !ok {
			return false
		}
	}
	return true
}
