package spool

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// lanePlaces is how many records of one address are being delivered at a time, rawPlaces how many raw ones are read.
	lanePlaces, rawPlaces = 32, 8
	// A lane with modestPlaces or more takes another record only where spareTakers wait for one: so many are kept for
	// the records of other addresses, where one or two hold up whatever is sent to them.
	modestPlaces, spareTakers = 4, 8
	// notReady is how long a lane is left alone for which nobody is ready.
	notReady = 250 * time.Millisecond
	// firstRetry is how soon a record is tried again; it doubles up to lastRetry.
	firstRetry, lastRetry = time.Second, 5 * time.Minute
)

// item is a record that waits.
type item struct {
	id    uuid.UUID
	raw   bool
	tries int32
	size  int64         // of the file, octets
	due   time.Duration // since the queue began; counts among those that failed
}

// lane is the records for one address; raw ones have a lane of their own, "".
type lane struct {
	fresh  byAge // never tried since the start
	later  byDue // failed, until they are due
	busy   int
	paused time.Duration // nothing is taken before
}

// queue is what waits. Its clock is monotonic: a step of the wall clock moves nothing.
type queue struct {
	begun time.Time

	mu     sync.Mutex
	lanes  map[string]*lane
	idle   []chan struct{} // of those who wait in take; receiving one is leave to look again
	closed bool
}

func (q *queue) init() { q.begun, q.lanes = time.Now(), map[string]*lane{} }

func (q *queue) now() time.Duration { return time.Since(q.begun) }

// change changes the queue so that at most one more record can be taken, and wakes one who waits for it: waking all for
// each record would cost more than the record.
func (q *queue) change(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	q.wake()
}

// wake wakes one who waits in take. The lock is held.
func (q *queue) wake() {
	if last := len(q.idle) - 1; last >= 0 {
		close(q.idle[last])
		q.idle = q.idle[:last]
	}
}

func (q *queue) lane(address string) *lane {
	l := q.lanes[address]
	if l == nil {
		l = &lane{}
		q.lanes[address] = l
	}
	return l
}

// push adds a record that is due now.
func (q *queue) push(i item, address string) {
	q.change(func() { heap.Push(&q.lane(address).fresh, i) })
}

// later gives back a record that was taken, to be tried again.
func (q *queue) later(i item, address string, in time.Duration) {
	i.due = q.now() + in
	q.change(func() {
		l := q.lane(address)
		l.busy--
		heap.Push(&l.later, i)
	})
}

// again gives back a record whose turn has not come: it was not tried.
func (q *queue) again(i item, address string) {
	q.change(func() {
		l := q.lane(address)
		l.busy--
		heap.Push(&l.fresh, i)
	})
}

// gone ends a record that was taken.
func (q *queue) gone(address string) {
	q.change(func() {
		l := q.lane(address)
		l.busy--
		q.tidy(address, l)
	})
}

// tidy forgets a lane in which nothing is left. The lock is held.
func (q *queue) tidy(address string, l *lane) {
	if l.busy == 0 && len(l.fresh) == 0 && len(l.later) == 0 {
		delete(q.lanes, address)
	}
}

// pause lets nothing be taken from a lane for a while.
func (q *queue) pause(address string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lane(address).paused = q.now() + d
}

// remove takes a record out that waits, false where it does not: it may be being delivered.
func (q *queue) remove(id uuid.UUID, raw bool) (i item, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	is := func(i item) bool { return i.id == id && i.raw == raw }
	for address, l := range q.lanes {
		if at := slices.IndexFunc(l.fresh, is); at >= 0 {
			i, ok = heap.Remove(&l.fresh, at).(item), true
		} else if at := slices.IndexFunc(l.later, is); at >= 0 {
			i, ok = heap.Remove(&l.later, at).(item), true
		}
		if ok {
			q.tidy(address, l)
			return i, true
		}
	}
	return item{}, false
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for len(q.idle) > 0 {
		q.wake()
	}
}

