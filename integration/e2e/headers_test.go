//go:build integration

package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// TestHeaderTooLargeForLink sends a header of 80 KB where a published message may have 64 KiB.
func TestHeaderTooLargeForLink(t *testing.T) {
	var text strings.Builder
	text.WriteString("From: a@example.org\nSubject: large header\n")
	digits := rand.New(rand.NewPCG(1, 2))
	for i := 0; text.Len() < 80_000; i++ {
		fmt.Fprintf(&text, "X-Field-%d: %x,\n\t%x\n", i, digits.Uint64(), digits.Uint64())
	}
	header := crlf(text.String())
	message := append(append([]byte{}, header...), "\r\na text\r\n"...)

	check := func(t *testing.T, s *site, m *schema.Message) {
		t.Helper()
		wantWhole(t, m, message)
		if !m.Email.HeadersTruncated || show(m.Email.HeadersBlobID) != "headers" || len(m.Email.Headers) != 0 {
			t.Fatalf("headersTruncated %t, headersBlobId %s, %d headers; want true, headers, none",
				m.Email.HeadersTruncated, show(m.Email.HeadersBlobID), len(m.Email.Headers))
		}
		block := octets(t, s, m, "headers")
		// Whether the empty line belongs to the block, nobody has said.
		wantOctets(t, "header block", []byte(strings.TrimSuffix(string(block), "\r\n\r\n")+"\r\n"), header)
		if blob := m.Blobs["headers"]; blob.Stored == nil || !strings.HasSuffix(blob.Stored.Key, "/headers") {
			t.Errorf("the blob is %+v, want it in the store under a key that ends in /headers", blob)
		}
		if show(m.Email.Subject) != "large header" || len(m.Email.From) != 1 {
			t.Errorf("subject %q, from %+v: they do not follow from the header", show(m.Email.Subject), m.Email.From)
		}
		wantOctets(t, "text", octets(t, s, m, "b1"), []byte("a text\r\n"))
	}

	eachSite(t, func(t *testing.T, s *site) {
		d := serveReady(t, s.settings().With(settings{"broker.max_message_bytes": "64KiB"}))
		dial(t, d.smtp).send(message)
		raw := s.broker.Drain(t, s.queue)
		if len(raw) != 1 {
			t.Fatalf("there are %d messages in the queue, want 1", len(raw))
		}
		if n := len(raw[0].GetData()); n > 64<<10 {
			t.Errorf("the data section has %d octets, want at most 64 KiB", n)
		}
		check(t, s, decode(t, raw[0].GetData()))
		d.stop(t)
	})
	t.Run("limit of the link", func(t *testing.T) {
		broker, url := devbroker.Start(t, devbroker.Config{MaxMessageSize: 64 << 10})
		s := &site{&testbed.AMQPBroker{URL: url}, "in", newBucket(t)}
		d := serveReady(t, s.settings())
		dial(t, d.smtp).send(message)
		queued := broker.Messages("in")
		if len(queued) != 1 || len(queued[0].Octets) > 64<<10 {
			t.Fatalf("the queue holds %d messages, want one of at most 64 KiB", len(queued))
		}
		body, err := queued[0].Data()
		must(t, err)
		check(t, s, decode(t, body))
		d.stop(t)
	})
}
