package bridge

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"
)

// The budget message.memory bounds the envelopes that are being built or sent.
//
// Every transaction takes an ordinary share before it reads the body: enough
// for the window on the message and the envelope of mail as most people send it.
// A transaction whose envelope outgrows that takes a large share on top, which
// has room for all the texts and inline parts that an envelope may hold, and
// waits for it unread. What outgrows that, too (a huge header, hundreds of
// parts), takes the whole share, which covers the worst that the message.max_*
// limits allow. Each kind of share comes from a part of the budget of its own, so
// whoever holds one of the last kind can always finish, and ordinary mail flows
// beside any number of hostile ones; large mail waits where many wait for more.
const (
	ordinaryShare = 192 << 10
	// ordinaryHeader is how much may be read of a header block under the ordinary share.
	ordinaryHeader = 48 << 10
	// partCost is what a body part costs in memory beside its octets: its node, its blob, and both encoded, twice.
	partCost = 3 << 10
	// memoryWait bounds the wait for a share. RFC 5321 §4.5.3.2.5 has clients wait 3 minutes for the server to take a chunk.
	memoryWait = 2 * time.Minute
)

// octetCost is what an octet kept in the envelope costs: as read, as text, and encoded, which the broker client copies twice.
const octetCost = 5

// contentCost is what octets cost that are kept in the envelope. JSON needs up to six octets for one that it escapes,
// and UTF-8 three for one of another charset.
func contentCost(p []byte) int64 {
	cost, isUTF8 := octetCost*int64(len(p)), utf8.Valid(p)
	for _, c := range p {
		switch {
		case c == '\n' || c == '\r' || c == '\t' || c == '"' || c == '\\':
			cost += 3 * (2 - 1)
		case c < ' ' || c == 0x7f:
			cost += 3 * (6 - 1)
		case c >= 0x80 && !isUTF8:
			cost += 4 * (3 - 1)
		}
	}
	return cost
}

// largeShare is what an envelope under cfg can take that has an ordinary header and an ordinary number of parts.
func largeShare(cfg Config) int64 { return octetCost*cfg.MaxInlineBytes + ordinaryShare }

// wholeShare is the most that one envelope can take under cfg: its header
// fields, which cost several times their octets when they are tiny, its inline
// octets as read and as text, its parts, and its encoding, which the broker
// client copies twice.
func wholeShare(cfg Config) int64 {
	return 8*cfg.Limits.MaxHeaderBytes + 3*cfg.MaxInlineBytes + int64(cfg.Limits.MaxParts)*partCost + 3*cfg.MaxPublishBytes
}

// MinMemory is the least Config.Memory with which every message can be taken.
func MinMemory(cfg Config) int64 { return 2 * max(wholeShare(cfg)+largeShare(cfg), ordinaryShare) }

// memory is the budget of a Bridge.
type memory struct {
	ordinary, large, whole *semaphore.Weighted
	largeShare, wholeShare int64
}

// newMemory divides the budget: half of it for ordinary shares, a quarter for large ones, and the rest, which is
// one whole share at least, for whole ones.
func newMemory(cfg Config) *memory {
	m := &memory{largeShare: largeShare(cfg), wholeShare: wholeShare(cfg)}
	half := cfg.Memory / 2
	large := max(m.largeShare, min(half/2, half-m.wholeShare))
	m.ordinary, m.large, m.whole = semaphore.NewWeighted(half), semaphore.NewWeighted(large), semaphore.NewWeighted(half-large)
	return m
}

// share is what one transaction holds of the budget.
type share struct {
	memory       *memory
	used         int64 // estimate of the envelope so far, octets
	large, whole bool
}

// take waits for an ordinary share.
func (m *memory) take(ctx context.Context) (*share, error) {
	if err := acquire(ctx, m.ordinary, ordinaryShare); err != nil {
		return nil, err
	}
	return &share{memory: m}, nil
}

// use adds n octets to the envelope's estimate and waits for the share that it needs then.
func (s *share) use(ctx context.Context, n int64) error {
	s.used += n
	switch {
	case s.used <= ordinaryShare || s.whole:
		return nil
	case s.used > ordinaryShare+s.memory.largeShare:
		return s.grow(ctx)
	case s.large:
		return nil
	}
	if err := acquire(ctx, s.memory.large, s.memory.largeShare); err != nil {
		return err
	}
	s.large = true
	return nil
}

// grow waits for the whole share, once.
func (s *share) grow(ctx context.Context) error {
	if s.whole {
		return nil
	}
	if err := acquire(ctx, s.memory.whole, s.memory.wholeShare); err != nil {
		return err
	}
	s.whole = true
	return nil
}

// release gives everything back.
func (s *share) release() {
	if s.whole {
		s.memory.whole.Release(s.memory.wholeShare)
	}
	if s.large {
		s.memory.large.Release(s.memory.largeShare)
	}
	s.memory.ordinary.Release(ordinaryShare)
}

func acquire(ctx context.Context, sem *semaphore.Weighted, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, memoryWait)
	defer cancel()
	if err := sem.Acquire(ctx, n); err != nil {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	return nil
}
