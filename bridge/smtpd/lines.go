package smtpd

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// lines passes the lines of a message, as fast as memory can be searched.
type lines struct {
	p         []byte
	begin     int  // of the line
	at        int  // what has been passed: begin, or, at the end of p, the part of a line
	length    int  // of the line before
	stretches bool // whether to look for them
}

// next passes the line at begin, and with it all those that follow and are as
// long, as they are in base64, up to one that begins with a dot. It reports
// whether their ends are all CRLF and nothing else in them is CR or LF; the end
// of p ends a line, too, and a CR before that may yet be half of one.
func (l *lines) next() (clean bool) {
	clean = true
	for i := l.at; ; i++ {
		i = newline(l.p, i)
		switch {
		case i == len(l.p) || i+1 == len(l.p) && l.p[i] == '\r':
			l.at = len(l.p)
			return clean
		case l.p[i] == '\n' || l.p[i+1] != '\n':
			clean = false
			continue
		}
		length := i + 2 - l.begin
		l.at = i + 2
		if length == l.length && l.stretches {
			l.stretch(length)
		}
		l.begin, l.length = l.at, length
		return clean
	}
}

// leastStretch is the fewest lines of equal length that are worth it.
const leastStretch = 4

// stretch passes lines of stride octets.
func (l *lines) stretch(stride int) {
	at := l.at
	for at+stride <= len(l.p) && l.p[at] != '.' && l.p[at+stride-2] == '\r' && l.p[at+stride-1] == '\n' {
		at += stride
	}
	n := (at - l.at) / stride
	if n < leastStretch {
		return
	}
	stretch := l.p[l.at:at]
	if bytes.Count(stretch, []byte{'\n'}) != n || bytes.Count(stretch, []byte{'\r'}) != n {
		l.stretches = false // a CR or LF stands within a line: one by one then, and no looking twice
		return
	}
	l.at = at
}

// newline is the offset of the first CR or LF in p from i on, or len(p).
func newline(p []byte, i int) int {
	if i < len(p) && (p[i] == '\r' || p[i] == '\n') {
		return i // where there are many, they stand together
	}
	for ; i+32 <= len(p); i += 32 {
		q := p[i : i+32 : i+32]
		a, b := controls(binary.LittleEndian.Uint64(q)), controls(binary.LittleEndian.Uint64(q[8:]))
		c, d := controls(binary.LittleEndian.Uint64(q[16:])), controls(binary.LittleEndian.Uint64(q[24:]))
		if a|b|c|d == 0 {
			continue
		}
		for k, m := range [...]uint64{a, b, c, d} {
			for ; m != 0; m &= m - 1 {
				if at := 8*k + bits.TrailingZeros64(m)/8; q[at] == '\r' || q[at] == '\n' {
					return i + at
				}
			}
		}
	}
	for ; i < len(p) && p[i] != '\r' && p[i] != '\n'; i++ {
	}
	return i
}

// controls has the highest bit set of each octet of x that is below 0x20, in which the three highest bits are none.
func controls(x uint64) uint64 { return ^(x | x<<1 | x<<2) & 0x8080808080808080 }
