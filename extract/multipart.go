package extract

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"lsmtpd/schema"
)

// node is a part of the structure. The strings its properties point to are kept in it.
type node struct {
	schema.BodyPart
	parent         *node  // nil for the root
	number         int    // among the parts of the parent, from 1
	partID, blobID string // of a leaf, once it is asked for
	charset        string // the parameter, or us-ascii where that is implied
	charsetSaid    bool   // it is the parameter
	charsetHint    string // the parameter of an enclosing multipart
	depth          int    // multiparts around it
	inDigest       bool   // the parent is a multipart/digest
	encoding       transferEncoding
	boundary       string // the parameter, octets as they came
}

// newNode makes the next child of the multipart parent.
func newNode(parent *node) *node {
	n := &node{parent: parent, number: len(parent.SubParts) + 1, depth: parent.depth + 1}
	n.Headers = []schema.Header{}
	n.inDigest = parent.Type == "multipart/digest"
	if n.charsetHint = parent.charsetHint; parent.charsetSaid {
		n.charsetHint = parent.charset
	}
	parent.SubParts = append(parent.SubParts, &n.BodyPart)
	return n
}

func (n *node) isMultipart() bool { return strings.HasPrefix(n.Type, "multipart/") }

// id is the part id of the leaf n. It is as long as n is deep, so nothing but a leaf has one.
func (n *node) id() *string {
	if n.partID == "" {
		if n.partID = n.section(); n.parent == nil {
			n.partID = "1"
		}
	}
	return &n.partID
}

// section is the IMAP section of n, "" for the root.
func (n *node) section() string {
	size := 0
	for m := n; m.parent != nil; m = m.parent {
		size += len(".10") // is enough for most
	}
	path := make([]byte, 0, size)
	for m := n; m.parent != nil; m = m.parent {
		var digits [20]byte
		number := strconv.AppendInt(digits[:0], int64(m.number), 10)
		slices.Reverse(number)
		if m != n {
			path = append(path, '.')
		}
		path = append(path, number...)
	}
	slices.Reverse(path)
	return string(path)
}

// called names the multipart n in a detail.
func (n *node) called() string {
	const deepest = 50 // no longer than a detail may be
	if n.depth == 0 {
		return "the multipart of the message"
	}
	if n.depth > deepest {
		return "a multipart inside " + strconv.Itoa(n.depth) + " others"
	}
	return "the multipart " + n.section()
}

// enter goes into n, whose header has been read, to its first leaf.
func (r *Reader) enter(n *node) (*Part, error) {
	for n.isMultipart() {
		if n.depth >= r.limits.MaxDepth {
			r.problems.add(n.id(), CodeTooDeep, "a multipart inside "+strconv.Itoa(n.depth)+" others was kept as it is")
			n.encoding = identity
			break
		}
		d, leaf, err := r.begin(n)
		if leaf != nil || err != nil {
			return leaf, err
		}
		if n, leaf, err = r.next(d); leaf != nil || err != nil {
			return leaf, err
		}
	}
	return r.leaf(n), nil
}

// begin opens the multipart n and returns its first delimiter. The text before
// it is dropped when the delimiter comes within peekSize; otherwise it is a
// leaf, so that nothing is lost.
func (r *Reader) begin(n *node) (d delimiter, leaf *Part, err error) {
	n.SubParts = []*schema.BodyPart{}
	if n.encoding != identity {
		r.problems.add(nil, CodeMultipartEncoding, "the transfer encoding of "+n.called()+" was ignored")
	}
	boundary, err := r.boundary(n)
	if err != nil {
		return d, nil, err
	}
	if boundary == "" {
		return d, r.preamble(n), nil
	}
	r.push(level{node: n, boundary: boundary})
	_, whole, err := r.peek(peekSize)
	if err != nil {
		return d, nil, err
	}
	d = r.firstDelimiter(r.pos+min(peekSize, r.end-r.pos), whole)
	if d.level != len(r.levels)-1 || d.close {
		r.problems.add(nil, CodeMissingDelimiter, "no delimiter begins "+n.called())
		return d, r.preamble(n), nil
	}
	r.consume(SpanPreamble, n, r.contentEnd(d))
	return d, nil, nil
}

// contentEnd is where the content before the delimiter d ends, at buf[pos] or behind it.
func (r *Reader) contentEnd(d delimiter) int {
	end := d.start
	if end > r.pos {
		end-- // its LF
	}
	if end > r.pos && r.buf[end-1] == '\r' {
		end--
	}
	return end
}

