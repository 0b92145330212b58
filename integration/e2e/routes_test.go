//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// routesFile writes a configuration file with a route for each recipient, given with its queue in turn.
func routesFile(t *testing.T, path string, broker *testbed.AMQPBroker, recipientsAndQueues ...string) {
	t.Helper()
	text := "routes:\n"
	for i := 0; i < len(recipientsAndQueues); i += 2 {
		text += fmt.Sprintf("  - {match: %s, address: '%s'}\n", recipientsAndQueues[i], broker.Address(recipientsAndQueues[i+1]))
	}
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// at is the site with another queue.
func (s *site) at(queue string) *site { return &site{s.broker, queue, s.objects} }

// wantRecipients wants a message to be for these recipients.
func wantRecipients(t *testing.T, m *schema.Message, want ...string) {
	t.Helper()
	var got []string
	for _, r := range m.Envelope.RcptTo {
		got = append(got, r.Email)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("recipients %q, want %q", got, want)
	}
}

// TestRoutesReloaded sends mail by the routes of a file, and by others after SIGHUP; a file that is wrong changes nothing.
func TestRoutesReloaded(t *testing.T) {
	s := artemisMinIO(t)
	first, second := s.at(s.broker.Queue(t)), s.at(s.broker.Queue(t))
	file := filepath.Join(t.TempDir(), "lsmtpd.yaml")
	routesFile(t, file, s.broker, "a@example.com", first.queue, "b@example.com", second.queue)
	d := serveBy(t, s.settings(), testbed.Build(t), "serve", "--config", file)
	d.waitReady(t)
	mail := func(recipient string) {
		client := dial(t, d.smtp)
		client.begin("<a@example.org>", recipient)
		client.want("250 2.0.0 queued as ", client.data(crlf("From: a@example.org\n\ntext\n")))
	}
	mail("a@example.com")
	wantRecipients(t, drain(t, first, 1)[0], "a@example.com")
	mail("b@example.com")
	wantRecipients(t, drain(t, second, 1)[0], "b@example.com")

	client := dial(t, d.smtp)
	client.begin("<a@example.org>", "a@example.com")
	client.do("452 4.5.3 ", "RCPT TO:<b@example.com>")
	client.do("550 5.1.1 ", "RCPT TO:<c@example.com>")
	routesFile(t, file, s.broker, "a@", first.queue)
	d.hangUp(t, `msg="the configuration is wrong, what is in force stays"`)
	mail("a@example.com")
	routesFile(t, file, s.broker, "a@example.com", second.queue, "c@example.com", first.queue)
	d.hangUp(t, `msg="routes read again"`)
	mail("a@example.com")
	wantRecipients(t, drain(t, second, 1)[0], "a@example.com")
	client.want("250 2.0.0 queued as ", client.data(crlf("From: a@example.org\n\nbegun before\n")))
	for _, m := range drain(t, first, 2) {
		wantRecipients(t, m, "a@example.com")
	}
	mail("c@example.com")
	wantRecipients(t, drain(t, first, 1)[0], "c@example.com")
	dial(t, d.smtp).begin("<a@example.org>", "a@example.com")
	drain(t, s, 0)
	d.stop(t)
}

// hangUp sends SIGHUP and waits for what the log says of it.
func (d *daemon) hangUp(t *testing.T, says string) {
	t.Helper()
	must(t, d.Signal(syscall.SIGHUP))
	d.WaitLog(t, says, patience)
}

// TestDestinationsSpooled sends one mail to three destinations, of which one takes it, one is full and one is missing:
// the two others get it from the spool once they can.
func TestDestinationsSpooled(t *testing.T) {
	s := artemisMinIO(t)
	good, full, missing := s.at(s.broker.Queue(t)), s.at(s.broker.SmallQueue(t)), s.at(s.broker.MissingQueue(t))
	file := filepath.Join(t.TempDir(), "lsmtpd.yaml")
	routesFile(t, file, s.broker, "good@example.com", good.queue, "full@example.com", full.queue, "missing@example.com", missing.queue)
	d := serveBy(t, s.settings().With(spoolAt(t, "fallback")).With(settings{"spool.after": "500ms"}), testbed.Build(t), "serve", "--config", file)
	client := dial(t, d.smtp)
	for n := range testbed.SmallQueueLimit + 1 {
		recipient := "full@example.com"
		if n == testbed.SmallQueueLimit {
			recipient = "good@example.com"
		}
		client.begin("<a@example.org>", recipient)
		client.want("250 2.0.0 ", client.data(crlf("From: a@example.org\n\ntext\n")))
	}
	d.waitSpooled(t, 0) // and so both have a link, and the one queue is full
	drain(t, good, 1)
	message := testMail(300_000)
	client.begin("<a@example.org>", "good@example.com", "full@example.com", "missing@example.com")
	client.want("250 2.0.0 ", client.data(message))
	all := drain(t, good, 1)
	d.waitSpooled(t, 2)
	drain(t, full, testbed.SmallQueueLimit)
	s.broker.CreateQueue(t, missing.queue)
	d.waitSpooled(t, 0)
	all = append(append(all, drain(t, full, 1)...), drain(t, missing, 1)...)
	ids := map[string]bool{}
	for i, recipient := range []string{"good@example.com", "full@example.com", "missing@example.com"} {
		m := all[i]
		ids[m.ID] = true
		wantRecipients(t, m, recipient)
		wantWhole(t, m, message)
		octets(t, s, m, "b2")
		if m.TransactionID != all[0].TransactionID {
			t.Errorf("the transaction of %s is %s, want %s", recipient, m.TransactionID, all[0].TransactionID)
		}
	}
	if len(ids) != len(all) {
		t.Errorf("the deliveries have %d ids, want %d", len(ids), len(all))
	}
	wantStoreHolds(t, s, 1)
	d.stop(t)
}
