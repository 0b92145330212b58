package route

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rule is a route in text: patterns, an arrow, and the address.
func rule(t testing.TB, s string) Route {
	t.Helper()
	match, address, ok := strings.Cut(s, " -> ")
	if !ok {
		t.Fatalf("%q is no route", s)
	}
	list, err := ParsePatterns(match)
	if err != nil {
		t.Fatal(err)
	}
	return Route{Match: list, Address: template(t, address), OffloadThreshold: DefaultThreshold}
}

func rules(t testing.TB, list ...string) []Route {
	t.Helper()
	var routes []Route
	for _, s := range list {
		routes = append(routes, rule(t, s))
	}
	return routes
}

const hostname = "MX.Example.net"

func TestLookup(t *testing.T) {
	const refused = ""
	for _, tt := range []struct {
		name     string
		routes   []string
		fallback string
		want     map[string]string // recipient → address
	}{
		{"no routes", nil, "mail", map[string]string{"in@example.com": "mail", "postmaster": "mail", "in@[192.0.2.1]": "mail", "in": "mail", "": "mail"}},
		{"one route", []string{"in@example.com -> a"}, "", map[string]string{
			"in@example.com": "a", "IN@Example.COM": "a", `"in"@example.com`: "a", "out@example.com": refused, "in": refused, "": refused, "@": refused}},
		{"the fallback is for nobody else", []string{"in@example.com -> a"}, "mail", map[string]string{"in@example.com": "a", "out@example.com": refused}},
		{"exact before its domain", []string{"in@example.com -> a", "example.com -> b"}, "", map[string]string{"in@example.com": "a", "out@example.com": "b"}},
		{"domain before its address", []string{"example.com -> b", "in@example.com -> a"}, "", map[string]string{"in@example.com": "b"}},
		{"every kind, in order", []string{`/^in-[0-9]+@example\.com$/ -> re`, "in-1@example.com,in-2@example.com -> exact", "in-*@example.com -> part", "*@example.com -> domain", "*@*.com -> tld", "* -> all"}, "", map[string]string{
			"in-1@example.com": "re", "in-x@example.com": "part", "x@example.com": "domain", "x@example.org": "all", "x@a.com": "tld", "x@[192.0.2.1]": "all"}},
		{"every kind, in the other order", []string{"* -> all", "*@*.com -> tld", "*@example.com -> domain", "in-*@example.com -> part", "in-1@example.com -> exact", `/in-[0-9]+@example\.com/ -> re`}, "", map[string]string{
			"in-1@example.com": "all", "x@example.org": "all"}},
		{"part before the address", []string{"in-*@example.com -> part", "in-1@example.com -> exact"}, "", map[string]string{"in-1@example.com": "part"}},
		{"expression before the address", []string{`/in-[0-9]@example\.com/ -> re`, "in-1@example.com -> exact"}, "", map[string]string{"in-1@example.com": "re"}},
		{"address before the expression", []string{"in-1@example.com -> exact", `/in-[0-9]@example\.com/ -> re`}, "", map[string]string{"in-1@example.com": "exact", "in-2@example.com": "re"}},
		{"the same pattern twice", []string{"in@example.com,out@example.com -> a", "in@example.com,x@example.com -> b"}, "", map[string]string{"in@example.com": "a", "x@example.com": "b"}},
		{"template", []string{"*@example.org -> mail.{rcpt.domain}"}, "", map[string]string{"in@EXAMPLE.org": "mail.example.org", "in@example.com": refused}},
		{"template of A-labels", []string{"* -> {rcpt.domain}"}, "", map[string]string{"in@Bücher.example": "xn--bcher-kva.example", "in@example.com.": "example.com"}},
		{"no domain for the template", []string{"* -> {rcpt.domain}", "in@example.com -> never", "*@[192.0.2.1] -> literal", "out@* -> rest"}, "", map[string]string{
			"in@example.com": "example.com", "in@[192.0.2.1]": "literal", "out@[192.0.2.2]": "rest", "in@[192.0.2.2]": refused}},
		{"domain too long for the template", []string{"* -> mail.{rcpt.domain}", "* -> rest"}, "", map[string]string{
			"in@" + strings.Repeat("a.", 125) + "ab": "rest", "in@" + strings.Repeat("a.", 124) + "ab": "mail." + strings.Repeat("a.", 124) + "ab"}},
		{"postmaster, no route of his", []string{"in@example.com -> a"}, "mail", map[string]string{
			"postmaster": "mail", "PostMaster": "mail", `"postmaster"`: "mail", "postmaster@mx.example.net": "mail", "Postmaster@MX.EXAMPLE.NET.": "mail", "postmaster@example.com": refused, "postmaster@example.net": refused, "postmaster2": refused}},
		{"postmaster, a route of his", []string{"in@example.com -> a", "postmaster@mx.example.net -> p"}, "mail", map[string]string{"postmaster": "p", "postmaster@mx.example.net": "p"}},
		{"postmaster, a route of all", []string{"* -> mail.{rcpt.domain}"}, "mail", map[string]string{"postmaster": "mail.mx.example.net", "postmaster@mx.example.net": "mail.mx.example.net", "postmaster@example.com": "mail.example.com"}},
		{"postmaster, no fallback", []string{"in@example.com -> a", "out@example.com -> b"}, "", map[string]string{"postmaster": "a", "postmaster@mx.example.net": "a", "postmaster@example.com": refused}},
		{"postmaster, no fallback, a template first", []string{"example.com -> mail.{rcpt.domain}"}, "", map[string]string{"postmaster": "mail.mx.example.net"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := NewTable(rules(t, tt.routes...), tt.fallback, hostname)
			for rcpt, want := range tt.want {
				got, ok := table.Lookup(rcpt)
				if got.Address != want || ok != (want != refused) {
					t.Errorf("Lookup(%q): got %+v, %v; want address %q, %v", rcpt, got, ok, want, want != refused)
				}
				if ok && got.OffloadThreshold != DefaultThreshold {
					t.Errorf("Lookup(%q): got threshold %d, want the default", rcpt, got.OffloadThreshold)
				}
			}
		})
	}
}

