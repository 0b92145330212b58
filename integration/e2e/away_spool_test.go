//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// TestBrokerLost stops the broker while senders are in the middle of their mails, without a spool: each is told to try
// again, nobody is left without a reply, and who comes later is told so before sending anything.
func TestBrokerLost(t *testing.T) {
	broker := own(t, testbed.Artemis(t), testbed.PrivateArtemis)
	s := &site{broker, broker.Queue(t), newDirectory(t)}
	d := serveReady(t, s.settings().With(settings{"broker.settle_timeout": "3s"}))
	message := testMail(300_000)
	var senders []*smtpClient
	for range 8 {
		client := dial(t, d.smtp)
		client.begin("<a@example.org>", "in@example.com")
		client.do("354", "DATA")
		client.write(message[:len(message)/2]) // base64: no line begins with a dot
		senders = append(senders, client)
	}
	must(t, broker.Stop())
	for _, client := range senders {
		client.write(append(message[len(message)/2:len(message):len(message)], ".\r\n"...))
	}
	for _, client := range senders {
		client.want("451 4.4.", client.reply())
	}
	d.waitBroker(t, "connection refused")
	wantNoMail(t, d)
	must(t, broker.Start())
	d.waitReady(t)
	wantMail(t, s, d) // and nothing of the others
	wantStoreHolds(t, s, 1)
	d.stop(t)
}

// wantStoreHolds wants so many finished objects in the store, and nothing else.
func wantStoreHolds(t *testing.T, s *site, n int) {
	t.Helper()
	if finished, unfinished := s.objects.list(t); len(finished) != n || len(unfinished) != 0 {
		t.Errorf("the store holds %v and, unfinished, %v; want %d objects", finished, unfinished, n)
	}
}

// TestBrokerAwaySpooled takes mail while the broker is away, from the start and after a restart of the program, and
// wants all of it in the queue once the broker is back.
func TestBrokerAwaySpooled(t *testing.T) {
	for _, mode := range []string{"fallback", "always"} {
		t.Run(mode, func(t *testing.T) {
			broker := own(t, testbed.Artemis(t), testbed.PrivateArtemis)
			s := &site{broker, broker.Queue(t), newDirectory(t)}
			drain(t, s, 0) // makes the queue
			must(t, broker.Stop())
			spooling := s.settings().With(spoolAt(t, mode))
			sent := map[string]bool{} // by digest
			for n := 1; n <= 2; n++ {
				d := serve(t, spooling)
				d.waitSpooling(t, "connection refused")
				sendSpooled(t, d, sent, n)
				d.waitSpooled(t, len(sent))
				d.stop(t)
			}
			if got := listSpool(t, spooling); len(got) != len(sent) {
				t.Errorf("lsmtpd spool ls shows %d records, want %d: %+v", len(got), len(sent), got)
			}
			d := serve(t, spooling)
			must(t, broker.Start())
			d.waitReady(t)
			d.waitSpooled(t, 0)
			large := len(sent) / 2
			wantAllSent(t, s, sent)
			wantStoreHolds(t, s, large)
			d.stop(t)
		})
	}
}

// sendSpooled sends a small mail and a large one, each different from all others, and adds their digests to sent.
func sendSpooled(t *testing.T, d *daemon, sent map[string]bool, n int) {
	t.Helper()
	client := dial(t, d.smtp)
	for _, message := range [][]byte{crlf(fmt.Sprintf("From: a@example.org\nSubject: %d\n\nsmall\n", n)), testMail(300_000 + n)} {
		client.send(message)
		sent[digest(message)] = true
	}
}

// wantAllSent takes everything out of the queue, which has to be the mails with these digests, each once, with all octets
// of their attachments.
func wantAllSent(t *testing.T, s *site, sent map[string]bool) {
	t.Helper()
	left := len(sent)
	for _, m := range drain(t, s, left) {
		if !sent[show(m.Email.SHA256)] {
			t.Errorf("a message with SHA-256 %s was not sent, or has come twice", show(m.Email.SHA256))
		}
		delete(sent, show(m.Email.SHA256))
		for id := range m.Blobs {
			octets(t, s, m, id)
		}
	}
}

