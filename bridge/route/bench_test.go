package route

import (
	"fmt"
	"testing"
)

// BenchmarkLookup looks for the last of 1,000 routes.
func BenchmarkLookup(b *testing.B) {
	const n = 1000
	for _, bb := range []struct{ name, route, rcpt string }{
		{"addresses", "in-%d@example.com -> a", "in-999@example.com"},
		{"domains", "*@d%d.example -> {rcpt.domain}", "in@d999.example"},
		{"patterns of local parts", "in-%d+*@example.com -> a", "in-999+x@example.com"},
		{"patterns of domains", "*@*.d%d.example -> a", "in@x.d999.example"},
		{"expressions", `/^in-%d-[0-9]+@example\.com$/ -> a`, "in-999-7@example.com"},
		{"in other letters", "in-%d@example.com -> a", `"In-999"@Example.COM`},
		{"refused", "in-%d@example.com -> a", "out@example.com"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			routes := make([]Route, n)
			for i := range routes {
				routes[i] = rule(b, fmt.Sprintf(bb.route, i))
			}
			table := NewTable(routes, "", hostname)
			b.ReportAllocs()
			for b.Loop() {
				table.Lookup(bb.rcpt)
			}
		})
	}
}
