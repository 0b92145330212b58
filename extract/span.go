package extract

// SpanKind says what octets of a message are part of.
type SpanKind string

// The kinds of spans. A delimiter has the line end before it (RFC 2046 §5.1.1),
// a header the empty line that ends it and whatever was skipped before it.
const (
	SpanHeader    SpanKind = "header"
	SpanBody      SpanKind = "body"
	SpanDelimiter SpanKind = "delimiter"
	SpanPreamble  SpanKind = "preamble"
	SpanEpilogue  SpanKind = "epilogue"
)

// Span is a run of octets of the message as it came.
type Span struct {
	Kind SpanKind
	// PartID is that of the leaf a header or a body is of. What is of a multipart
	// has its IMAP section; the outermost one, and the header of the message, have "".
	PartID string
	// Start is where it begins, End where it ends, in octets from the beginning of the message.
	Start, End int64
}

// tracer joins the spans of one kind and part into one.
type tracer struct {
	report  func(Span)
	pending Span
}

// Trace has f called with every span of the message in order, from Header or
// NextPart, in the goroutine of the caller: once NextPart has returned io.EOF,
// they have covered all octets, each once. Every leaf has one body, an empty one
// where it has no octets. It must be called before Header.
func (r *Reader) Trace(f func(Span)) { r.tracer = &tracer{report: f} }

// begin ends the pending span and begins one at offset at, unless it goes on.
func (t *tracer) begin(kind SpanKind, partID string, at int64) {
	if t.pending.Kind == kind && t.pending.PartID == partID {
		return
	}
	t.flush()
	t.pending = Span{kind, partID, at, at}
}

func (t *tracer) flush() {
	if t.pending.Kind != "" && (t.pending.End > t.pending.Start || t.pending.Kind == SpanBody) {
		t.report(t.pending)
	}
	t.pending = Span{}
}

// traceTo begins a span of n at the octet that is consumed next. The header of
// the message is traced before there is an n: it is nil.
func (r *Reader) traceTo(kind SpanKind, n *node) {
	if r.tracer == nil {
		return
	}
	section := ""
	if n != nil {
		section = n.section()
	}
	if kind == SpanBody {
		section = *n.id()
	}
	r.tracer.begin(kind, section, r.offset())
}

// traced says that the octets of the pending span are consumed up to here.
func (r *Reader) traced() {
	if r.tracer != nil {
		r.tracer.pending.End = r.offset()
	}
}

// consume consumes the window up to buf[end], a span of its own.
func (r *Reader) consume(kind SpanKind, n *node, end int) {
	r.traceTo(kind, n)
	r.pos = end
	r.traced()
}

// traceOpaque makes the header block that was begun part of the body of n.
func (r *Reader) traceOpaque(n *node) {
	if r.tracer != nil {
		r.tracer.pending.Kind, r.tracer.pending.PartID = SpanBody, *n.id()
	}
}
