//go:build integration

package faults

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

func processRounds() (list []namedRound) {
	parts := 1
	if long {
		parts = 3
	}
	for n := range parts {
		list = append(list, namedRound{fmt.Sprintf("killed at random %d", n+1), func(t *testing.T) { randomKills(t, wanted(killAtRandom)/parts, n%2 == 1) }})
	}
	return append(list,
		namedRound{"two instances", twoInstances}, namedRound{terminated, sigterm},
		namedRound{clockBack, clock}, namedRound{descriptors, noDescriptors})
}

// modes are those of a spool.
var modes = []string{"fallback", "always"}

// randomKills kills lsmtpd under load at random times, and starts it again at once, in either mode of the spool. Raw
// messages are stored, so that every mail has something in the store.
func randomKills(t *testing.T, times int, rabbitMQ bool) {
	broker := testbed.Artemis(t)
	if rabbitMQ {
		broker = testbed.RabbitMQ(t)
	}
	r := newRound(t, broker, newBucket(t))
	r.raw = true
	i := r.instance("fallback", nil)
	i.start(t, nil)
	l := r.startLoad(ordinary(i))
	for range times {
		r.pause(100*time.Millisecond, 1500*time.Millisecond)
		r.kill(i.Kill)
		counts.add(killAtRandom)
		i.start(t, settings{"spool.mode": modes[r.rand.IntN(len(modes))]})
	}
	i.waitReady(t)
	l.waitAcked(20)
	l.finish()
	r.verify()
	i.stop(t)
}

// twoInstances has two lsmtpd on one bucket, of which one is killed while the other sweeps.
func twoInstances(t *testing.T) {
	r := newRound(t, testbed.Artemis(t), newBucket(t))
	pair := []*instance{r.instance("fallback", nil), r.instance("fallback", nil)}
	for _, i := range pair {
		i.start(t, nil)
	}
	tr := ordinary(pair[0])
	tr.addrs = append(tr.addrs, pair[1].smtp)
	l := r.startLoad(tr)
	for n := range wanted(sweepBeside) {
		l.waitAcked(20)
		killed, sweeping := pair[n%2], pair[1-n%2]
		owned := r.rand.IntN(2) == 0
		if !owned {
			r.cut(sweeping.Kill) // the sweep takes the spool over
		}
		var sweeps sync.WaitGroup
		swept := make(chan []swept, 1)
		sweeps.Go(func() { swept <- sweeping.sweep(t, "--delete") })
		r.pause(0, 100*time.Millisecond)
		r.cut(killed.Kill)
		counts.add(sweepBeside)
		sweeps.Wait()
		for _, s := range <-swept {
			if s.Deleted && s.Kind == "in-doubt" {
				t.Errorf("the sweep has deleted what is in doubt: %+v", s)
			}
		}
		for _, i := range pair {
			if !i.Running() {
				i.start(t, nil)
			}
		}
	}
	l.waitAcked(20)
	l.finish()
	r.verify()
	for _, i := range pair {
		i.stop(t)
	}
}

// sigterm ends lsmtpd in the middle of an upload. A client that goes on gets its 250, one that does not is given up.
func sigterm(t *testing.T) {
	r := newRound(t, testbed.Artemis(t), newBucket(t))
	i := r.instance("fallback", settings{"shutdown_timeout": "3s"})
	for n := range wanted(terminated) {
		i.start(t, nil)
		i.waitReady(t)
		m := r.ledger.add(multipart, destinations(r.rand)...)
		r.cut(func() { r.terminate(i, m, n%2 == 0) })
		counts.add(terminated)
		if m.queued == "" {
			i.start(t, nil)
			r.deliver(m)
			i.stop(t)
		}
	}
	i.start(t, nil)
	r.verify()
	i.stop(t)
}

// terminate sends the first part of a mail, and SIGTERM; then, maybe, the rest.
func (r *round) terminate(i *instance, m *mail, goesOn bool) {
	t := r.t
	c, err := dialSMTP(t.Context(), i.smtp)
	must(t, err)
	defer c.close()
	octets := m.message()
	must(t, c.begin(m, len(octets)))
	most := len(octets) - 200_000 // a part is full by then
	must(t, c.write(octets[:most]))
	i.WaitFor(t, "an upload", patience, func() bool {
		list, err := r.store.uploads()
		return err == nil && len(list) > 0
	})
	must(t, i.Signal(syscall.SIGTERM))
	if !goesOn {
		i.ExitCode(t, patience)
		return
	}
	eventually(t, "the listener to be closed", patience, func() bool {
		conn, err := net.DialTimeout("tcp", i.smtp, time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	a := attempt{sent: time.Now()}
	must(t, c.write(append(octets[most:], ".\r\n"...)))
	a.reply, a.replied = c.reply(), time.Now()
	m.note(a)
	if err := c.want(queuedAs, a.reply); err != nil {
		t.Errorf("a mail that came to its end after SIGTERM: %v, want 250", err)
	}
	m.queued = strings.TrimPrefix(a.reply, queuedAs)
	if code := i.ExitCode(t, patience); code != 0 {
		t.Errorf("the exit code after SIGTERM is %d, want 0", code)
	}
}

// clock has the clock step back by an hour between two lives: what is in the spool then has ids from the future.
func clock(t *testing.T) {
	behind, link := testbed.Artemis(t).Proxied(t)
	r := newRound(t, behind, newBucket(t))
	i := r.instance("fallback", nil)
	i.program = testbed.BuildFailpoints(t)
	for n := range wanted(clockBack) {
		link.Refuse(true)
		link.Reset()
		l := r.startLoad(ordinary(i))
		c := i.command(settings{"spool.mode": modes[n%2]}, "serve")
		c.Env = append(c.Env, "LSMTPD_FAILPOINT_CLOCK=1h")
		i.launch(t, c)
		l.waitAcked(50)
		r.kill(i.Kill)
		counts.add(clockBack)
		i.start(t, nil)
		l.waitAcked(50)
		link.Refuse(false)
		l.waitAcked(50)
		l.finish()
		i.waitEmpty(t)
		r.kill(i.Kill)
	}
	i.start(t, nil)
	r.verify()
	i.stop(t)
}

// noDescriptors has lsmtpd come to the end of its file descriptors, by connections that do nothing.
func noDescriptors(t *testing.T) {
	r := newRound(t, testbed.Artemis(t), newBucket(t))
	i := r.instance("fallback", nil)
	c := i.command(nil, "serve")
	c.Path, c.Args = "bash", append([]string{"-c", `ulimit -n 48; exec "$0" "$@"`, c.Path}, c.Args...)
	i.launch(t, c)
	i.waitReady(t)
	l := r.startLoad(ordinary(i))
	for range wanted(descriptors) {
		l.waitAcked(20)
		var idle []net.Conn
		r.cut(func() {
			for range 60 {
				conn, err := net.DialTimeout("tcp", i.smtp, time.Second)
				must(t, err)
				idle = append(idle, conn)
			}
			counts.add(descriptors)
			r.pause(2*time.Second, 4*time.Second)
		})
		for _, conn := range idle {
			conn.Close()
		}
		l.waitAcked(50)
		i.waitReady(t)
	}
	l.finish()
	r.verify()
	i.stop(t)
}
