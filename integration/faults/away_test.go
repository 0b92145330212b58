//go:build integration

package faults

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

func awayRounds() []namedRound {
	return []namedRound{{brokerAway, away}, {brokerAwayNoSpool, awayNoSpool}}
}

// rss is the resident set of the newest process, octets.
func (i *instance) rss() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", i.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the process has ended")
}

// flat is how much the resident set may grow while records gather in the spool.
const flat = 24 << 20

// away has the broker away for long, with a spool. Every mail is acknowledged at the first try, memory stays as it is,
// and afterwards everything arrives.
func away(t *testing.T) {
	behind, link := testbed.Artemis(t).Proxied(t)
	r := newRound(t, behind, newBucket(t))
	i := r.instance("fallback", nil)
	i.start(t, nil)
	i.waitReady(t)
	for n := range wanted(brokerAway) {
		length := time.Minute
		if long && n == 0 {
			length = 10 * time.Minute
		}
		r.awayFor(i, link, length)
	}
	r.verify()
	i.stop(t)
}

func (r *round) awayFor(i *instance, link *testbed.Proxy, length time.Duration) {
	t := r.t
	tr := traffic{clients: 8, pause: 120 * time.Millisecond, several: true, addrs: []string{i.smtp}, mails: 60_000}
	tr.seen = func(m *mail, _ time.Time, err error) {
		if err != nil {
			t.Errorf("mail %d was not acknowledged at the first try: %v", m.number, err)
		}
	}
	l := r.startLoad(tr)
	l.waitAcked(200)
	r.cut(func() {
		link.Refuse(true)
		link.Reset()
		counts.add(brokerAway)
		pause(t.Context(), length/4)
		before, err := i.rss()
		must(t, err)
		records := i.waiting()
		pause(t.Context(), length*3/4)
		after, err := i.rss()
		must(t, err)
		t.Logf("resident set of lsmtpd: %.1f MiB with %d records, %.1f MiB with %d", mib(before), records, mib(after), i.waiting())
		if after > before+flat {
			t.Errorf("the resident set grew from %.1f to %.1f MiB", mib(before), mib(after))
		}
		link.Refuse(false)
	})
	l.waitAcked(20)
	l.finish()
	i.waitEmpty(t)
}

func mib(octets int64) float64 { return float64(octets) / (1 << 20) }

// settle is broker.settle_timeout where there is no spool, and slack what a busy machine may add to any time.
const settle, slack = 3 * time.Second, 1500 * time.Millisecond

// awayNoSpool has the broker away without a spool: who waits for a reply gets a 4xx within broker.settle_timeout, and
// who comes then is refused at MAIL, at once.
func awayNoSpool(t *testing.T) {
	behind, link := testbed.Artemis(t).Proxied(t)
	r := newRound(t, behind, newBucket(t))
	i := r.instance("", settings{"broker.settle_timeout": settle.String()})
	i.start(t, nil)
	for range wanted(brokerAwayNoSpool) {
		i.waitReady(t)
		var goneSince atomic.Int64 // nanoseconds since 1970; 0: it is there
		var held, refused atomic.Int64
		tr := traffic{clients: 20, pause: 20 * time.Millisecond, addrs: []string{i.smtp}, weights: [3]int{3, 1, 0}}
		tr.seen = func(m *mail, begun time.Time, err error) {
			since := goneSince.Load()
			if since == 0 || err == nil {
				return
			}
			now, a := time.Now(), last(m.attempts)
			reply, isRefusal := errors.AsType[*refusal](err)
			switch {
			case !isRefusal || !strings.Contains(reply.reply, "451 "):
				t.Errorf("mail %d: %v, want 451", m.number, err)
			case !a.sent.IsZero() && now.Sub(a.sent) > settle+slack:
				t.Errorf("mail %d was answered %v after its end of data: %v", m.number, now.Sub(a.sent), err)
			case !a.sent.IsZero():
				held.Add(1)
			case begun.After(time.Unix(0, since).Add(slack)) && (now.Sub(begun) > slack || !strings.HasPrefix(reply.command, "MAIL") || !strings.HasPrefix(reply.reply, "451 4.3.2")):
				t.Errorf("mail %d: %v after %v, want 451 4.3.2 to MAIL at once", m.number, err, now.Sub(begun))
			default:
				refused.Add(1)
			}
		}
		l := r.startLoad(tr)
		l.waitAcked(100)
		r.cut(func() {
			link.Stall() // there are deliveries in flight
			pause(t.Context(), 300*time.Millisecond)
			link.Refuse(true)
			goneSince.Store(time.Now().UnixNano())
			counts.add(brokerAwayNoSpool)
			link.Reset()
			link.Resume()
			pause(t.Context(), settle+5*time.Second)
			link.Refuse(false)
		})
		goneSince.Store(0)
		l.waitAcked(20)
		l.finish()
		if held.Load() == 0 || refused.Load() == 0 {
			t.Errorf("%d mails were refused after their end of data and %d at MAIL, want some of both", held.Load(), refused.Load())
		}
	}
	r.verify()
	i.stop(t)
}