func TestTarget(t *testing.T) {
	groupID, err := ParseTemplate("{rcpt.domain}", MaxGroupID)
	if err != nil {
		t.Fatal(err)
	}
	routes := rules(t, "*@example.org -> a", "* -> a")
	routes[0].OffloadThreshold, routes[0].Subject, routes[0].GroupID, routes[0].Raw = 0, template(t, "for {rcpt.domain}"), groupID, StoreRaw
	routes[1].GroupID = groupID
	table := NewTable(routes, "", hostname)
	long := strings.Repeat("a.", 64) + "a" // 129 octets
	for rcpt, want := range map[string]Target{
		"in@example.org":         {Destination{"a", "for example.org", "example.org"}, 0, StoreRaw},
		"out@EXAMPLE.org.":       {Destination{"a", "for example.org", "example.org"}, 0, StoreRaw},
		"in@example.com":         {Destination{"a", "", "example.com"}, DefaultThreshold, DefaultRaw},
		"in@[192.0.2.1]":         {Destination{Address: "a"}, DefaultThreshold, DefaultRaw},
		"in@" + long:             {Destination{Address: "a"}, DefaultThreshold, DefaultRaw},
		"in@" + long[2:] + ".ab": {Destination{Address: "a"}, DefaultThreshold, DefaultRaw},
		"in@" + long[2:] + "a":   {Destination{"a", "", long[2:] + "a"}, DefaultThreshold, DefaultRaw},
	} {
		if got, ok := table.Lookup(rcpt); got != want || !ok {
			t.Errorf("Lookup(%q):\ngot  %+v, %v\nwant %+v", rcpt, got, ok, want)
		}
	}
}