// take waits for a record that is due, for an address for which somebody is ready. False when the queue is closed or ctx ends.
func (q *queue) take(ctx context.Context, ready func(address string) bool) (i item, address string, ok bool) {
	for {
		q.mu.Lock()
		if q.closed || ctx.Err() != nil {
			q.wake() // what this one may have been woken for is for the next
			q.mu.Unlock()
			return item{}, "", false
		}
		if i, address, ok = q.pick(ready); ok {
			q.wake() // there may be more
			q.mu.Unlock()
			return i, address, true
		}
		woken, wait := make(chan struct{}), q.wait()
		q.idle = append(q.idle, woken)
		q.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-woken:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		q.leave(woken)
	}
}

// leave takes back the wish to be woken.
func (q *queue) leave(woken chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at := slices.Index(q.idle, woken); at >= 0 {
		q.idle = slices.Delete(q.idle, at, at+1)
	}
}

// pick takes the record that is due from the lane with the fewest being delivered, so that no address waits for another.
func (q *queue) pick(ready func(address string) bool) (i item, address string, ok bool) {
	now := q.now()
	for {
		l, address := q.lightest(now)
		if l == nil {
			return item{}, "", false
		}
		if !ready(address) {
			l.paused = now + notReady
			continue
		}
		l.busy++
		if len(l.later) > 0 && l.later[0].due <= now {
			return heap.Pop(&l.later).(item), address, true
		}
		return heap.Pop(&l.fresh).(item), address, true
	}
}

// lightest is the lane with the fewest records being delivered of those that have one to be taken, nil where there is none.
func (q *queue) lightest(now time.Duration) (best *lane, address string) {
	for a, l := range q.lanes {
		places := lanePlaces
		if a == "" {
			places = rawPlaces
		}
		full := l.busy >= places || l.busy >= modestPlaces && len(q.idle) < spareTakers
		if full || l.paused > now || len(l.fresh) == 0 && (len(l.later) == 0 || l.later[0].due > now) {
			continue
		}
		if best == nil || l.busy < best.busy {
			best, address = l, a
		}
	}
	return best, address
}

// wait is how long nothing can become due by itself.
func (q *queue) wait() time.Duration {
	now, wait := q.now(), time.Minute
	for _, l := range q.lanes {
		due := l.paused
		if len(l.fresh) == 0 && len(l.later) > 0 {
			due = max(due, l.later[0].due)
		}
		if due > now && (len(l.fresh) > 0 || len(l.later) > 0) {
			wait = min(wait, due-now)
		}
	}
	return wait
}

// oldest is the age of the first record that waits untried, zero where there is none.
func (q *queue) oldest() (t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lanes {
		for _, waiting := range [][]item{l.fresh, l.later} {
			if len(waiting) == 0 {
				continue
			}
			if at := time.Unix(waiting[0].id.Time().UnixTime()); t.IsZero() || at.Before(t) {
				t = at
			}
		}
	}
	return t
}

// byAge is a heap with the oldest id first.
type byAge []item

func (h byAge) Len() int           { return len(h) }
func (h byAge) Less(a, b int) bool { return string(h[a].id[:]) < string(h[b].id[:]) }
func (h byAge) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }

// Push and Pop are for container/heap.
func (h *byAge) Push(x any) { *h = append(*h, x.(item)) }

// Pop removes the last one.
func (h *byAge) Pop() any { return pop((*[]item)(h)) }

// byDue is a heap with the one that is due first at its top.
type byDue []item

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(a, b int) bool { return h[a].due < h[b].due }
func (h byDue) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }

// Push and Pop are for container/heap.
func (h *byDue) Push(x any) { *h = append(*h, x.(item)) }

// Pop removes the last one.
func (h *byDue) Pop() any { return pop((*[]item)(h)) }

func pop(h *[]item) item {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
