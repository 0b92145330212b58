//go:build integration

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is what clients send.
type traffic struct {
	clients  int
	pause    time.Duration // of each client between two mails, on average
	mails    int           // after which no more are begun; 0: ordinaryMails
	several  bool          // some mails have two destinations
	impolite bool          // some clients break off in the middle of a mail, and then send it again
	weights  [3]int        // of the contents; zero: ordinaryWeights
	addrs    []string      // HOST:PORT, one of which is taken for each connection
	// seen is called with what came of each try. Nil: nobody asks.
	seen func(m *mail, begun time.Time, err error)
}

// ordinaryWeights are those of no attachment, one PUT and multipart.
var ordinaryWeights = [3]int{75, 21, 4}

// ordinaryMails bounds the mails of a round.
const ordinaryMails = 20_000

// load is clients that send.
type load struct {
	r       *round
	traffic traffic
	ctx     context.Context // ends the sending
	cancel  context.CancelFunc
	ending  chan struct{} // closed: no new mails
	clients sync.WaitGroup
	begun   atomic.Int64
	acked   atomic.Int64
}

// startLoad has clients send until finish.
func (r *round) startLoad(tr traffic) *load {
	if tr.weights == [3]int{} {
		tr.weights = ordinaryWeights
	}
	if tr.mails == 0 {
		tr.mails = ordinaryMails
	}
	l := &load{r: r, traffic: tr, ending: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(r.t.Context())
	for n := range tr.clients {
		l.clients.Go(func() { l.client(r.newRand(uint64(n) + 1)) })
	}
	r.t.Cleanup(func() { l.cancel(); l.clients.Wait() })
	return l
}

// finish lets the clients send what they have begun, until each mail is acknowledged.
func (l *load) finish() {
	l.r.t.Helper()
	close(l.ending)
	stop := time.AfterFunc(patience, l.cancel)
	l.clients.Wait()
	stop.Stop()
	l.cancel()
	for _, m := range l.r.ledger.all() {
		if m.queued == "" {
			l.r.t.Errorf("mail %d was not acknowledged within %v of the last fault: %+v", m.number, patience, last(m.attempts))
		}
	}
	if l.acked.Load() == 0 {
		l.r.t.Error("no mail was acknowledged")
	}
}

func last(list []attempt) attempt {
	if len(list) == 0 {
		return attempt{}
	}
	return list[len(list)-1]
}

// waitAcked waits until n more mails are acknowledged.
func (l *load) waitAcked(n int64) {
	l.r.t.Helper()
	want := l.acked.Load() + n
	eventually(l.r.t, fmt.Sprintf("%d more mails to be acknowledged", n), patience, func() bool { return l.acked.Load() >= want })
}

func (l *load) isEnding() bool {
	select {
	case <-l.ending:
		return true
	case <-l.ctx.Done():
		return true
	default:
		return false
	}
}

// client sends one mail after the other.
func (l *load) client(r *rand.Rand) {
	s := sender{load: l, rand: r}
	defer s.hangUp()
	for !l.isEnding() {
		if l.begun.Add(1) > int64(l.traffic.mails) {
			return
		}
		c, to := choose(r, l.traffic.weights), []int{r.IntN(len(domains))}
		if l.traffic.several {
			to = destinations(r)
		}
		s.send(l.r.ledger.add(c, to...))
		pause(l.ctx, between(r, l.traffic.pause/2, l.traffic.pause*3/2))
	}
}

func choose(r *rand.Rand, weights [3]int) content {
	n := r.IntN(weights[0] + weights[1] + weights[2])
	for i, w := range weights {
		if n -= w; n < 0 {
			return contents[i]
		}
	}
	return noAttachment
}

// sender sends mails over a connection that it keeps while it can.
type sender struct {
	load *load
	rand *rand.Rand
	conn *client
}

func (s *sender) hangUp() {
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
}

// send tries until the mail is acknowledged, or the load ends.
func (s *sender) send(m *mail) {
	for s.load.ctx.Err() == nil {
		begun := time.Now()
		err := s.try(m)
		if s.load.traffic.seen != nil {
			s.load.traffic.seen(m, begun, err)
		}
		if err == nil {
			s.load.acked.Add(1)
			if s.rand.IntN(4) == 0 {
				s.hangUp()
			}
			return
		}
		s.hangUp()
		if isPermanent(err) {
			s.load.r.t.Errorf("mail %d is refused for good: %v", m.number, err)
			return
		}
		pause(s.load.ctx, between(s.rand, 50*time.Millisecond, 400*time.Millisecond))
	}
}

func (s *sender) try(m *mail) error {
	if s.conn == nil {
		var err error
		if s.conn, err = dialSMTP(s.load.ctx, s.load.traffic.addrs[s.rand.IntN(len(s.load.traffic.addrs))]); err != nil {
			if _, refused := errors.AsType[*refusal](err); refused {
				return err
			}
			return errLost
		}
	}
	if s.load.traffic.impolite && s.rand.IntN(50) == 0 {
		return s.conn.breakOff(m, s.rand)
	}
	return s.conn.deliver(m)
}

// breakOff sends a part of a mail and is gone.
func (c *client) breakOff(m *mail, r *rand.Rand) error {
	octets := m.message()
	if err := c.begin(m, len(octets)); err != nil {
		return err
	}
	if err := c.write(octets[:r.IntN(len(octets))]); err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		_ = c.conn.SetLinger(0) // a reset
	}
	return errLost
}
