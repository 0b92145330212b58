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
	section  string // of its children: "" or "2.1."
	boundary string
	outer    int  // the level this one's boundary hides in Reader.open because it is the same, or -1
	seen     bool // a delimiter has come
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
		r.problems.add(nil, CodeDuplicateBoundary, "the multipart "+sectionName(l.section)+" has the boundary of one around it")
	}
	if r.open == nil {
		r.open = make(map[string]int)
	}
	r.open[l.boundary] = len(r.levels)
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
	text := bytes.TrimRight(line, " \t\r\n")[2:]
	if d = r.lookUp(text); d.level < 0 {
		// RFC 2046 §5.1.1: it is enough that the boundary begins the line. What may go on with a boundary makes another one of it.
		if i := bytes.IndexFunc(text, isNoBoundary); i > 0 {
			d = r.lookUp(text[:i])
			d.odd = d.level >= 0
		}
	}
	d.start, d.end = at, at+len(line)
	return d, false
}

// isNoBoundary reports what no boundary has, RFC 2046 §5.1.1.
func isNoBoundary(c rune) bool {
	return c >= utf8.RuneSelf || c < ' ' || strings.ContainsRune("<>@[\\]^`{|}~\"#$%&*;!", c)
}

// lookUp finds the innermost multipart of which text, a line without its
// dashes and trailing blanks, is the delimiter or the close delimiter.
func (r *Reader) lookUp(text []byte) delimiter {
	d := delimiter{level: -1}
	if i, ok := r.open[string(text)]; ok {
		d.level = i
	}
	if text, ok := bytes.CutSuffix(text, []byte("--")); ok {
		if i, ok := r.open[string(text)]; ok && i > d.level {
			d.level, d.close = i, true
		}
	}
	return d
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
		i := bytes.Index(b[at:], lineDashes)
		if i < 0 {
			break
		}
		i += at
		d, more = r.delimiterAt(i+1, end, eof)
		if more || d.level >= 0 {
			r.work += int64(i - from)
			if i > from && b[i-1] == '\r' {
				i--
			}
			return i, d, more
		}
		at = i + len(lineDashes)
	}
	r.work += int64(end - from)
	if eof {
		return end, delimiter{level: -1}, false
	}
	return end - lineEndSuffix(b[from:]), delimiter{level: -1}, true
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