// What is stored raw depends on the default where a route says nothing, and where mail goes to the fallback.
func TestStoresRaw(t *testing.T) {
	for _, tt := range []struct {
		name          string
		raw           []Raw
		fallback      string
		all, some     bool // with the default off
		allOn, someOn bool // with the default on
	}{
		{name: "no routes", fallback: "mail", allOn: true, someOn: true},
		{name: "one says nothing", raw: []Raw{DefaultRaw}, allOn: true, someOn: true},
		{name: "one stores", raw: []Raw{StoreRaw}, all: true, some: true, allOn: true, someOn: true},
		{name: "one stores, the postmaster's mail goes to the fallback", raw: []Raw{StoreRaw}, fallback: "mail", some: true, allOn: true, someOn: true},
		{name: "one does not", raw: []Raw{NoRaw}},
		{name: "one does not, the postmaster's mail goes to the fallback", raw: []Raw{NoRaw}, fallback: "mail", someOn: true},
		{name: "differing", raw: []Raw{NoRaw, StoreRaw, DefaultRaw}, some: true, someOn: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var routes []Route
			for i, raw := range tt.raw {
				r := rules(t, fmt.Sprintf("x%d.example -> a", i))[0]
				r.Raw = raw
				routes = append(routes, r)
			}
			table := NewTable(routes, tt.fallback, hostname)
			if all, some := table.StoresRaw(false); all != tt.all || some != tt.some {
				t.Errorf("off: got %v, %v; want %v, %v", all, some, tt.all, tt.some)
			}
			if all, some := table.StoresRaw(true); all != tt.allOn || some != tt.someOn {
				t.Errorf("on: got %v, %v; want %v, %v", all, some, tt.allOn, tt.someOn)
			}
		})
	}
}

// Where all templates become too long with the hostname, there is nowhere for the postmaster's mail to go.
func TestPostmasterNowhere(t *testing.T) {
	table := NewTable(rules(t, "example.com -> "+strings.Repeat("a", 250)+"{rcpt.domain}"), "", hostname)
	if got, ok := table.Lookup("postmaster"); ok {
		t.Errorf("Lookup(postmaster): got %+v, want none", got)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		routes   []string
		fallback string
		want     []string
	}{
		{"no routes", nil, "mail", []string{"mail"}},
		{"each once", []string{"a@example.com -> a", "b@example.com -> b", "c@example.com -> a"}, "", []string{"a", "b"}},
		{"fallback for the postmaster", []string{"a@example.com -> a"}, "mail", []string{"a", "mail"}},
		{"fallback that is an address of a route", []string{"a@example.com -> mail"}, "mail", []string{"mail"}},
		{"fallback for nobody", []string{"* -> a"}, "mail", []string{"a"}},
		{"no templates", []string{"a@example.com -> a", "example.org -> {rcpt.domain}"}, "", []string{"a"}},
		{"nothing but templates", []string{"* -> {rcpt.domain}"}, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := NewTable(rules(t, tt.routes...), tt.fallback, hostname).Addresses(); !slices.Equal(got, tt.want) {
				t.Errorf("routes %q, fallback %q:\ngot  %q\nwant %q", tt.routes, tt.fallback, got, tt.want)
			}
		})
	}
}

func TestLookupConcurrently(t *testing.T) {
	table := NewTable(rules(t, `/in-[0-9]+@example\.com/ -> {rcpt.domain}`, "*@example.org -> a"), "", hostname)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				a, _ := table.Lookup("IN-7@example.com")
				b, _ := table.Lookup("in@example.org")
				if a.Address != "example.com" || b.Address != "a" {
					t.Errorf("got %q and %q, want example.com and a", a.Address, b.Address)
				}
			}
		})
	}
	wg.Wait()
}

// What is written as it is compared is looked up without a copy; what a template becomes is one.
func TestLookupAllocations(t *testing.T) {
	table := NewTable(rules(t, "in@example.com -> a", `/inv-[0-9]+@example\.com/ -> b`, "*@*.example.net -> c", "* -> {rcpt.domain}"), "", hostname)
	for rcpt, most := range map[string]float64{"in@example.com": 0, "inv-7@example.com": 0, "x@a.example.net": 0, "x@example.org": 1, "postmaster": 0} {
		if got := testing.AllocsPerRun(100, func() { table.Lookup(rcpt) }); got > most {
			t.Errorf("Lookup(%q): %v allocations, want %v at most", rcpt, got, most)
		}
	}
}
