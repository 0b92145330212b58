//go:build integration

package e2e

import (
	"io"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"lsmtpd/integration/testbed"
)

// TestReplayedTwice kills the program after the broker has accepted a message from the spool and before the record is
// removed, so that the next start sends it again: with the id that it had, by which Artemis drops it and consumers of
// other brokers can.
func TestReplayedTwice(t *testing.T) {
	for _, c := range []struct {
		name   string
		broker func(testing.TB) *testbed.AMQPBroker
		copies int
	}{
		{"Artemis", testbed.Artemis, 1},
		{"Broker-J", testbed.BrokerJ, 2},
		{"RabbitMQ", testbed.RabbitMQ, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			broker := c.broker(t)
			s := &site{broker, broker.Queue(t), newDirectory(t)}
			drain(t, s, 0) // makes the queue
			spooling := s.settings().With(spoolAt(t, "always"))
			d := serveBy(t, spooling.With(settings{"failpoint": "replay.settled"}), testbed.BuildFailpoints(t), "serve")
			message := testMail(300_000)
			sendUntilDeath(t, d, message)
			d = serveReady(t, spooling)
			d.WaitFor(t, "the replay", patience, func() bool { return d.metric(t, "lsmtpd_deliveries_replayed_total") == 1 })
			d.stop(t)
			wantCopies(t, s, c.copies, message)
		})
	}
}

// spoolAt are the settings of a spool of the test's own. A broker that is there is given its time.
func spoolAt(t *testing.T, mode string) settings {
	t.Helper()
	return settings{"spool.dir": t.TempDir(), "spool.mode": mode, "spool.min_free_bytes": "0", "spool.after": "30s"}
}

// sendUntilDeath sends a mail to a program that dies of it, before it has replied or after, and waits for that.
func sendUntilDeath(t *testing.T, d *daemon, message []byte) {
	t.Helper()
	client := dial(t, d.smtp)
	client.begin("<a@example.org>", "in@example.com")
	client.do("354", "DATA")
	client.write(append(stuffed(message), ".\r\n"...))
	// Who is killed may reset the connection: what has come before counts all the same.
	if replies, _ := io.ReadAll(client.text.R); len(replies) > 0 && !strings.HasPrefix(string(replies), "250 ") {
		t.Errorf("the reply is %q, want 250 or none", replies)
	}
	if code := d.ExitCode(t, patience); code != -1 {
		t.Errorf("the exit code is %d, want the program killed", code)
	}
}

// wantCopies wants so many messages in the queue, all one and the same.
func wantCopies(t *testing.T, s *site, n int, sent []byte) {
	t.Helper()
	var all []*amqp.Message
	for _, raw := range s.broker.Drain(t, s.queue) {
		all = append(all, raw)
		m := decode(t, raw.GetData())
		wantSections(t, s, raw, m)
		wantWhole(t, m, sent)
		octets(t, s, m, "b2")
	}
	if len(all) != n {
		t.Fatalf("there are %d messages in the queue, want %d", len(all), n)
	}
	for _, raw := range all[1:] {
		if raw.Properties.MessageID != all[0].Properties.MessageID || string(raw.GetData()) != string(all[0].GetData()) {
			t.Errorf("the copies differ: message-id %v and %v", all[0].Properties.MessageID, raw.Properties.MessageID)
		}
	}
}
