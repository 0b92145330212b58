package extract

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"lsmtpd/schema"
)

// Header is the header block of a message.
type Header struct {
	// Raw is the block as it came, with the empty line that ends it if there
	// was one; at most Limits.MaxHeaderBytes octets.
	Raw []byte
	// Rest is nil, or, where the block is larger than the limit, the octets of
	// it behind Raw. It can be read until NextPart, which skips what is left of it.
	Rest io.Reader
	// Fields are the fields in Raw, in the Raw form of RFC 8621 §4.1.2.1: with
	// their folding, without the final line end, what is not UTF-8 as U+FFFD,
	// without NUL. A field the limit cuts is not among them. Never nil.
	Fields []schema.Header
	// Exact says that each field as Name, ":", Value, CRLF, and a last CRLF, are
	// Raw octet for octet, and that Rest is nil.
	Exact bool

	raw      []schema.Header // Fields before they were made valid UTF-8
	charsets *charsets
}

// Header reads the header block. Later calls return the same.
func (r *Reader) Header() (*Header, error) {
	if r.mem == nil {
		return nil, errClosed
	}
	if r.header != nil {
		return r.header, nil
	}
	raw, rest, err := r.readTopHeader()
	if err != nil {
		return nil, err
	}
	h := &Header{Raw: raw, charsets: r.charsets}
	if len(raw) > maxHeaderKept {
		r.mem.header = nil // it is the Header's now
	} else {
		h.Raw = slices.Clone(raw)
	}
	s := string(raw)
	if rest {
		h.Rest = &headerRest{r: r}
		s = s[:wholeFields(s)]
		r.problems.add(nil, CodeHeaderTooLarge, "the header is larger than "+strconv.FormatInt(r.limits.MaxHeaderBytes, 10)+" octets")
	}
	f := parseFields(s)
	f.report(&r.problems, nil)
	h.Fields, h.raw, h.Exact = f.fields, f.raw, f.exact && !rest
	r.fields = int64(len(raw))
	r.root = &node{}
	r.root.Headers = []schema.Header{}
	r.describe(r.root, f.raw)
	r.header, r.lineStart = h, true
	return h, nil
}

// readTopHeader reads the header block of the message into mem.header, up to
// the limit. Rest says that there is more of it.
func (r *Reader) readTopHeader() (raw []byte, rest bool, err error) {
	r.block = block{}
	r.traceTo(SpanHeader, nil)
	raw = r.mem.header[:0]
	leading, err := r.leadingBlankLines()
	if err != nil {
		return nil, false, err
	}
	raw = append(raw, leading...)
	r.pos += len(leading)
	for blank := false; !blank; {
		var piece []byte
		r.block.raw = raw
		if piece, blank, err = r.headerPiece(); err != nil {
			return nil, false, err
		}
		if len(piece) == 0 {
			if r.hit.level < 0 && !r.atHeaderEnd() {
				r.noteMissingBlankLine(nil)
			}
			break
		}
		n := len(piece)
		if left := r.limits.MaxHeaderBytes - int64(len(raw)); int64(n) > left {
			rest = true
			n = int(left)
			if blank {
				n, r.block.ended = 0, false
			}
		}
		raw = appendDoubling(raw, piece[:n])
		r.advance(piece, n)
		if rest {
			break
		}
	}
	r.mem.header, r.block.raw = raw, raw
	return raw, rest, nil
}

// atHeaderEnd reports that nothing follows the header block.
func (r *Reader) atHeaderEnd() bool { return r.pos == r.end && r.atEOF() }

// leadingBlankLines returns the empty lines before the header, without
// consuming them: none where the header is really empty.
func (r *Reader) leadingBlankLines() ([]byte, error) {
	b, _, err := r.peek(headerPeek)
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	if n == 0 || int64(n) > r.limits.MaxHeaderBytes || !beginsHeader(b[n:]) {
		return nil, nil
	}
	return b[:n], nil
}

// beginsHeader reports that b begins with a field a message really begins with.
func beginsHeader(b []byte) bool {
	line := firstLine(b)
	return isKnownField(line) || !isStrictField(line) && isMboxFrom(line)
}

// isKnownField reports a line that begins with the name of a field that many messages have.
func isKnownField(line []byte) bool {
	if !isStrictField(line) {
		return false
	}
	name, _, _ := strings.Cut(strings.ToLower(string(line[:min(len(line), maxFieldName)])), ":")
	switch name = strings.TrimRight(name, " \t"); name {
	case "received", "return-path", "delivered-to", "from", "to", "subject", "date", "message-id", "mime-version",
		"sender", "reply-to", "cc", "dkim-signature", "authentication-results", "user-agent", "in-reply-to", "references":
		return true
	}
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "arc-")
}

// wholeFields is how much of s, the beginning of a larger block, is whole fields.
func wholeFields(s string) int {
	n := 0
	for n < len(s) {
		k, _, _ := fieldLength(s[n:])
		if n+k == len(s) {
			break
		}
		n += k
	}
	return n
}

// headerRest reads what the limit left of the header block.
type headerRest struct {
	r    *Reader
	tail []byte // of the empty line that ends the block, consumed already
}

// Read implements io.Reader. It fills p: a block of tiny fields must not cost its readers a call for each.
func (h *headerRest) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = h.readPiece(p[n:])
		n += k
	}
	if n > 0 {
		return n, nil // an error comes again with the next call
	}
	return 0, err
}

// readPiece reads at most one line.
func (h *headerRest) readPiece(p []byte) (int, error) {
	r := h.r
	if r.mem == nil {
		return 0, errClosed
	}
	if r.entered {
		return 0, io.EOF
	}
	if len(h.tail) == 0 {
		piece, blank, err := r.headerPiece()
		if err != nil {
			return 0, err
		}
		if len(piece) == 0 {
			return 0, io.EOF
		}
		if !blank {
			n := copy(p, piece)
			r.advance(piece, n)
			return n, nil
		}
		h.tail = piece
		r.advance(piece, len(piece))
	}
	n := copy(p, h.tail)
	h.tail = h.tail[n:]
	return n, nil
}
