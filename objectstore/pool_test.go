package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testPool has room for so many slabs, on the heap.
func testPool(slabs int) *Pool { return newPool(int64(slabs)*SlabBytes, heapSlab, poison) }

// wantIdlePool makes sure that everything came back.
func wantIdlePool(t *testing.T, p *Pool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lent != 0 || p.sealed != 0 || len(p.filling) != 0 || p.holders.Len() != 0 || p.starters.Len() != 0 {
		t.Errorf("pool after all: lent %d, sealed %d, filling %d, waiting %d and %d; want nothing",
			p.lent, p.sealed, len(p.filling), p.holders.Len(), p.starters.Len())
	}
	if len(p.idle) > p.capacity {
		t.Errorf("pool keeps %d slabs of %d", len(p.idle), p.capacity)
	}
}

func TestNewPool(t *testing.T) {
	if _, err := NewPool(MinPartBytes - 1); err == nil || !strings.Contains(err.Error(), "store.memory") {
		t.Errorf("NewPool below one part: %v; want an error that names store.memory", err)
	}
	p, err := NewPool(64<<20 + 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stats(); got != (PoolStats{Capacity: 64 << 20}) {
		t.Errorf("Stats of a new pool: %+v", got)
	}
}

// The memory of the system itself: lent, written, given back, kept to a limit.
func TestPoolOfTheSystem(t *testing.T) {
	p, err := NewPool(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	b := p.buffer(48 << 20)
	if end, err := b.fill(t.Context(), &source{r: bytes.NewReader(bytes.Repeat([]byte("x"), 40<<20))}); !end || err != nil {
		t.Fatalf("fill: %t, %v", end, err)
	}
	if got, want := p.Stats().Lent, int64(40<<20+SlabBytes); got != want {
		t.Errorf("lent %d for 40 MiB; want %d", got, want)
	}
	n, err := io.Copy(io.Discard, b.body())
	if n != 40<<20 || err != nil {
		t.Errorf("body: %d octets, %v; want 40 MiB", n, err)
	}
	b.release()
	b.release() // harmless
	if got := p.Stats(); got.Lent != 0 || got.Idle != idleSlabs*SlabBytes {
		t.Errorf("after release: %+v; want nothing lent, %d idle", got, idleSlabs*SlabBytes)
	}
	wantIdlePool(t, p)
}

func TestPoolOutOfMemory(t *testing.T) {
	none := errors.New("out of memory")
	p := newPool(10*SlabBytes, func() ([]byte, error) { return nil, none }, poison)
	b := p.buffer(SlabBytes)
	defer wantIdlePool(t, p)
	defer b.release()
	if _, err := b.fill(t.Context(), &source{r: strings.NewReader("x")}); !errors.Is(err, none) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("fill: %v; want ErrUnavailable and %v", err, none)
	}
}

// Many uploads of many sizes and speeds, some of which give up, with little memory. In the bubble a
// deadlock is no hang but a failure, and no schedule takes real time.
func TestPoolNeverDeadlocks(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomUploads(t, seed) })
		})
	}
}

func randomUploads(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	claim := 1 + random.IntN(12)
	p := testPool(claim + random.IntN(4*claim))
	var running sync.WaitGroup
	for range 2 + random.IntN(30) {
		// A claim of twice the size is what a large upload has, if the pool can hold it.
		claim := claim
		if random.IntN(4) == 0 && 2*claim <= p.capacity {
			claim *= 2
		}
		random := rand.New(rand.NewPCG(random.Uint64(), 1))
		running.Go(func() {
			for range 1 + random.IntN(6) {
				fillOne(t, p, claim, random)
			}
		})
	}
	running.Wait()
	wantIdlePool(t, p)
}

