package extract

import (
	"io"

	"lsmtpd/schema"
)

// Part is a leaf of the structure with its octets.
type Part struct {
	// BodyPart is the node of the structure Reader.Structure returns. Its Size
	// is left 0 for the caller to set once the body is read.
	*schema.BodyPart
	// Body has the octets of the part, the transfer encoding undone, the
	// charset untouched. It is valid until the next NextPart or Close, and
	// implements io.WriterTo. It returns io.EOF only at the end of the part;
	// an error of the source is returned as it is.
	Body io.Reader

	node *node
	body body
}

// leaf makes n the current part.
func (r *Reader) leaf(n *node) *Part {
	r.leaves++
	n.PartID = n.id()
	n.blobID = schema.BlobID(n.partID)
	n.BlobID = &n.blobID
	p := &Part{BodyPart: &n.BodyPart, node: n}
	p.body = body{r: r, part: p, encoding: n.encoding}
	p.Body = &p.body
	r.cur = p
	r.traceTo(SpanBody, n)
	return p
}

// body is the Body of a Part. Only that of the current part may be read.
type body struct {
	r        *Reader
	part     *Part
	encoding transferEncoding
	rest     []byte // identity: what of the last chunk is not yet read

	// With an encoding, mem.encoded[start:end] is not yet decoded and out not yet read.
	start, end int
	final      bool // no more octets come
	small      [8]byte
	out        []byte // in small
	base64     base64Decoder
	quoted     quotedDecoder
}

func (b *body) err() error {
	if b.r.mem == nil {
		return errClosed
	}
	if b.r.cur != b.part {
		return errStale
	}
	return nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if err := b.err(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.encoding != identity {
		return b.readDecoded(p)
	}
	if len(b.rest) == 0 {
		c, err := b.r.chunk()
		if err != nil {
			return 0, err
		}
		b.rest = c
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *body) readDecoded(p []byte) (int, error) {
	for {
		if len(b.out) > 0 {
			n := copy(p, b.out)
			b.out = b.out[n:]
			return n, nil
		}
		if len(p) < len(b.small) {
			b.out = b.small[:b.decode(b.small[:])]
			if len(b.out) > 0 {
				continue
			}
		} else if n := b.decode(p); n > 0 {
			return n, nil
		}
		if b.final {
			b.report()
			return 0, io.EOF
		}
		c, err := b.r.chunk()
		if err == io.EOF {
			b.final = true
		} else if err != nil {
			return 0, err
		} else {
			b.feed(c)
		}
	}
}

// feed takes c for decoding. The decoders leave at most maxCarried octets, so it always fits.
func (b *body) feed(c []byte) {
	in := b.r.mem.encoded[:]
	b.end = copy(in, in[b.start:b.end])
	b.start = 0
	if b.encoding == base64Encoding {
		b.end += compactLines(in[b.end:], c)
	} else {
		b.end += copy(in[b.end:], c)
	}
}

// decode decodes into dst, of at least 8 octets, and returns how many; 0 when it needs more input or is at the end.
func (b *body) decode(dst []byte) int {
	src := b.r.mem.encoded[b.start:b.end]
	var n, used int
	if b.encoding == base64Encoding {
		n, used = b.base64.decode(dst, src, b.final)
	} else {
		n, used = b.quoted.decode(dst, src, b.final)
	}
	b.start += used
	return n
}

// report notes what the decoder saw, at the end of the part or where the reading of it ends.
func (b *body) report() {
	for _, p := range [...]struct {
		seen         *bool
		code, detail string
	}{
		{&b.base64.garbage, CodeBase64Garbage, "octets outside the base64 alphabet were skipped"},
		{&b.base64.resumed, CodeBase64AfterPadding, "data after the padding was decoded too"},
		{&b.base64.truncated, CodeBase64Truncated, "the data ends without its last octets or their padding"},
		{&b.quoted.invalid, CodeQuotedPrintable, "an \"=\" that begins no escape was kept"},
	} {
		if *p.seen {
			b.r.problems.add(b.part.PartID, p.code, p.detail)
		}
		*p.seen = false
	}
}

// WriteTo implements io.WriterTo: the octets go to w without another copy where they need no decoding.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	if b.encoding != identity {
		return b.writeDecoded(w)
	}
	var total int64
	for {
		if err := b.err(); err != nil {
			return total, err
		}
		if len(b.rest) == 0 {
			c, err := b.r.chunk()
			if err == io.EOF {
				return total, nil
			}
			if err != nil {
				return total, err
			}
			b.rest = c
		}
		n, err := w.Write(b.rest)
		total += int64(n)
		b.rest = b.rest[n:]
		if err == nil && len(b.rest) > 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}

// writeDecoded is WriteTo where the octets are encoded.
func (b *body) writeDecoded(w io.Writer) (int64, error) {
	if err := b.err(); err != nil {
		return 0, err
	}
	return io.CopyBuffer(w, readerOnly{b}, b.r.mem.decoded[:])
}

// readerOnly hides WriteTo.
type readerOnly struct{ io.Reader }
