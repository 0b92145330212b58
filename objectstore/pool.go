package objectstore

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// SlabBytes is the unit in which a Pool lends memory, in octets.
const SlabBytes = 256 << 10

// poolWait bounds the wait for a slab. RFC 5321 §4.5.3.2.5 has clients wait 3 minutes for the server to take a chunk.
const poolWait = 2 * time.Minute

// idleSlabs is how many unused slabs a pool keeps at least before it gives memory back.
const idleSlabs = 32

// Pool lends the memory in which the parts of all uploads are collected. It never lends more than
// its capacity, and it takes memory from the system only as it is needed.
//
// Uploads cannot block each other for good. Each buffer that is being filled has a claim, the size
// of a part, and gets it slab by slab as octets arrive. A slab is granted only while the buffers can
// still be completed in some order (the banker's algorithm): the free slabs and those of parts on
// their way to the store, which come back by themselves, suffice for the buffer that needs least; with
// what that one then gives back, for the next; and so on. Those that hold something are served
// before those that hold nothing, each in the order in which they came.
//
// So a buffer whose client stalls keeps what it holds, and no more, and who waits in vain gives up after a while.
type Pool struct {
	take func() ([]byte, error)
	give func([]byte)

	mu       sync.Mutex
	capacity int // all counts are of slabs
	lent     int
	sealed   int       // of the lent ones, those whose buffer needs no more
	idle     [][]byte  // kept for the next
	filling  []*buffer // those that hold slabs and may need more, by need, the smallest first
	holders  list.List // of *waiter: those whose buffer holds something
	starters list.List // of *waiter: those whose buffer holds nothing
}

// NewPool returns a pool of the given capacity (store.memory) in octets, rounded down to whole
// slabs. It has to hold at least one part: Open compares it with Config.PartBytes.
func NewPool(capacity int64) (*Pool, error) {
	if capacity < MinPartBytes {
		return nil, fmt.Errorf("store.memory: %d octets are less than the smallest part of an upload; want at least %d, and at least store.part_bytes", capacity, MinPartBytes)
	}
	return newPool(capacity, newSlab, freeSlab), nil
}

func newPool(capacity int64, take func() ([]byte, error), give func([]byte)) *Pool {
	return &Pool{take: take, give: give, capacity: int(capacity / SlabBytes)}
}

// PoolStats is the state of a Pool at one moment.
type PoolStats struct {
	// Capacity, Lent and Idle are octets. Idle memory is taken from the system and not lent.
	Capacity, Lent, Idle int64
	// Waiting is the number of uploads that do not read on for want of memory.
	Waiting int
}

// Stats returns the present state, for metrics.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{
		Capacity: int64(p.capacity) * SlabBytes,
		Lent:     int64(p.lent) * SlabBytes,
		Idle:     int64(len(p.idle)) * SlabBytes,
		Waiting:  p.holders.Len() + p.starters.Len(),
	}
}

// slabsFor is the number of slabs that hold n octets.
func slabsFor(n int64) int { return int((n + SlabBytes - 1) / SlabBytes) }

// waiter is a request for one slab.
type waiter struct {
	b       *buffer
	granted chan struct{} // closed when the slab is b's
	err     error         // set before granted is closed
}

// grow lends b one more slab, within its claim, and waits until that is safe.
func (p *Pool) grow(ctx context.Context, b *buffer) error {
	w := &waiter{b: b, granted: make(chan struct{})}
	p.mu.Lock()
	queue := &p.starters
	if len(b.slabs) > 0 {
		queue = &p.holders
	}
	place := queue.PushBack(w)
	p.dispatch()
	p.mu.Unlock()

	patience := time.NewTimer(poolWait)
	defer patience.Stop()
	var err error
	select {
	case <-w.granted:
		return w.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-patience.C:
		err = ErrNoMemory
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.granted: // b has it, and gives it back with the others
	default:
		queue.Remove(place)
		p.dispatch() // the next starter may have waited behind this one
	}
	return err
}

