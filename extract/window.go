package extract

import (
	"errors"
	"io"
	"sync"
)

const (
	windowSize = 64 << 10 // octets of the source held at once
	peekSize   = 32 << 10 // octets looked ahead for the first delimiter of a multipart
)

var errNegativeRead = errors.New("extract: source returned an impossible count")

// buffers is the memory one Reader works in. The pool lends it again after Reader.Close.
type buffers struct {
	window  [windowSize]byte
	encoded [windowSize + maxCarried]byte // octets of a part on their way through its transfer encoding
	decoded [32 << 10]byte                // what comes out of it, for io.WriterTo
	header  []byte                        // the header block being read
}

var bufferPool = sync.Pool{New: func() any { return new(buffers) }}

// window is a piece of the source: buf[pos:end] is read and not consumed.
type window struct {
	src      io.Reader
	buf      []byte
	pos, end int
	base     int64 // octets of the source before buf[0]
	err      error // what the source returned last; sticky, io.EOF at its end
	work     int64 // octets searched or moved, for the tests that show it linear
}

// atEOF reports that the source ended regularly, so that buf[pos:end] is all that is left.
func (w *window) atEOF() bool { return w.err == io.EOF }

// fill reads more octets behind those not consumed. It moves octets only when
// the window is full, so that its cost stays linear however small the reads are.
func (w *window) fill() error {
	if w.err != nil {
		return w.err
	}
	if w.pos == w.end {
		w.base += int64(w.pos)
		w.pos, w.end = 0, 0
	} else if w.end == len(w.buf) {
		w.compact()
	}
	for range 100 {
		n, err := w.src.Read(w.buf[w.end:])
		if n < 0 || n > len(w.buf)-w.end {
			n, err = 0, errNegativeRead
		}
		w.end += n
		w.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	w.err = io.ErrNoProgress
	return w.err
}

func (w *window) compact() {
	w.end = copy(w.buf, w.buf[w.pos:w.end])
	w.work += int64(w.end)
	w.base += int64(w.pos)
	w.pos = 0
}

// offset is how many octets of the source are consumed.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// peek returns the next n octets without consuming them, n at most peekSize;
// fewer only where the source ends, and then whole is true. Whether it ends is
// looked up, so that the answer does not depend on how the source cuts its reads.
func (w *window) peek(n int) (b []byte, whole bool, err error) {
	if w.pos+n+1 > len(w.buf) {
		w.compact()
	}
	for w.end-w.pos <= n {
		if err := w.fill(); err == io.EOF {
			return w.buf[w.pos:w.end], true, nil
		} else if err != nil {
			return nil, false, err
		}
	}
	return w.buf[w.pos : w.pos+n], false, nil
}
