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
// Two uploads that are fed from one stream, see Store.Together, can wait for each other: the one gets no more octets
// before the other has taken its own. So neither buffer can be completed alone, and their claim is one, of two parts.
//
// So a buffer whose client stalls keeps what it holds, and no more, and who waits in vain gives up after a while.
type Pool struct {
	take func() ([]byte, error)
	give func([]byte)

	mu       sync.Mutex
	capacity int // all counts are of slabs
	lent     int
	sealed   int         // of the lent ones, those whose buffer needs no more
	idle     [][]byte    // kept for the next
	filling  []*claimant // those that hold slabs and may need more, by need, the smallest first
	holders  list.List   // of *waiter: those whose claimant holds something
	starters list.List   // of *waiter: those whose claimant holds nothing
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

// claimant is who is lent slabs: a buffer, or the buffers of uploads that are fed together. Guarded by Pool.mu.
type claimant struct {
	claim int // slabs it may come to hold before any of them is on its way to the store
	held  int // slabs of its buffers that are not sealed
}

// need is how many more slabs it may come to ask for.
func (c *claimant) need() int { return c.claim - c.held }

// waiter is a request for one slab.
type waiter struct {
	b       *buffer
	granted chan struct{} // closed when the slab is b's
	err     error         // set before granted is closed

	queue *list.List // where it waits; guarded by Pool.mu, as is place
	place *list.Element
}

// join puts w at the end of a queue.
func (w *waiter) join(queue *list.List) { w.queue, w.place = queue, queue.PushBack(w) }

// leave takes w out of its queue.
func (w *waiter) leave() { w.queue.Remove(w.place) }

// grow lends b one more slab, within its claim, and waits until that is safe.
func (p *Pool) grow(ctx context.Context, b *buffer) error {
	w := &waiter{b: b, granted: make(chan struct{})}
	p.mu.Lock()
	if b.claimant.held > 0 {
		w.join(&p.holders)
	} else {
		w.join(&p.starters)
	}
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
		w.leave()
		p.dispatch() // the next starter may have waited behind this one
	}
	return err
}

// dispatch serves those waiting. The caller holds mu.
func (p *Pool) dispatch() {
	p.serveHolders()
	// Starters pass nobody, or a large claim would wait for ever.
	for place := p.starters.Front(); place != nil; place = p.starters.Front() {
		w := place.Value.(*waiter)
		if !p.grant(w) {
			return
		}
		w.leave()
		if w.b.claimant != &w.b.alone && p.promote(w.b.claimant) {
			p.serveHolders()
		}
	}
}

// serveHolders is dispatch for those whose claimant holds something. The caller holds mu.
func (p *Pool) serveHolders() {
	for place := p.holders.Front(); place != nil; {
		w := place.Value.(*waiter)
		place = place.Next()
		// A holder that must wait never stops another: the one behind may be the one that can finish.
		if p.grant(w) {
			w.leave()
		}
	}
}

// promote moves the starters of a claimant that has come to hold something to the holders: what it holds comes back
// only when they, too, have what they need, and those before them may be waiting for that. The caller holds mu.
func (p *Pool) promote(c *claimant) (moved bool) {
	for place := p.starters.Front(); place != nil; {
		w := place.Value.(*waiter)
		place = place.Next()
		if w.b.claimant == c {
			w.leave()
			w.join(&p.holders)
			moved = true
		}
	}
	return moved
}

// grant lends a slab if one is free and the state afterwards is safe. The caller holds mu.
func (p *Pool) grant(w *waiter) bool {
	if p.lent == p.capacity {
		return false
	}
	p.lend(w.b, 1)
	if !p.safe() {
		p.lend(w.b, -1)
		return false
	}
	slab, err := p.slab()
	if err == nil {
		w.b.slabs = append(w.b.slabs, slab)
	} else {
		p.lend(w.b, -1)
		w.err = fmt.Errorf("%w: no memory for an upload: %w", ErrUnavailable, err)
	}
	close(w.granted)
	return true
}

// lend counts n more slabs of a buffer that is not sealed. The caller holds mu.
func (p *Pool) lend(b *buffer, n int) {
	p.lent += n
	b.held += n
	b.claimant.held += n
	p.reorder(b.claimant)
}

// safe tells whether all claimants can be completed, one after the other. The caller holds mu.
func (p *Pool) safe() bool {
	available := p.capacity - p.lent + p.sealed
	for _, c := range p.filling {
		if c.need() > available {
			return false
		}
		available += c.held
		if available >= p.filling[len(p.filling)-1].need() {
			return true
		}
	}
	return true
}

// reorder puts c where it belongs among those being filled, after a change of what it holds. The caller holds mu.
func (p *Pool) reorder(c *claimant) {
	at := slices.Index(p.filling, c)
	if c.held == 0 {
		if at >= 0 {
			p.filling = slices.Delete(p.filling, at, at+1)
		}
		return
	}
	if at < 0 {
		at = len(p.filling)
		p.filling = append(p.filling, c)
	}
	for ; at > 0 && p.filling[at-1].need() > c.need(); at-- {
		p.filling[at-1], p.filling[at] = p.filling[at], p.filling[at-1]
	}
	for ; at+1 < len(p.filling) && p.filling[at+1].need() < c.need(); at++ {
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
	b.claimant.held -= b.held
	p.reorder(b.claimant)
	p.dispatch()
}

// release takes all slabs of b back. The caller holds no reference into them.
func (p *Pool) release(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.sealed {
		p.lent -= b.held
		p.sealed -= b.held
		b.held = 0
	} else {
		p.lend(b, -b.held)
	}
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

// TogetherBytes is the least capacity of a pool, in octets, in which uploads with parts of that size can be fed together,
// see Store.Together.
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
