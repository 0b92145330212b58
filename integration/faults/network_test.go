//go:build integration

package faults

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// networkRounds break the links of lsmtpd to client, broker and store, with two brokers.
func networkRounds() (list []namedRound) {
	parts := 2
	if long {
		parts = 8
	}
	for n := range parts {
		broker, mode := testbed.Artemis, "fallback"
		if n%2 == 1 {
			broker = testbed.RabbitMQ
		}
		if n%8 >= 6 {
			mode = "always"
		}
		list = append(list, namedRound{fmt.Sprintf("network %d", n+1), func(t *testing.T) {
			behind, toBroker := broker(t).Proxied(t)
			network(t, behind, toBroker, mode, parts, n == 0)
		}})
	}
	return list
}

func network(t *testing.T, broker *testbed.AMQPBroker, toBroker *testbed.Proxy, mode string, parts int, raw bool) {
	s := newBucket(t)
	toStore := s.proxied(t)
	r := newRound(t, broker, s)
	r.raw = raw
	i := r.instance(mode, nil)
	proxies := map[string]*testbed.Proxy{"client": testbed.NewProxy(t, i.smtp), "broker": toBroker, "store": toStore}
	i.start(t, nil)
	i.waitReady(t)
	l := r.startLoad(traffic{clients: 8, pause: 60 * time.Millisecond, several: true, impolite: true, addrs: []string{proxies["client"].Addr()}})
	var all sync.WaitGroup
	for n, link := range links {
		all.Go(func() { r.breakLink(link, proxies[link], r.newRand(uint64(1000+n)), parts) })
	}
	all.Wait()
	if !i.Running() {
		t.Fatal("lsmtpd has ended")
	}
	l.waitAcked(20)
	l.finish()
	r.verify()
	i.stop(t)
}

// breakLink does the round's part of what this run wants of every kind to a link, in some order.
func (r *round) breakLink(link string, p *testbed.Proxy, random *rand.Rand, parts int) {
	var kinds []string
	for _, k := range networkKinds {
		for range (wanted(link+": "+k) + parts - 1) / parts {
			kinds = append(kinds, k)
		}
	}
	random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, k := range kinds {
		pause(r.t.Context(), between(random, 50*time.Millisecond, 400*time.Millisecond))
		for !r.breakOnce(link, p, k, random) && r.t.Context().Err() == nil {
			pause(r.t.Context(), 20*time.Millisecond)
		}
		counts.add(link + ": " + k)
	}
}

// breakOnce does one thing to a link, and notes it as a cut of what it can have made twice: latency is none, and records
// of the spool are in flight to the broker alone. False: there was no connection to do it to.
func (r *round) breakOnce(link string, p *testbed.Proxy, kind string, random *rand.Rand) (done bool) {
	do := func() { done = r.breakNow(p, kind, random) }
	if kind == "latency" {
		do()
		return done
	}
	r.note(cut{noReplays: link != "broker"}, do)
	return done
}

func (r *round) breakNow(p *testbed.Proxy, kind string, random *rand.Rand) bool {
	if p.Live() == 0 {
		return false
	}
	ctx := r.t.Context()
	switch kind {
	case "cut":
		if random.IntN(2) == 0 {
			return p.Reset() > 0
		}
		return p.Close() > 0
	case "stall":
		p.Stall()
		pause(ctx, between(random, 20*time.Millisecond, time.Second))
		if random.IntN(2) == 0 {
			p.Reset() // what waited is lost
		}
		p.Resume()
	case "latency":
		p.Latency(between(random, 5*time.Millisecond, 150*time.Millisecond), 5*time.Millisecond)
		pause(ctx, between(random, 100*time.Millisecond, 600*time.Millisecond))
		p.Latency(0, 0)
	case "slow close":
		// What the client sends next ends its connection: late, and until then it goes nowhere.
		p.SlowClose(between(random, 50*time.Millisecond, 400*time.Millisecond))
		p.Limit(1, 0)
		pause(ctx, between(random, 50*time.Millisecond, 300*time.Millisecond))
		p.Limit(0, 0)
		p.SlowClose(0)
	}
	return true
}