// waitSpooling waits until /readyz says that mail is taken although the broker is away, and why it is.
func (d *daemon) waitSpooling(t *testing.T, reason string) {
	t.Helper()
	d.WaitFor(t, "/readyz to say why the broker is away", patience, func() bool {
		r := d.readyz(t)
		return r.Status == http.StatusOK && r.Ready && strings.Contains(r.Broker, reason) && r.Store == "" && r.Spool == ""
	})
}

// waitSpooled waits until so many records wait in the spool, and none was set aside.
func (d *daemon) waitSpooled(t *testing.T, n int) {
	t.Helper()
	d.waitRecords(t, n, 0)
}

// waitRecords waits until so many records of the spool wait, and so many are set aside.
func (d *daemon) waitRecords(t *testing.T, waiting, failed int) {
	t.Helper()
	d.WaitFor(t, fmt.Sprintf("%d records to wait in the spool and %d set aside", waiting, failed), patience, func() bool {
		return d.metric(t, `lsmtpd_spool_records{state="waiting"}`) == float64(waiting) &&
			d.metric(t, `lsmtpd_spool_records{state="failed"}`) == float64(failed)
	})
}

// listed is a record as "lsmtpd spool ls" shows it.
type listed struct{ ID, Kind, State, Error string }

// listSpool runs "lsmtpd spool ls".
func listSpool(t *testing.T, s settings) []listed {
	t.Helper()
	ls := testbed.Run(t, testbed.Command{Path: testbed.Build(t), Args: []string{"spool", "ls", "--json"}, Env: s.Env()})
	if code := ls.ExitCode(t, time.Minute); code != 0 {
		t.Fatalf("lsmtpd spool ls: exit code %d\n%s", code, ls.Stderr())
	}
	var all []listed
	for line := range strings.Lines(ls.Stdout()) {
		var l listed
		must(t, json.Unmarshal([]byte(line), &l))
		all = append(all, l)
	}
	return all
}

// TestStoreAwaySpooled takes mail while the store is away: what says that it is small goes on its way at once, all else
// waits in the spool as it came.
func TestStoreAwaySpooled(t *testing.T) {
	s := artemisMinIO(t)
	server := own(t, testbed.MinIO(t), testbed.PrivateMinIO)
	s.objects = bucket{server, "spooled"}
	must(t, server.Stop())
	spooling := s.settings().With(spoolAt(t, "fallback"))
	d := serve(t, spooling)
	d.waitStore(t, "connection refused")
	client := dial(t, d.smtp)
	small := crlf("From: a@example.org\n\nsmall\n")
	deliver := func(message []byte, size string) {
		client.begin("<a@example.org>"+size, "in@example.com")
		client.want("250 2.0.0 queued as ", client.data(message))
	}
	deliver(small, fmt.Sprintf(" SIZE=%d", len(small)))
	wantWhole(t, drain(t, s, 1)[0], small)

	sent := map[string]bool{}
	without, large := crlf("From: a@example.org\n\nof no size\n"), testMail(300_000)
	deliver(without, "")
	deliver(large, fmt.Sprintf(" SIZE=%d", len(large)))
	sent[digest(without)], sent[digest(large)] = true, true
	d.waitSpooled(t, 2)
	for _, l := range listSpool(t, spooling) {
		if l.Kind != "raw" || l.State != "waiting" {
			t.Errorf("lsmtpd spool ls shows %+v, want a raw record that waits", l)
		}
	}
	must(t, server.Start())
	d.waitReady(t)
	d.waitSpooled(t, 0)
	wantAllSent(t, s, sent)
	d.stop(t)
}
