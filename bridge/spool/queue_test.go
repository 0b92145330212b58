package spool

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

// takers is so many goroutines that take what there is and hold what is for a stuck address, until the test ends.
func takers(t *testing.T, q *queue, n int, stuck map[string]bool, ready func(string) bool) (taken *sync.Map) {
	taken = &sync.Map{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for {
				_, address, ok := q.take(ctx, ready)
				if !ok {
					return
				}
				count, _ := taken.LoadOrStore(address, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
				if stuck[address] {
					<-ctx.Done()
				}
				q.gone(address)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return taken
}

func count(taken *sync.Map, address string) int64 {
	if n, ok := taken.Load(address); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

func fill(q *queue, address string, n int) {
	for range n {
		q.push(item{id: uuid.Must(uuid.NewV7())}, address)
	}
}

// TestStuckAddresses: addresses that hold up what is sent to them do not hold up the others.
func TestStuckAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		q.init()
		taken := takers(t, &q, 48, map[string]bool{"a": true, "b": true}, func(string) bool { return true })
		fill(&q, "a", 100)
		fill(&q, "b", 100)
		synctest.Wait()
		fill(&q, "c", 1000)
		synctest.Wait()
		if a, b, c := count(taken, "a"), count(taken, "b"), count(taken, "c"); c != 1000 || a < 16 || b < 4 || a+b > 40 {
			t.Errorf("taken: %d and %d for stuck addresses, %d of 1000 for another", a, b, c)
		}
	})
}

// TestOneAddress: one address alone has as many places as it may have.
func TestOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		q.init()
		taken := takers(t, &q, 48, map[string]bool{"a": true}, func(string) bool { return true })
		fill(&q, "a", 100)
		synctest.Wait()
		if got := count(taken, "a"); got != lanePlaces {
			t.Errorf("%d taken at a time, want %d", got, lanePlaces)
		}
	})
}

// TestNotReady: what nobody is ready for waits, and is taken soon after somebody is.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		q.init()
		var ready atomic.Bool
		taken := takers(t, &q, 48, nil, func(address string) bool { return address != "a" || ready.Load() })
		fill(&q, "a", 100)
		fill(&q, "b", 100)
		synctest.Wait()
		if a, b := count(taken, "a"), count(taken, "b"); a != 0 || b != 100 {
			t.Errorf("taken: %d for whom nobody is ready, %d of 100 for the other", a, b)
		}
		ready.Store(true)
		<-time.After(2 * notReady)
		synctest.Wait()
		if a := count(taken, "a"); a != 100 {
			t.Errorf("%d of 100 taken after somebody is ready", a)
		}
	})
}
