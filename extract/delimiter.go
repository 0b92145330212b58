package extract

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// maxBoundary is the longest boundary looked for: a line of RFC 5322 has at most 998 octets.
	maxBoundary = 998
	// maxDelimiterLine is the longest line that can be a delimiter, trailing blanks included.
	maxDelimiterLine = 2048
)

var lineDashes = []byte("\n--")

// level is an open multipart.
type level struct {
	node     *node
	boundary string
	outer    int  // the level this one's boundary hides in Reader.open because it is the same, or -1
	seen     bool // a delimiter has come
}

// boundaryFilter is a filter of the boundaries that are open: most lines that are
// none of them are told by it at once. It may hold some that are open no more.
type boundaryFilter struct {
	single [4]uint64  // by the octet of those that have one
	pairs  [16]uint64 // by the first two octets of the others
	bits   [64]uint64 // by the length and three octets of all
	stale  int        // boundaries that are open no more
}

// place is where text, not empty, has its bit.
func (*boundaryFilter) place(text []byte) (word, bit int) {
	n := len(text)
	h := n*0x9e37 ^ int(text[0])*0x3d ^ int(text[n/2])*0x6b5 ^ int(text[n-1])*0x1f
	return h >> 6 & 63, h & 63
}

func (f *boundaryFilter) add(text string) {
	word, bit := f.place([]byte(text))
	f.bits[word] |= 1 << bit
	if len(text) == 1 {
		f.single[text[0]>>6] |= 1 << (text[0] & 63)
	} else {
		p := pair(text[0], text[1])
		f.pairs[p>>6] |= 1 << (p & 63)
	}
}

func pair(first, second byte) uint { return (uint(first)*37 + uint(second)) & 1023 }

// begins reports that what begins with these two octets may begin with one of them.
func (f *boundaryFilter) begins(first, second byte) bool {
	p := pair(first, second)
	return f.single[first>>6]>>(first&63)&1 != 0 || f.pairs[p>>6]>>(p&63)&1 != 0
}

// has reports that text may be one of them.
func (f *boundaryFilter) has(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	word, bit := f.place(text)
	return f.bits[word]>>bit&1 != 0
}

// remove forgets one of them, in time: the levels are those still open.
func (f *boundaryFilter) remove(levels []level) {
	if f.stale++; f.stale <= len(levels)+16 {
		return
	}
	*f = boundaryFilter{}
	for i := range levels {
		f.add(levels[i].boundary)
	}
}

// delimiter is a line that ends the part before it.
type delimiter struct {
	level      int  // index into Reader.levels, or -1 for none
	close      bool // the close delimiter
	odd        bool // something stands behind the boundary that can be in none
	start, end int  // of the line in the window
}

// push opens a multipart: from here on its boundary is looked for.
func (r *Reader) push(l level) {
	l.outer = -1
	if i, ok := r.open[l.boundary]; ok {
		l.outer = i
		r.problems.add(nil, CodeDuplicateBoundary, l.node.called()+" has the boundary of one around it")
	}
	if r.open == nil {
		r.open = make(map[string]int)
	}
	r.open[l.boundary] = len(r.levels)
	r.filter.add(l.boundary)
	r.levels = append(r.levels, l)
}

// pop closes the innermost multipart.
func (r *Reader) pop() {
	last := len(r.levels) - 1
	l := &r.levels[last]
	if l.outer >= 0 {
		r.open[l.boundary] = l.outer
	} else {
		delete(r.open, l.boundary)
	}
	r.levels[last] = level{}
	r.levels = r.levels[:last]
	r.filter.remove(r.levels)
}

// delimiterAt looks at the line that begins at buf[at], of which buf[:end] is
// known; eof says that nothing follows. More says that the line is not known
// far enough to tell. The cost is that of the line, whatever is open.
func (r *Reader) delimiterAt(at, end int, eof bool) (d delimiter, more bool) {
	none := delimiter{level: -1}
	line := r.buf[at:min(end, at+maxDelimiterLine)]
	for i := range len("--") {
		if i == len(line) {
			return none, !eof
		}
		if line[i] != '-' {
			return none, false
		}
	}
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i+1]
	} else if len(line) == maxDelimiterLine {
		return none, false
	} else if !eof {
		return none, true
	}
	r.work += int64(len(line))
	text := trimmedRight(line[len("--"):])
	level, closes := r.lookUp(text)
	odd := level < 0
	if odd {
		// RFC 2046 §5.1.1: it is enough that the boundary begins the line. What may go on with a boundary makes another
		// one of it, and real ones are made of any octets: but not behind the dashes that close one.
		if n := boundaryLength(text); n > 0 && n < len(text) {
			if level, closes = r.lookUp(text[:n]); !closes {
				level = -1
			}
		}
	}
	if level < 0 {
		return none, false
	}
	return delimiter{level: level, close: closes, odd: odd, start: at, end: at + len(line)}, false
}

// boundaryLength is how far text, without its dashes, goes on as boundaries do, as far as one could be found.
func boundaryLength(text []byte) int {
	n, most := 0, min(len(text), maxBoundary+len("--")+1)
	for n < most && !isNoBoundary[text[n]] {
		n++
	}
	return n
}

