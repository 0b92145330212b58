//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lsmtpd/integration/testbed"
)

// waitBroker waits until /readyz says that no mail can be taken, and why: with this in what it says of the broker.
func (d *daemon) waitBroker(t *testing.T, reason string) {
	t.Helper()
	d.WaitFor(t, "/readyz to say that and why the broker is away", patience, func() bool {
		r := d.readyz(t)
		return r.Status == http.StatusServiceUnavailable && !r.Ready && strings.Contains(r.Broker, reason) && r.Store == ""
	})
}

// waitStore waits until /readyz says why the store is away, with this in the reason; small mail is taken.
func (d *daemon) waitStore(t *testing.T, reason string) {
	t.Helper()
	d.WaitFor(t, "/readyz to say why the store is away", patience, func() bool {
		r := d.readyz(t)
		return r.Status == http.StatusOK && r.Ready && r.Broker == "" && strings.Contains(r.Store, reason)
	})
}

// wantNoMail wants mail to be refused for now, before it is sent.
func wantNoMail(t *testing.T, d *daemon) {
	t.Helper()
	dial(t, d.smtp).do("451 4.3.2 ", "MAIL FROM:<a@example.org>")
}

// wantSmallMailOnly wants mail refused that says it is larger than message.max_inline_bytes, and the rest delivered.
func wantSmallMailOnly(t *testing.T, s *site, d *daemon) {
	t.Helper()
	client := dial(t, d.smtp)
	client.do("451 4.3.1 ", fmt.Sprintf("MAIL FROM:<a@example.org> SIZE=%d", 256<<10+1))
	client.send(crlf("From: a@example.org\n\nsmall\n"))
	drain(t, s, 1)
	// Without SIZE, it shows only when a part needs the store.
	client.begin("<a@example.org>", "in@example.com")
	client.want("451 4.3.1 ", client.data(testMail(300_000)))
	drain(t, s, 0)
}

// wantMail wants mail to be delivered, small and large.
func wantMail(t *testing.T, s *site, d *daemon) {
	t.Helper()
	client := dial(t, d.smtp)
	message := testMail(300_000)
	client.begin(fmt.Sprintf("<a@example.org> SIZE=%d", len(message)), "in@example.com")
	client.want("250 2.0.0 ", client.data(message))
	client.send(crlf("From: a@example.org\n\nsmall\n"))
	m := drain(t, s, 2)[0]
	wantWhole(t, m, message)
	octets(t, s, m, "b2")
}

// wantLog waits for a line of the log with this message that names a setting in its remedy.
func wantLog(t *testing.T, d *daemon, message, setting string) {
	t.Helper()
	d.WaitFor(t, "the log to name "+setting, patience, func() bool {
		for line := range strings.Lines(d.Stderr()) {
			_, remedy, found := strings.Cut(line, " remedy=")
			if found && strings.Contains(line, `msg="`+message+`"`) && strings.Contains(remedy, setting) {
				return true
			}
		}
		return false
	})
}

// TestBrokerAway starts the program while its broker is down, and then the broker.
func TestBrokerAway(t *testing.T) {
	for _, c := range []struct {
		name            string
		shared, private func(testing.TB) *testbed.AMQPBroker
	}{
		{"Artemis", testbed.Artemis, testbed.PrivateArtemis},
		{"Broker-J", testbed.BrokerJ, testbed.PrivateBrokerJ},
	} {
		t.Run(c.name, func(t *testing.T) {
			broker := own(t, c.shared(t), c.private)
			s := &site{broker, broker.Queue(t), newDirectory(t)}
			must(t, broker.Stop())
			d := serve(t, s.settings())
			d.waitBroker(t, "connection refused")
			wantNoMail(t, d)
			wantLog(t, d, "broker unavailable", "broker.url")
			must(t, broker.Start())
			d.waitReady(t)
			wantMail(t, s, d)
			d.stop(t)
		})
	}
}

// own returns the shared server unless it was given by the environment, and then one of the test's own: it has to
// be stopped and started.
func own[S interface{ External() bool }](t *testing.T, shared S, private func(testing.TB) S) S {
	t.Helper()
	if shared.External() {
		return private(t)
	}
	return shared
}

// TestStoreAway starts the program while its store is down, and then the store.
func TestStoreAway(t *testing.T) {
	s := artemisMinIO(t)
	server := own(t, testbed.MinIO(t), testbed.PrivateMinIO)
	s.objects = bucket{server, "away"}
	must(t, server.Stop())
	d := serve(t, s.settings())
	d.waitStore(t, "connection refused")
	wantSmallMailOnly(t, s, d)
	wantLog(t, d, "store unavailable", "store.url")
	must(t, server.Start())
	d.waitReady(t)
	wantMail(t, s, d)
	d.stop(t)
}
