package extract

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"testing"

	"lsmtpd/extract/hostile"
	"lsmtpd/schema"
)

// budget is what a Reader and what it returned may hold, by the formula in doc.go.
func budget(l Limits) int64 {
	l = l.withDefaults()
	return 192<<10 + 64*l.MaxHeaderBytes + int64(l.MaxParts)*(1<<10+4*int64(l.MaxDepth))
}

// weighed is a source that measures the live heap as it is read.
type weighed struct {
	src         io.Reader
	every, next int64 // octets
	octets      int64
	base, most  int64 // live heap
	mem         runtime.MemStats
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

func (w *weighed) weigh() {
	runtime.GC()
	runtime.ReadMemStats(&w.mem)
	w.most = max(w.most, int64(w.mem.HeapAlloc)-w.base)
}

// weigh reads a message to its end and returns the most octets that were live
// on the heap for it, at any time it was measured.
func weigh(t *testing.T, src io.Reader, l Limits, every int64) (most, octets int64) {
	t.Helper()
	w := &weighed{src: src, every: every}
	buf := make([]byte, 32<<10)
	runtime.GC()
	runtime.GC() // frees what is in pools
	runtime.ReadMemStats(&w.mem)
	w.base = int64(w.mem.HeapAlloc)
	r := NewReader(w, l)
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
	runtime.KeepAlive(problems)
	runtime.KeepAlive(&e)
	runtime.KeepAlive(h)
	runtime.KeepAlive(r)
	r.Close()
	return w.most, w.octets
}

func TestBudget(t *testing.T) {
	l := Limits{MaxHeaderBytes: 16 << 10, MaxParts: 50, MaxDepth: 20}
	if os.Getenv("HBIG") != "" {
		l = Limits{}
	}
	type res struct {
		n string
		m int64
	}
	var rs []res
	for _, m := range hostile.Messages() {
		size := int64(2_000_000)
		if m.Header {
			size = l.withDefaults().MaxHeaderBytes
		}
		most, octets := weigh(t, m.Source(size)(), l, 700_000)
		rs = append(rs, res{m.Name, most})
		if most > budget(l) {
			t.Errorf("%s: %d octets live of %d, want at most %d", m.Name, most, octets, budget(l))
		}
	}
	sort.Slice(rs, func(i, j int) bool { return rs[i].m > rs[j].m })
	for _, r := range rs[:40] {
		fmt.Println(r.m, r.m/16384, r.n)
	}
}
