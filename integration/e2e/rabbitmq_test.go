//go:build integration

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// rabbitMQVersityGW is a pair of the servers that the other tests do not use; the queue and the objects are new.
func rabbitMQVersityGW(t *testing.T) *site {
	t.Helper()
	broker := testbed.RabbitMQ(t)
	return &site{broker, broker.Queue(t), versityGWBucket(t)}
}

func versityGWBucket(t *testing.T) bucket {
	t.Helper()
	return bucket{testbed.VersityGW(t), fmt.Sprintf("e2e/%016x", rand.Uint64())}
}

// TestRabbitMQVersityGW sends a hundred mails, every fifth of them with 20 MB, has three consumers share them, and wants
// every octet back.
func TestRabbitMQVersityGW(t *testing.T) {
	const mails, every, large = 100, 5, 20_000_000
	s := rabbitMQVersityGW(t)
	d := serveReady(t, s.settings())
	client := dial(t, d.smtp)
	attachments := map[string]string{} // by the digest of the message; empty: none
	for i := range mails {
		octets := 0
		if i%every == 0 {
			octets = large + i
		}
		message, attachment := numberedMail(t, i, octets)
		client.send(message)
		attachments[digest(message)] = attachment
	}
	received := testbed.ReceiveJMS(t, s.broker, s.queue, 30)
	received = append(received, testbed.ReceiveRhea(t, s.broker, s.queue, 30)...)
	received = append(received, testbed.ReceiveProton(t, s.broker, s.queue, mails-60)...)
	for _, r := range received {
		m := wantReceived(t, s, r)
		attachment, ok := attachments[show(m.Email.SHA256)]
		if !ok {
			t.Fatalf("a message with SHA-256 %s was not sent, or has come twice", show(m.Email.SHA256))
		}
		delete(attachments, show(m.Email.SHA256))
		wantStored(t, s, m, attachment)
	}
	if finished, unfinished := s.objects.list(t); len(finished) != mails/every || len(unfinished) != 0 {
		t.Errorf("the store holds %d objects and, unfinished, %v; want the %d attachments", len(finished), unfinished, mails/every)
	}
	drain(t, s, 0)
	d.peakRSS(t, maxRSS)
	d.stop(t)
}

// numberedMail is testMail, different for every number, with the digest of its attachment; both empty where that is to
// have no octets.
func numberedMail(t *testing.T, number, octets int) (message []byte, attachment string) {
	t.Helper()
	subject := fmt.Appendf(nil, "Subject: number %d\r\n", number)
	if octets == 0 {
		return append(subject, crlf("From: a@example.org\n\ntext\n")...), ""
	}
	h := sha256.New()
	_, err := io.Copy(h, base64.NewDecoder(base64.StdEncoding, bytes.NewReader(base64Lines(octets))))
	must(t, err)
	return append(subject, testMail(octets)...), hex.EncodeToString(h.Sum(nil))
}

// wantStored wants the attachment of a mail in the store and nothing else of it.
func wantStored(t *testing.T, s *site, m *schema.Message, attachment string) {
	t.Helper()
	got := ""
	for id, blob := range m.Blobs {
		if blob.Stored == nil {
			continue
		}
		if got != "" {
			t.Errorf("blob %s is in the store too", id)
		}
		h := sha256.New()
		r := s.objects.open(t, blob.Stored)
		_, err := io.Copy(h, r)
		r.Close()
		must(t, err)
		got = hex.EncodeToString(h.Sum(nil))
		if show(blob.SHA256) != got {
			t.Errorf("blob %s has the SHA-256 %s in the store, %s in the message", id, got, show(blob.SHA256))
		}
	}
	if got != attachment {
		t.Errorf("the attachment has the SHA-256 %q, want %q", got, attachment)
	}
}

// tryMail sends a mail with an attachment that goes to the store and returns the reply that ended the transaction:
// to the end of data, or to MAIL where that is refused.
func tryMail(t *testing.T, d *daemon) string {
	t.Helper()
	client := dial(t, d.smtp)
	client.write([]byte("MAIL FROM:<a@example.org>\r\n"))
	if reply := client.reply(); !strings.HasPrefix(reply, "250 ") {
		return reply
	}
	client.do("250", "RCPT TO:<in@example.com>")
	return client.data(testMail(300_000))
}

func wantReply(t *testing.T, got, prefix string) {
	t.Helper()
	if !strings.HasPrefix(got, prefix) {
		t.Errorf("the reply is %q, want %s", got, prefix)
	}
}

// wantObjects waits for so many finished objects, and none that is unfinished: what is refused is removed afterwards.
func wantObjects(t *testing.T, s *site, d *daemon, want int) {
	t.Helper()
	d.WaitFor(t, fmt.Sprintf("%d objects in the store", want), patience, func() bool {
		finished, unfinished := s.objects.list(t)
		return len(finished) == want && len(unfinished) == 0
	})
}

// TestRabbitMQFull fills a queue: RabbitMQ rejects what is too much, without an error, and that is tried again.
func TestRabbitMQFull(t *testing.T) {
	s := rabbitMQVersityGW(t)
	s.queue = s.broker.SmallQueue(t)
	d := serveReady(t, s.settings())
	for range testbed.SmallQueueLimit {
		wantReply(t, tryMail(t, d), "250 2.0.0 ")
	}
	wantReply(t, tryMail(t, d), "451 4.4.1 ")
	wantObjects(t, s, d, testbed.SmallQueueLimit)
	drain(t, s, testbed.SmallQueueLimit)
	wantReply(t, tryMail(t, d), "250 2.0.0 ")
	drain(t, s, 1)
	d.stop(t)
}

