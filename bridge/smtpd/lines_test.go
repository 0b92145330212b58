package smtpd

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// BenchmarkUnstuff is what DATA costs beside the system's calls: of the mail
// that there is, and of the mail that there is only to make it slow.
func BenchmarkUnstuff(b *testing.B) {
	repeat := func(s string) string { return strings.Repeat(s, window/len(s)) }
	var text strings.Builder
	for r := rand.New(rand.NewPCG(1, 1)); text.Len() < window-80; {
		text.WriteString(strings.Repeat("a", 20+r.IntN(50)) + "\r\n")
	}
	for _, bb := range []struct{ name, message string }{
		{"base64", repeat(strings.Repeat("A", 76) + "\r\n")},
		{"text", text.String()},
		{"long lines", repeat(strings.Repeat("A", 998) + "\r\n")},
		{"dots", repeat("..\r\n")},
		{"LF", repeat("\n")},
		{"tabs", repeat("\t")},
		{"lines within lines", "x\r\n" + repeat("aaaa\r\naaaa\r\n\r\n..\r\n")}, // of equal length, but for one that begins in their middle
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := make([]byte, len(bb.message))
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				copy(p, bb.message)
				d := dots{}
				d.unstuff(p)
			}
		})
	}
}

func TestNewline(t *testing.T) {
	for n := range 100 {
		for _, end := range []byte{'\r', '\n'} {
			for _, filler := range []byte{'x', '\t', 0, 0x1f, 0x0b, 0x0c, 0x8a, 0x8d, 0xff} {
				p := append([]byte(strings.Repeat(string([]byte{filler}), n)), end, '\n', '\r')
				for i := range n + 1 {
					if got := newline(p, i); got != n {
						t.Fatalf("%q from %d: got %d, want %d", p, i, got, n)
					}
				}
				if got := newline(p[:n], 0); got != n {
					t.Fatalf("%q: got %d, want %d", p[:n], got, n)
				}
			}
		}
	}
}