// fillOne fills a buffer slab by slab, with pauses, and sends it or gives up.
func fillOne(t *testing.T, p *Pool, claim int, random *rand.Rand) {
	b := p.buffer(int64(claim) * SlabBytes)
	defer b.release()
	ctx := t.Context()
	if random.IntN(5) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(100))*time.Millisecond)
		defer cancel()
	}
	slabs := 1 + random.IntN(claim)
	for range slabs {
		if err := p.grow(ctx, b); err != nil {
			return
		}
		if stats := p.Stats(); stats.Lent > stats.Capacity {
			t.Errorf("lent %d of %d", stats.Lent, stats.Capacity)
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // in the bubble: no real time
	}
	p.seal(b)
	time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
}

// tryGrow lends slabs until one is not granted, and returns how many b then holds.
func tryGrow(t *testing.T, p *Pool, b *buffer, n int) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for range n {
		if err := p.grow(ctx, b); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("grow: %v", err)
			}
			break
		}
	}
	return len(b.slabs)
}

// A client that stalls keeps what it holds; the others go on in what is free.
func TestPoolStalledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(20)
		stalled, other := p.buffer(10*SlabBytes), p.buffer(10*SlabBytes)
		defer stalled.release()
		if got := tryGrow(t, p, stalled, 9); got != 9 {
			t.Fatalf("first upload got %d slabs; want 9", got)
		}
		for range 5 {
			if got := tryGrow(t, p, other, 10); got != 10 {
				t.Fatalf("upload beside a stalled one got %d slabs; want 10", got)
			}
			other.release()
		}
	})
}

// Two buffers that could take the last slabs from each other: one of them gets all it needs.
func TestPoolKeepsAWayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(12)
		a, b := p.buffer(10*SlabBytes), p.buffer(10*SlabBytes)
		defer b.release()
		if got := tryGrow(t, p, a, 5); got != 5 {
			t.Fatalf("a got %d; want 5", got)
		}
		// 7 are free and a needs 5, so b may have 2.
		if got := tryGrow(t, p, b, 10); got != 2 {
			t.Errorf("b got %d; want 2", got)
		}
		if got := tryGrow(t, p, a, 5); got != 10 {
			t.Errorf("a got %d in all; want 10", got)
		}
		// a is on its way to the store: b may count on what comes back, but has to wait for it.
		p.seal(a)
		if got := tryGrow(t, p, b, 8); got != 2 {
			t.Errorf("b got %d of a full pool; want 2", got)
		}
		a.release()
		if got := tryGrow(t, p, b, 8); got != 10 {
			t.Errorf("b got %d in all; want 10", got)
		}
	})
}

// A large claim is served although small ones come and go all the time.
func TestPoolStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(16)
		done := make(chan struct{})
		var running sync.WaitGroup
		for i := range 10 {
			running.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 2))
				for {
					select {
					case <-done:
						return
					default:
						fillOne(t, p, 4, random)
					}
				}
			})
		}
		for range 20 {
			large := p.buffer(16 * SlabBytes)
			for range 16 {
				if err := p.grow(t.Context(), large); err != nil {
					t.Errorf("grow: %v", err)
				}
			}
			large.release()
		}
		close(done)
		running.Wait()
		wantIdlePool(t, p)
	})
}

// One slab at a time comes back: it goes to whoever holds something, then to the first to have come.
func TestPoolOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(4)
		var sent []*buffer
		for range 3 {
			b := p.buffer(SlabBytes)
			tryGrow(t, p, b, 1)
			p.seal(b)
			sent = append(sent, b)
		}
		holder, first, second := p.buffer(2*SlabBytes), p.buffer(SlabBytes), p.buffer(SlabBytes)
		if tryGrow(t, p, holder, 1) != 1 {
			t.Fatal("no room for what the test needs")
		}
		for _, b := range []*buffer{first, second, holder} {
			go func() {
				if err := p.grow(t.Context(), b); err != nil {
					t.Errorf("grow: %v", err)
				}
			}()
			synctest.Wait()
		}
		for i, want := range []string{"0 0 1", "0 0 2", "1 0 2", "1 1 2"} {
			if got := fmt.Sprint(len(first.slabs), len(second.slabs), len(holder.slabs)); got != want {
				t.Errorf("after %d came back, first, second and holder have %s; want %s", i, got, want)
			}
			if i < len(sent) {
				sent[i].release()
				synctest.Wait()
			}
		}
		for _, b := range []*buffer{first, second, holder} {
			b.release()
		}
		wantIdlePool(t, p)
	})
}

func TestPoolWaiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(4)
		a := p.buffer(4 * SlabBytes)
		if tryGrow(t, p, a, 4) != 4 {
			t.Fatal("no room")
		}
		gone := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			r := &source{r: readerFunc(func([]byte) (int, error) { t.Error("read although there was no memory"); return 0, io.EOF })}
			if _, err := p.buffer(SlabBytes).fill(ctx, r); !errors.Is(err, gone) {
				t.Errorf("fill: %v; want %v", err, gone)
			}
		})
		synctest.Wait()
		cancel(gone)
		running.Wait()
		a.release()
		wantIdlePool(t, p)
	})
}

// Memory that is held by others for long is waited for with a bound, which costs no time here.
func TestPoolWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(4)
		a := p.buffer(4 * SlabBytes)
		if tryGrow(t, p, a, 4) != 4 {
			t.Fatal("no room")
		}
		begun := time.Now()
		r := &source{r: readerFunc(func([]byte) (int, error) { t.Error("read although there was no memory"); return 0, io.EOF })}
		if _, err := p.buffer(SlabBytes).fill(t.Context(), r); !errors.Is(err, ErrNoMemory) || time.Since(begun) != poolWait {
			t.Errorf("fill: %v after %v; want ErrNoMemory after %v", err, time.Since(begun), poolWait)
		}
		a.release()
		wantIdlePool(t, p)
	})
}

// What makes a waiting request safe also grants it, without a release: the end of a short part,
// and the leaving of the one before it.
func TestPoolGrantsWithoutRelease(t *testing.T) {
	for _, what := range []string{"seal", "leave"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testPool(10)
				a, large, small := p.buffer(10*SlabBytes), p.buffer(10*SlabBytes), p.buffer(4*SlabBytes)
				if tryGrow(t, p, a, 5) != 5 {
					t.Fatal("no room for what the test needs")
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				go func() { _ = p.grow(ctx, large) }() // granted, or given up
				synctest.Wait()
				go func() {
					if err := p.grow(t.Context(), small); err != nil {
						t.Errorf("grow: %v", err)
					}
				}()
				synctest.Wait()
				if got := len(large.slabs) + len(small.slabs); got != 0 {
					t.Fatalf("%d slabs granted; want both to wait", got)
				}
				if what == "seal" {
					p.seal(a)
				} else {
					leave()
				}
				synctest.Wait()
				if len(small.slabs) != 1 {
					t.Errorf("after %s the request behind still waits", what)
				}
				for _, b := range []*buffer{a, large, small} {
					b.release()
				}
				wantIdlePool(t, p)
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestBodySeeksAndDetaches(t *testing.T) {
	p := testPool(4)
	b := p.buffer(4 * SlabBytes)
	defer b.release()
	content := bytes.Repeat([]byte("0123456789"), SlabBytes/4)
	if _, err := b.fill(t.Context(), &source{r: bytes.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
	r := b.body()
	for _, at := range []int64{0, 1, SlabBytes - 1, SlabBytes, SlabBytes + 1, int64(len(content))} {
		if got, err := r.Seek(at, io.SeekStart); got != at || err != nil {
			t.Errorf("Seek(%d) = %d, %v", at, got, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[at:]) {
			t.Errorf("after Seek(%d): %d octets, %v; want %d", at, len(got), err, len(content)-int(at))
		}
	}
	if _, err := r.Seek(1, io.SeekEnd); err == nil {
		t.Error("Seek beyond the end: nil; want an error")
	}
	if got, err := r.Seek(-1, io.SeekEnd); got != int64(len(content))-1 || err != nil {
		t.Errorf("Seek(-1, end) = %d, %v", got, err)
	}
	r.detach()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("Read after detach = %d, %v; want an error", n, err)
	}
}
