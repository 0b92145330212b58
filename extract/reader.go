package extract

import (
	"bytes"
	"errors"
	"io"

	"lsmtpd/schema"
)

// Limits bound what of a message is kept in memory and in its envelope. A
// message beyond them is still read to its end: what does not fit stays
// together in one part. Zero or less means the default.
type Limits struct {
	// MaxHeaderBytes is the most octets of header fields kept, of the message
	// and all its parts together. Default: 1 MiB.
	MaxHeaderBytes int64
	// MaxParts is the most leaf parts. What a delimiter begins when only one
	// more is allowed is that one: an opaque part that holds all the rest of
	// the message. Default: 1000.
	MaxParts int
	// MaxDepth is the most multiparts around a part. Default: 100.
	MaxDepth int
}

func (l Limits) withDefaults() Limits {
	if l.MaxHeaderBytes <= 0 {
		l.MaxHeaderBytes = 1 << 20
	}
	if l.MaxParts <= 0 {
		l.MaxParts = 1000
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = 100
	}
	return l
}

var (
	errClosed = errors.New("extract: reader is closed")
	errStale  = errors.New("extract: body read after NextPart")
)

// Reader reads one message in one pass: Header, then NextPart until io.EOF,
// then Structure and Problems, then Close. It starts no goroutine and is not
// safe for concurrent use.
//
// Whatever is wrong with the message is a problem, never an error. An error
// the source returns, other than io.EOF, is returned as it is, from where it
// was met and from every call after it.
type Reader struct {
	window
	mem    *buffers // nil once closed
	limits Limits

	levels    []level        // open multiparts, outermost first
	open      map[string]int // boundary of each to its index; of equal ones, the innermost
	hit       delimiter      // what ended the part; its line is not consumed
	lineStart bool           // buf[pos] begins a line that has not been looked at
	prefix    []byte         // comes before the window in the current part

	filter boundaryFilter // of what is in open

	block    block // the header block being read
	header   *Header
	root     *node
	cur      *Part
	entered  bool  // the root has been entered
	ended    error // what NextPart returned last instead of a part; io.EOF after the last
	leaves   int
	fields   int64 // octets of header fields kept
	charsets *charsets
	problems problems
	tracer   *tracer // nil without Trace
}

// NewReader returns a Reader of the message in src, which it reads in pieces of
// at most 64 KiB. The io.EOF of src is the end of the message.
func NewReader(src io.Reader, l Limits) *Reader {
	mem := bufferPool.Get().(*buffers)
	return &Reader{
		window:   window{src: src, buf: mem.window[:]},
		mem:      mem,
		limits:   l.withDefaults(),
		hit:      delimiter{level: -1},
		charsets: new(charsets),
	}
}

// Close gives the Reader's memory back; it does not close the source. Bodies
// and Header.Rest must not be read after it; what else was returned stays valid.
func (r *Reader) Close() {
	if r.mem == nil {
		return
	}
	mem := r.mem
	r.mem, r.buf, r.prefix, r.cur = nil, nil, nil, nil
	r.pos, r.end = 0, 0
	if cap(mem.header) > maxHeaderKept {
		mem.header = nil
	}
	bufferPool.Put(mem)
}

// Structure is the root of the MIME structure as far as it has been read:
// complete once NextPart has returned io.EOF, nil before Header.
func (r *Reader) Structure() *schema.BodyPart {
	if r.root == nil {
		return nil
	}
	return &r.root.BodyPart
}

// Problems lists what was malformed as far as the message has been read, in
// the order it was met: at most 100 and one that counts those left out. Those
// of a body's transfer encoding are only seen where the body is read.
func (r *Reader) Problems() []schema.Problem { return r.problems.all() }

// NextPart returns the next leaf part in the order of the message, and io.EOF
// after the last. What is left of the part before is skipped. Every message
// has at least one part.
func (r *Reader) NextPart() (*Part, error) {
	if r.mem == nil {
		return nil, errClosed
	}
	if r.ended != nil {
		return nil, r.ended
	}
	p, err := r.nextPart()
	if r.ended = err; err == io.EOF && r.tracer != nil {
		r.tracer.flush()
	}
	return p, err
}

func (r *Reader) nextPart() (*Part, error) {
	if err := r.skip(); err != nil {
		return nil, err
	}
	if !r.entered {
		r.entered = true
		return r.enter(r.root)
	}
	for r.hit.level >= 0 {
		d := r.hit
		r.hit.level = -1
		for len(r.levels)-1 > d.level {
			r.leaveUnclosed()
		}
		if d.close {
			if err := r.leaveClosed(d); err != nil {
				return nil, err
			}
			continue
		}
		n, leaf, err := r.next(d)
		if leaf != nil || err != nil {
			return leaf, err
		}
		return r.enter(n)
	}
	for len(r.levels) > 0 {
		r.leaveUnclosed()
	}
	return nil, io.EOF
}

// skip reads what is left of the header block and of the current part.
func (r *Reader) skip() error {
	h, err := r.Header()
	if err != nil {
		return err
	}
	if h.Rest != nil {
		if _, err := io.Copy(io.Discard, h.Rest); err != nil {
			return err
		}
	}
	if r.cur == nil {
		return nil
	}
	r.cur.body.report()
	r.cur = nil
	for {
		if _, err := r.chunk(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// leaveUnclosed leaves the innermost multipart where something else ended it.
func (r *Reader) leaveUnclosed() {
	l := r.levels[len(r.levels)-1]
	if l.seen {
		r.problems.add(nil, CodeMissingCloseDelimiter, l.node.called()+" ends without its close delimiter")
	}
	r.pop()
}

// leaveClosed leaves the multipart that d closes, and drops its epilogue.
func (r *Reader) leaveClosed(d delimiter) error {
	n := r.levels[d.level].node
	r.noteOdd(d)
	r.pop()
	r.consume(SpanDelimiter, n, d.end)
	r.lineStart = true
	r.traceTo(SpanEpilogue, n)
	blank := true
	for {
		c, err := r.chunk()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		blank = blank && len(bytes.TrimSpace(c)) == 0
	}
	if !blank {
		r.problems.add(nil, CodeEpilogue, "text after the close delimiter of "+n.called()+" was dropped")
	}
	return nil
}