// TestRabbitMQMissingQueue has a queue that is not there, comes, goes and comes again while the program runs. That it is
// gone shows when the next mail is to be published: the first to know is refused for now.
func TestRabbitMQMissingQueue(t *testing.T) {
	s := rabbitMQVersityGW(t)
	s.queue = s.broker.MissingQueue(t)
	wantCheck(t, s.settings(), "broker: attach to ", "broker.address", testbed.Build(t))
	d := serve(t, s.settings().With(settings{"broker.settle_timeout": "2s"}))
	for range 2 {
		d.waitBroker(t, "amqp:not-found")
		wantNoMail(t, d)
		wantLog(t, d, "broker unavailable", "broker.address")
		s.broker.CreateQueue(t, s.queue)
		d.waitReady(t)
		wantReply(t, tryMail(t, d), "250 2.0.0 ")
		drain(t, s, 1)
		s.broker.DeleteQueue(t, s.queue)
		wantReply(t, tryMail(t, d), "451 4.")
	}
	d.stop(t)
	wantObjects(t, s, d, 2)
}

// TestRabbitMQUnroutable publishes to an exchange: what it cannot route it releases. Another queue of the exchange might
// have the message all the same, so that the object stays.
func TestRabbitMQUnroutable(t *testing.T) {
	s := rabbitMQVersityGW(t)
	d := serveReady(t, s.settings().With(settings{"broker.address": "/exchanges/ex/nokey"}))
	wantReply(t, tryMail(t, d), "451 4.4.1 ")
	d.stop(t)
	wantObjects(t, s, d, 1)
	d = serveReady(t, s.settings().With(settings{"broker.address": "/exchanges/ex/k"}))
	wantReply(t, tryMail(t, d), "250 2.0.0 ")
	if got := s.broker.Drain(t, "bound"); len(got) != 1 {
		t.Errorf("there are %d messages in the queue behind the exchange, want 1", len(got))
	}
	d.stop(t)
}

// TestRabbitMQMemoryAlarm has RabbitMQ stop reading: mail is refused for now when the time to settle is over, and taken
// when the alarm is off.
func TestRabbitMQMemoryAlarm(t *testing.T) {
	broker := testbed.PrivateRabbitMQ(t)
	s := &site{broker, broker.Queue(t), versityGWBucket(t)}
	d := serveReady(t, s.settings().With(settings{"broker.settle_timeout": "3s"}))
	wantReply(t, tryMail(t, d), "250 2.0.0 ")
	drain(t, s, 1)
	broker.MemoryAlarm(t, true)
	for range 2 {
		begin := time.Now()
		reply := tryMail(t, d)
		wantReply(t, reply, "451 4.")
		t.Logf("%q after %v", reply, time.Since(begin).Round(time.Millisecond))
	}
	broker.MemoryAlarm(t, false)
	d.waitReady(t)
	wantReply(t, tryMail(t, d), "250 2.0.0 ")
	// Those refused as in doubt may have come as well, and their objects are still there.
	messages := len(broker.Drain(t, s.queue))
	finished, unfinished := s.objects.list(t)
	t.Logf("%d messages, %d objects", messages, len(finished))
	if messages < 1 || messages > 3 || len(finished) < messages+1 || len(unfinished) != 0 {
		t.Errorf("there are %d messages and the objects %v, unfinished %v; want the last mail, or more, and an object of each, and of the first",
			messages, finished, unfinished)
	}
	d.stop(t)
}

// TestRabbitMQRefuses has settings that only RabbitMQ can find wrong.
func TestRabbitMQRefuses(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*testbed.AMQPBroker) settings
		reason        string // in /readyz
		step, setting string
	}{
		{"wrong password", wrongPassword, "SASL PLAIN", "broker: connect and log in", "broker.password"},
		{"no right to send", readOnly, "amqp:unauthorized-access", "broker: attach to ", "broker.address"},
		{"missing exchange", missingQueue("/exchanges/missing/k"), "amqp:not-found", "broker: attach to ", "broker.address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := rabbitMQVersityGW(t)
			wrong := s.settings().With(c.change(s.broker))
			d := serve(t, wrong)
			d.waitBroker(t, c.reason)
			wantNoMail(t, d)
			wantLog(t, d, "broker unavailable", c.setting)
			wantCheck(t, wrong, c.step, c.setting, testbed.Build(t))
			d.stop(t) // so it ran until now
			drain(t, s, 0)
		})
	}
}

// TestRabbitMQLogins delivers a mail by every way to log in.
func TestRabbitMQLogins(t *testing.T) {
	for name, change := range map[string]func(*testbed.AMQPBroker) settings{
		"anonymous": func(b *testbed.AMQPBroker) settings { return settings{"broker.url": b.AnonymousURL} },
		"password over TLS": func(b *testbed.AMQPBroker) settings {
			return settings{"broker.url": b.TLSURL, "broker.tls.ca_file": b.Certs.CA}
		},
		"client certificate": func(b *testbed.AMQPBroker) settings {
			return settings{"broker.url": b.ExternalURL, "broker.tls.ca_file": b.Certs.CA,
				"broker.tls.cert_file": b.Certs.Client.Cert, "broker.tls.key_file": b.Certs.Client.Key}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := rabbitMQVersityGW(t)
			if s.broker.External() {
				t.Skip("SKIP: a broker from the environment offers only what its URL says")
			}
			d := serveReady(t, s.settings().With(change(s.broker)))
			wantReply(t, tryMail(t, d), "250 2.0.0 ")
			drain(t, s, 1)
			d.stop(t)
		})
	}
}