// firstDelimiter looks for a delimiter in buf[pos:end] without consuming anything.
func (r *Reader) firstDelimiter(end int, eof bool) delimiter {
	if r.lineStart {
		if d, _ := r.delimiterAt(r.pos, end, eof); d.level >= 0 {
			return d
		}
	}
	_, d, _ := r.nextDelimiter(r.pos, end, eof)
	return d
}

// preamble makes a leaf of what comes in the multipart n before a delimiter.
func (r *Reader) preamble(n *node) *Part {
	if len(r.levels) > 0 && r.leaves >= r.limits.MaxParts-1 {
		return r.remainder(r.pos)
	}
	child := newNode(n)
	child.setType("text/plain")
	return r.leaf(child)
}

// next is the part that begins behind d, a delimiter of the innermost
// multipart, with its header read; or a leaf, where it can be nothing else.
func (r *Reader) next(d delimiter) (n *node, leaf *Part, err error) {
	if r.leaves >= r.limits.MaxParts-1 {
		return nil, r.remainder(d.start), nil
	}
	l := &r.levels[d.level]
	l.seen = true
	r.noteOdd(d)
	n = newNode(l.node)
	r.consume(SpanDelimiter, l.node, d.end)
	whole, err := r.readPartHeader(n)
	if err != nil {
		return nil, nil, err
	}
	if !whole {
		return nil, r.opaque(n), nil
	}
	return n, nil, nil
}

// noteOdd notes that d has something behind it.
func (r *Reader) noteOdd(d delimiter) {
	if d.odd {
		r.problems.add(nil, CodeDelimiterSyntax, "a delimiter with something behind it: "+string(r.buf[d.start:d.end]))
	}
}

// opaque makes n, whose header block is too large, a leaf that begins with it.
func (r *Reader) opaque(n *node) *Part {
	r.problems.add(n.id(), CodeHeaderTooLarge, "the header block of the part does not fit in what is left of "+
		strconv.FormatInt(r.limits.MaxHeaderBytes, 10)+" octets")
	n.setType("application/octet-stream")
	r.prefix = r.mem.header
	return r.leaf(n)
}

// remainder makes all octets from buf[start] on one leaf of the root multipart.
func (r *Reader) remainder(start int) *Part {
	for len(r.levels) > 0 {
		r.pop()
	}
	r.consume(SpanDelimiter, r.root, start) // the line end before it
	n := newNode(r.root)
	r.problems.add(n.id(), CodeTooManyParts, "more than "+strconv.Itoa(r.limits.MaxParts)+" parts: the last holds all the rest")
	n.setType("application/octet-stream")
	return r.leaf(n)
}

// boundary is the boundary of the multipart n: its parameter if that can be
// one, else what its content looks like being divided by, or "".
func (r *Reader) boundary(n *node) (string, error) {
	given := strings.TrimRight(n.boundary, " \t\r\n")
	if given != "" && len(given) <= maxBoundary && !strings.ContainsAny(given, "\r\n") {
		return given, nil
	}
	b, whole, err := r.peek(peekSize)
	if err != nil {
		return "", err
	}
	if d := r.firstDelimiter(r.pos+len(b), whole); d.level >= 0 {
		b = b[:d.start-r.pos] // what follows is no content of this one
	}
	guessed := r.guessBoundary(b)
	name := n.called()
	if guessed == "" {
		r.problems.add(nil, CodeMissingBoundary, name+" has no usable boundary: its content is one part")
	} else {
		r.problems.add(nil, CodeMissingBoundary, name+" has no usable boundary: divided by "+strconv.Quote(guessed))
	}
	return guessed, nil
}

// guessBoundary returns the text behind the dashes of the first line of b, the
// beginning of a multipart's content, that starts with two of them and is
// followed by a header field or occurs again.
func (r *Reader) guessBoundary(b []byte) string {
	for at := 0; at < len(b); {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return ""
		}
		line, next := b[at:at+i], b[at+i+1:]
		at += i + 1
		if !bytes.HasPrefix(line, []byte("--")) {
			continue
		}
		text := bytes.TrimRight(line[2:], " \t\r")
		if len(text) == 0 || len(text) > maxBoundary {
			continue
		}
		again := append([]byte("\n--"), text...)
		if isField(firstLine(next)) || bytes.Contains(next, again) {
			return string(text)
		}
		return ""
	}
	return ""
}

// firstLine is the line b begins with, without its line end.
func firstLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimSuffix(b, []byte("\r"))
}
