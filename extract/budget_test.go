package extract

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"lsmtpd/extract/hostile"
	"lsmtpd/schema"
)

// budget is what a Reader and what it returned may hold, by the formula in doc.go.
func budget(l Limits) int64 {
	l = l.withDefaults()
	return 192<<10 + 24*l.MaxHeaderBytes + int64(l.MaxParts)*(1<<10+4*int64(l.MaxDepth))
}

// weighed is a source that measures the live heap while it is read.
type weighed struct {
	src         io.Reader
	every, next int64 // octets
	octets      int64
	base, most  int64 // of the live heap, octets
	stats       runtime.MemStats
}

// Read implements io.Reader.
func (w *weighed) Read(p []byte) (int, error) {
	if w.octets >= w.next {
		w.next = w.octets + w.every
		w.weigh()
	}
	n, err := w.src.Read(p)
	w.octets += int64(n)
	return n, err
}

func (w *weighed) weigh() { w.most = max(w.most, w.live()-w.base) }

func (w *weighed) live() int64 {
	runtime.GC()
	runtime.ReadMemStats(&w.stats)
	return int64(w.stats.HeapAlloc)
}

// weigh reads a message to its end and returns how many octets it has, and the
// most that were live on the heap because of it whenever that was measured:
// each time so many octets were read, once the header is described, and at the end.
func weigh(t *testing.T, src io.Reader, l Limits, every int64) (octets, most int64) {
	t.Helper()
	w := &weighed{src: src, every: every}
	buf := make([]byte, 32<<10)
	w.live() // frees what is in pools, in two cycles
	w.base = w.live()
	r := NewReader(w, l)
	defer r.Close()
	h, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	var e schema.Email
	problems := h.Describe(&e)
	w.weigh()
	if h.Rest != nil {
		if _, err := io.CopyBuffer(io.Discard, readerOnly{h.Rest}, buf); err != nil {
			t.Fatal(err)
		}
	}
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(io.Discard, readerOnly{p.Body}, buf); err != nil {
			t.Fatal(err)
		}
	}
	w.weigh()
	runtime.KeepAlive([]any{problems, &e, h, r, buf})
	return w.octets, w.most
}

// TestBudget reads hostile messages larger than all that may be kept of them.
func TestBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("collects garbage two thousand times")
	}
	l := Limits{MaxHeaderBytes: 8 << 10, MaxParts: 50, MaxDepth: 20}
	most := budget(l)
	for _, m := range hostile.Messages() {
		size := 2 * most
		if m.Header {
			size = l.MaxHeaderBytes
		}
		if octets, got := weigh(t, m.Source(size)(), l, size/3); got > most {
			t.Errorf("%s: %d octets live for a message of %d, want at most %d", m.Name, got, octets, most)
		}
	}
}

// TestBudgetByDefault reads those that are held longest with the default limits, and some with others.
func TestBudgetByDefault(t *testing.T) {
	for _, m := range hostile.Messages() {
		switch m.Name {
		case "header fields not in UTF-8", "From: commas", "From: addresses of few octets", "100 levels again and again", "100,000 parts with names":
		default:
			continue
		}
		for _, l := range []Limits{{}, {MaxHeaderBytes: 100 << 10, MaxParts: 10_000, MaxDepth: 1000}} {
			size := int64(8 << 20)
			if m.Header {
				size = l.withDefaults().MaxHeaderBytes
			}
			octets, got := weigh(t, m.Source(size)(), l, size/3)
			t.Logf("%s: %d octets live for a message of %d, at most %d by %+v", m.Name, got, octets, budget(l), l)
			if got > budget(l) {
				t.Errorf("%s: %d octets live for a message of %d, want at most %d", m.Name, got, octets, budget(l))
			}
		}
	}
}

// TestBudgetIsMeasured weighs a source that keeps what was read: that must be seen.
func TestBudgetIsMeasured(t *testing.T) {
	var kept bytes.Buffer
	const size = 4 << 20
	message := io.MultiReader(strings.NewReader("\r\n"), io.LimitReader(endless{}, size))
	if _, got := weigh(t, io.TeeReader(message, &kept), Limits{}, size/4); got < size {
		t.Errorf("%d octets live, where all %d are kept", got, size)
	}
	runtime.KeepAlive(&kept)
}

// endless is a text without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