// dispatch serves those waiting. The caller holds mu.
func (p *Pool) dispatch() {
	for place := p.holders.Front(); place != nil; {
		next := place.Next()
		// A holder that must wait never stops another: the one behind may be the one that can finish.
		if p.grant(place.Value.(*waiter)) {
			p.holders.Remove(place)
		}
		place = next
	}
	// Starters pass nobody, or a large claim would wait for ever.
	for place := p.starters.Front(); place != nil && p.grant(place.Value.(*waiter)); place = p.starters.Front() {
		p.starters.Remove(place)
	}
}

// grant lends a slab if one is free and the state afterwards is safe. The caller holds mu.
func (p *Pool) grant(w *waiter) bool {
	if p.lent == p.capacity {
		return false
	}
	p.lent++
	w.b.held++
	p.reorder(w.b)
	if !p.safe() {
		p.lent--
		w.b.held--
		p.reorder(w.b)
		return false
	}
	slab, err := p.slab()
	if err == nil {
		w.b.slabs = append(w.b.slabs, slab)
	} else {
		p.lent--
		w.b.held--
		p.reorder(w.b)
		w.err = fmt.Errorf("%w: no memory for an upload: %w", ErrUnavailable, err)
	}
	close(w.granted)
	return true
}

// safe tells whether all buffers can be completed, one after the other. The caller holds mu.
func (p *Pool) safe() bool {
	available := p.capacity - p.lent + p.sealed
	for _, b := range p.filling {
		if b.need() > available {
			return false
		}
		available += b.held
		if available >= p.filling[len(p.filling)-1].need() {
			return true
		}
	}
	return true
}

// reorder puts b where it belongs among those being filled, after a change of what it holds or
// needs. The caller holds mu.
func (p *Pool) reorder(b *buffer) {
	at := slices.Index(p.filling, b)
	if b.held == 0 || b.sealed {
		if at >= 0 {
			p.filling = slices.Delete(p.filling, at, at+1)
		}
		return
	}
	if at < 0 {
		at = len(p.filling)
		p.filling = append(p.filling, b)
	}
	for ; at > 0 && p.filling[at-1].need() > b.need(); at-- {
		p.filling[at-1], p.filling[at] = p.filling[at], p.filling[at-1]
	}
	for ; at+1 < len(p.filling) && p.filling[at+1].need() < b.need(); at++ {
		p.filling[at], p.filling[at+1] = p.filling[at+1], p.filling[at]
	}
}

// slab takes an idle slab, or a new one from the system. The caller holds mu.
func (p *Pool) slab() ([]byte, error) {
	if last := len(p.idle) - 1; last >= 0 {
		slab := p.idle[last]
		p.idle = slices.Delete(p.idle, last, last+1)
		return slab, nil
	}
	return p.take()
}

// seal says that b needs no more: it is on its way to the store, and comes back by itself.
func (p *Pool) seal(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.sealed {
		return
	}
	b.sealed = true
	p.sealed += b.held
	p.reorder(b)
	p.dispatch()
}

// release takes all slabs of b back. The caller holds no reference into them.
func (p *Pool) release(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lent -= b.held
	if b.sealed {
		p.sealed -= b.held
	}
	b.held = 0
	p.reorder(b)
	for _, slab := range b.slabs {
		// As much as is lent may be wanted again soon; the rest is the system's.
		if len(p.idle) < max(idleSlabs, p.lent) {
			p.idle = append(p.idle, slab)
		} else {
			p.give(slab)
		}
	}
	b.slabs = nil
	p.dispatch()
}

// TogetherBytes is the least capacity of a pool, in octets, in which two uploads with parts of that size can be fed
// together, see Store.Together.
func TogetherBytes(partBytes int64) int64 { return 2 * int64(slabsFor(partBytes)) * SlabBytes }

// checkPart reports a pool that cannot hold one part.
func (p *Pool) checkPart(partBytes int64) error {
	if p == nil {
		return errors.New("store.memory: no pool; an S3 store needs one")
	}
	if need := int64(slabsFor(partBytes)) * SlabBytes; need > int64(p.capacity)*SlabBytes {
		return fmt.Errorf("store.memory: %d octets cannot hold one part of store.part_bytes (%d); want at least %d", int64(p.capacity)*SlabBytes, partBytes, need)
	}
	return nil
}
