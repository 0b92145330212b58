package objectstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two uploads that are fed from one stream, slab by slab and in step, as an S3 store does it: a full part, or
// the last one, is sealed and comes back after a while.
type pair struct {
	p      *Pool
	view   *S3
	sent   sync.WaitGroup
	random *rand.Rand
}

func newPair(p *Pool, claim int, random *rand.Rand) *pair {
	s := &S3{pool: p, partBytes: int64(claim) * SlabBytes}
	return &pair{p: p, view: s.Together().(*S3), random: random}
}

// step lends one more slab to a part of an upload, the next part where b is nil, and sends it when it is full.
func (u *pair) step(ctx context.Context, b *buffer) (*buffer, error) {
	if b == nil {
		b = u.view.buffer(u.view.partBytes)
	}
	if err := u.p.grow(ctx, b); err != nil {
		return b, err
	}
	if int64(len(b.slabs))*SlabBytes < u.view.partBytes {
		return b, nil
	}
	u.send(b)
	return nil, nil
}

// send seals a part, which comes back after a while.
func (u *pair) send(b *buffer) {
	if b == nil {
		return
	}
	u.p.seal(b)
	wait := time.Duration(u.random.IntN(50)) * time.Millisecond
	u.sent.Go(func() {
		time.Sleep(wait)
		b.release()
	})
}

// run feeds so many slabs: all of them to the one upload, and those from first to last of them to the other, in parts
// of a message of which some are not stored.
func (u *pair) run(ctx context.Context, slabs int) (err error) {
	var whole, part *buffer
	defer u.sent.Wait()
	defer func() {
		for _, b := range []*buffer{whole, part} {
			if err == nil {
				u.send(b)
			} else if b != nil {
				b.release()
			}
		}
	}()
	left, stored := 0, false // of a body part
	for range slabs {
		if left == 0 {
			u.send(part)
			part, left, stored = nil, 1+u.random.IntN(3*int(u.view.partBytes/SlabBytes)), u.random.IntN(5) > 0
		}
		if whole, err = u.step(ctx, whole); err != nil {
			return err
		}
		if left--; stored {
			if part, err = u.step(ctx, part); err != nil {
				return err
			}
		}
		time.Sleep(time.Duration(u.random.IntN(5)) * time.Millisecond) // in the bubble: no real time
	}
	return nil
}

// TestPoolTogether: pairs of uploads, each fed in step, come to their end in a pool that has just room for one pair. With
// a claim for each buffer alone, the pool is lent to buffers that wait for each other, and nobody gets any further.
func TestPoolTogether(t *testing.T) {
	for _, claim := range []int{1, 2, 5, 32} {
		for _, pairs := range []int{1, 2, 3, 10} {
			t.Run(fmt.Sprintf("%d pairs with parts of %d", pairs, claim), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := testPool(2 * claim)
					var running sync.WaitGroup
					for i := range pairs {
						running.Go(func() {
							u := newPair(p, claim, rand.New(rand.NewPCG(uint64(i), 3)))
							if err := u.run(t.Context(), 5*claim+3); err != nil {
								t.Errorf("pair %d: %v", i, err)
							}
						})
					}
					running.Wait()
					wantIdlePool(t, p)
				})
			})
		}
	}
}

// TestPoolTogetherRandom: pairs and single uploads of many sizes and speeds, some of which give up, with little memory.
func TestPoolTogetherRandom(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomPairs(t, seed) })
		})
	}
}

func randomPairs(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 4))
	claim := 1 + random.IntN(12)
	p := testPool(2*claim + random.IntN(6*claim))
	var running sync.WaitGroup
	for i := range 1 + random.IntN(12) {
		random := rand.New(rand.NewPCG(random.Uint64(), 5))
		running.Go(func() {
			if i%3 == 2 {
				for range 1 + random.IntN(6) {
					fillOne(t, p, claim, random)
				}
				return
			}
			ctx, leave := t.Context(), context.CancelFunc(func() {})
			if random.IntN(4) == 0 {
				ctx, leave = context.WithTimeout(ctx, time.Duration(random.IntN(300))*time.Millisecond)
			}
			defer leave()
			if err := newPair(p, claim, random).run(ctx, random.IntN(8*claim)); err != nil && ctx.Err() == nil {
				t.Errorf("pair %d: %v", i, err)
			}
			if stats := p.Stats(); stats.Lent > stats.Capacity {
				t.Errorf("lent %d of %d", stats.Lent, stats.Capacity)
			}
		})
	}
	running.Wait()
	wantIdlePool(t, p)
}

// TestPoolPairHolds: a buffer of a pair that holds something is served like one that holds something itself, also where
// it began to wait before. What starts in front of it waits for what the pair holds.
func TestPoolPairHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(4)
		full := p.buffer(4 * SlabBytes)
		if tryGrow(t, p, full, 4) != 4 {
			t.Fatal("no room")
		}
		u := newPair(p, 2, nil)
		whole, large, part := u.view.buffer(2*SlabBytes), p.buffer(4*SlabBytes), u.view.buffer(2*SlabBytes)
		for _, b := range []*buffer{whole, large, part} {
			go func() {
				if err := p.grow(t.Context(), b); err != nil {
					t.Errorf("grow: %v", err)
				}
			}()
			synctest.Wait()
		}
		full.release()
		synctest.Wait()
		if len(whole.slabs) != 1 || len(part.slabs) != 1 || len(large.slabs) != 0 {
			t.Errorf("the pair holds %d and %d, the one between %d; want 1, 1 and 0", len(whole.slabs), len(part.slabs), len(large.slabs))
		}
		whole.release()
		part.release()
		synctest.Wait()
		if len(large.slabs) != 1 {
			t.Error("the one that started still waits")
		}
		large.release()
		wantIdlePool(t, p)
	})
}
