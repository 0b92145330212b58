//go:build integration

package faults

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// round is a broker, a store, one lsmtpd or more between them, and the mails that are sent while something breaks.
type round struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand // of the goroutine of the test alone
	ledger  *ledger
	broker  *testbed.AMQPBroker
	queues  []string // by destination
	store   store
	raw     bool // message.raw is store
	all     []*instance
	drained [][]testbed.Received // by destination
	wrong   func(format string, args ...any)
	settles time.Duration // after the last fault, until nothing may be there that is to be deleted

	mu   sync.Mutex
	cuts []cut
}

// cut is a time in which something was cut, killed or held up, so that deliveries in flight may be made twice.
type cut struct {
	from, to  time.Time
	replays   int  // from the spool, that may have been under way
	noReplays bool // none of them can be made twice by it
	kill      bool // of the only lsmtpd: nothing is in flight any more afterwards
}

// replayWorkers is how many records an lsmtpd replays at a time.
const replayWorkers = 48

// newRound prepares a round with two queues of its own. The subtest's name and the seed of the run make its own seed.
func newRound(t *testing.T, broker *testbed.AMQPBroker, s store) *round {
	t.Helper()
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", seed, t.Name())
	r := &round{t: t, seed: h.Sum64(), broker: broker, store: s, drained: make([][]testbed.Received, len(domains)), wrong: t.Errorf, settles: time.Minute}
	r.rand = r.newRand(0)
	r.ledger = &ledger{seed: r.seed}
	if broker != nil {
		for range domains {
			r.queues = append(r.queues, broker.Queue(t))
		}
	}
	return r
}

// newRand is the nth source of randomness of the round.
func (r *round) newRand(n uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, n)) }

// addresses are those of the queues.
func (r *round) addresses() (list []string) {
	for _, q := range r.queues {
		list = append(list, r.broker.Address(q))
	}
	return list
}

// instance prepares an lsmtpd of the round with a spool in mode, "" for none.
func (r *round) instance(mode string, s settings) *instance {
	r.t.Helper()
	all := settings{"broker.url": r.broker.URL}.With(r.store.settings())
	if mode != "" {
		all = all.With(settings{
			"spool.dir": filepath.Join(r.t.TempDir(), "spool"), "spool.mode": mode, "spool.after": "2s", "spool.min_free_bytes": "0",
		})
	}
	if r.raw {
		all["message.raw"] = "store"
	}
	i := newInstance(r.t, r.addresses(), all.With(s))
	r.all = append(r.all, i)
	return i
}

// cut notes that what is done is a cut.
func (r *round) cut(do func()) { r.note(cut{}, do) }

// kill notes that what is done ends the only lsmtpd.
func (r *round) kill(do func()) { r.note(cut{kill: true}, do) }

func (r *round) note(c cut, do func()) {
	c.from, c.replays = time.Now(), r.replays()
	do()
	c.to, c.replays = time.Now(), max(c.replays, r.replays())
	if c.noReplays {
		c.replays = 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cuts = append(r.cuts, c)
}

// replays is how many records may be on their way to the broker now.
func (r *round) replays() (n int) {
	for _, i := range r.all {
		n += min(i.waiting(), replayWorkers)
	}
	return n
}

// between is a duration of the round's choice.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// pause lets time pass: it sets the pace of faults, and waits for nothing.
func (r *round) pause(least, most time.Duration) {
	pause(r.t.Context(), between(r.rand, least, most))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// destinations chooses one or all.
func destinations(r *rand.Rand) []int {
	switch r.IntN(3) {
	case 0:
		return []int{0}
	case 1:
		return []int{1}
	}
	return []int{0, 1}
}