// isNoBoundary has the octets that no boundary has, RFC 2046 §5.1.1.
var isNoBoundary = func() (none [256]bool) {
	for c := range none {
		none[c] = c >= utf8.RuneSelf || c < ' ' || strings.ContainsRune("<>@[\\]^`{|}~\"#$%&*;!", rune(c))
	}
	return none
}()

// lookUp finds the innermost multipart of which text, a line without its
// dashes and trailing blanks, is the delimiter or the close delimiter; -1 for none.
func (r *Reader) lookUp(text []byte) (level int, closes bool) {
	level = -1
	if r.filter.has(text) {
		if i, ok := r.open[string(text)]; ok {
			level = i
		}
	}
	if n := len(text) - len("--"); n > 0 && text[n] == '-' && text[n+1] == '-' && r.filter.has(text[:n]) {
		if i, ok := r.open[string(text[:n])]; ok && i > level {
			level, closes = i, true
		}
	}
	return level, closes
}

// trimmedRight is s without blanks and line ends behind it.
func trimmedRight(s []byte) []byte {
	for len(s) > 0 {
		switch s[len(s)-1] {
		case ' ', '\t', '\r', '\n':
			s = s[:len(s)-1]
			continue
		}
		break
	}
	return s
}

// chunk returns the next octets of the current part as they came, a slice of
// the window valid until the next call. At the end of the part it returns
// io.EOF, and r.hit is the delimiter that ended it, if one did.
func (r *Reader) chunk() ([]byte, error) {
	if len(r.prefix) > 0 {
		c := r.prefix
		r.prefix = nil
		return c, nil
	}
	for {
		if r.hit.level >= 0 {
			return nil, io.EOF
		}
		c, more := r.content()
		r.traced()
		if len(c) > 0 {
			return c, nil
		}
		if more {
			if err := r.fill(); err != nil && err != io.EOF {
				return nil, err
			}
		} else if r.hit.level < 0 {
			return nil, io.EOF
		}
	}
}

// content consumes and returns what of the window is surely content of the
// current part, and sets r.hit when it comes to a delimiter. The line end
// before a delimiter belongs to it (RFC 2046 §5.1.1), so a line end that may
// precede one is held back. More says that nothing can be told before fill.
func (r *Reader) content() (c []byte, more bool) {
	if len(r.levels) == 0 {
		c, r.pos = r.buf[r.pos:r.end], r.end
		return c, len(c) == 0 && !r.atEOF()
	}
	if r.lineStart {
		d, more := r.delimiterAt(r.pos, r.end, r.atEOF())
		if more {
			return nil, true
		}
		r.lineStart = false
		if d.level >= 0 {
			r.hit = d
			return nil, false
		}
	}
	lineEnd, d, more := r.nextDelimiter(r.pos, r.end, r.atEOF())
	if more {
		c, r.pos = r.buf[r.pos:lineEnd], lineEnd
		return c, len(c) == 0
	}
	c = r.buf[r.pos:lineEnd]
	r.pos = lineEnd
	if d.level >= 0 {
		r.hit = d
	}
	return c, false
}

// nextDelimiter looks for a delimiter line in buf[from:end] behind its first
// line end. It returns where the content before the delimiter ends. Without
// one that is end, or, with more, where the octets begin that may turn out to
// be a delimiter with the line end before it.
func (r *Reader) nextDelimiter(from, end int, eof bool) (contentEnd int, d delimiter, more bool) {
	b := r.buf[:end]
	for at := from; ; {
		i := nextDashes(b, at)
		if i < 0 {
			break
		}
		if at = i + len(lineDashes); r.isOrdinary(b[at:]) {
			continue
		}
		d, more = r.delimiterAt(i+1, end, eof)
		if more || d.level >= 0 {
			r.work += int64(i - from)
			if i > from && b[i-1] == '\r' {
				i--
			}
			return i, d, more
		}
	}
	r.work += int64(end - from)
	if eof {
		return end, delimiter{level: -1}, false
	}
	return end - lineEndSuffix(b[from:]), delimiter{level: -1}, true
}

// isOrdinary reports where it is quickly told that two dashes and b behind them are no delimiter.
func (r *Reader) isOrdinary(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	if !r.filter.begins(b[0], b[1]) {
		return true
	}
	n := boundaryLength(b)
	r.work += int64(n)
	if n == len(b) || b[n] != '\n' {
		return false
	}
	level, _ := r.lookUp(trimmedRight(b[:n]))
	return level < 0
}

// nextDashes is where in b, from at on, a line end before "--" is, or -1.
func nextDashes(b []byte, at int) int {
	// Where lines of dashes follow each other, looking at the next octets is cheaper than searching.
	for near := min(at+16, len(b)-2); at < near; at++ {
		if b[at] == '\n' && b[at+1] == '-' && b[at+2] == '-' {
			return at
		}
	}
	if at >= len(b) {
		return -1
	}
	i := bytes.Index(b[at:], lineDashes)
	if i < 0 {
		return -1
	}
	return at + i
}

// lineEndSuffix is the length of what ends b and may be the beginning of CR LF "--".
func lineEndSuffix(b []byte) int {
	n := len(b)
	i := n
	if i > 0 && b[i-1] == '-' {
		i--
	}
	switch {
	case i > 0 && b[i-1] == '\n':
		i--
	case i == n && i > 0 && b[i-1] == '\r':
		return 1
	default:
		return 0
	}
	if i > 0 && b[i-1] == '\r' {
		i--
	}
	return n - i
}
