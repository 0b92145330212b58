package smtpd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"lsmtpd/bridge"
	"lsmtpd/bridge/smtpd"
)

// TestStoredOctets follows the ends that are none as far as the store: what lies there is what was sent, octet for octet.
func TestStoredOctets(t *testing.T) {
	const header = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	bodies := []struct{ name, wire, want string }{
		{"lf.lf", "a\n.\nb", "a\n.\nb"},
		{"cr.cr", "a\r.\rb", "a\r.\rb"},
		{"cr.lf", "a\r.\nb", "a\r.\nb"},
		{"lf.cr", "a\n.\rb", "a\n.\rb"},
		{"lf.crlf", "a\n.\r\nb", "a\n.\r\nb"},
		{"crlf.lf", "a\r\n.\nb", "a\r\n\nb"},
		{"cr.crlf", "a\r.\r\nb", "a\r.\r\nb"},
		{"crlf.cr", "a\r\n.\rb", "a\r\n\rb"},
		{"NUL before the dot", "a\r\n\x00.\r\nb", "a\r\n\x00.\r\nb"},
		{"NUL after the dot", "a\r\n.\x00\r\nb", "a\r\n\x00\r\nb"},
		{"dots", "a\r\n..\r\n...\r\n.x\r\n. \r\nb", "a\r\n.\r\n..\r\nx\r\n \r\nb"},
	}
	for _, security := range []string{"plain", "STARTTLS", "smtps"} {
		t.Run(security, func(t *testing.T) {
			t.Parallel()
			server, clientTLS := tlsPair(t)
			b := newBedFor(t, func(c *smtpd.Config, bc *bridge.Config) {
				c.TLS, c.AcceptBareNewlines, bc.OffloadThreshold = server, true, 1
				if security == "smtps" {
					c.Listen[0].Scheme = "smtps"
				}
			})
			c := b.dial()
			if security == "smtps" {
				c.handshake(clientTLS)
			}
			if security != "STARTTLS" {
				clientTLS = nil
			}
			c.upTo(clientTLS, "in@example.com")
			for i, body := range bodies {
				if i > 0 {
					c.do("MAIL FROM:<a@example.org>", "250")
					c.do("RCPT TO:<in@example.com>", "250")
				}
				c.do("DATA", "354")
				for _, octet := range strings.Split(header+body.wire+"\r\n.\r\n", "") {
					c.write(octet)
				}
				c.expect("250 2.0.0 queued as ")
				b.checkStored(body.name, i, body.want+"\r\n")
			}
		})
	}
}

// checkStored checks the blob of the message numbered from 0: what is said of it, and what lies in the store.
func (b *bed) checkStored(name string, number int, want string) {
	b.t.Helper()
	list := b.published()
	if len(list) != number+1 {
		b.t.Fatalf("%s: %d messages, want %d", name, len(list), number+1)
	}
	blob := list[number].Blobs["b1"]
	sum := sha256.Sum256([]byte(want))
	if blob.SHA256 == nil || *blob.SHA256 != hex.EncodeToString(sum[:]) {
		b.t.Errorf("%s: the blob is %+v, want the digest %x", name, blob, sum)
	}
	for _, path := range b.files() {
		if content, err := os.ReadFile(path); err == nil && string(content) == want {
			return
		}
	}
	b.t.Errorf("%s: no object holds %q", name, want)
}

// A message with bare newlines is refused after its end, by each recipient where there is a reply for each, and leaves nothing.
func TestBareNewlinesRefused(t *testing.T) {
	for _, scheme := range []string{"smtp", "lmtp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			b := newBedFor(t, func(c *smtpd.Config, bc *bridge.Config) { c.Listen[0].Scheme, bc.OffloadThreshold = scheme, 16 })
			c := b.dial()
			c.begin(map[string]string{"smtp": "EHLO", "lmtp": "LHLO"}[scheme], "one@example.com", "two@example.com")
			c.do("DATA", "354")
			c.write(attachment(20_000) + "a\n.\nb" + attachment(300_000) + ".\r\n")
			c.expect("550 5.6.0 ")
			if scheme == "lmtp" {
				c.expect("550 5.6.0 <two@example.com>")
			}
			c.do("MAIL FROM:<a@example.org>", "250")
			c.do("RCPT TO:<in@example.com>", "250")
			c.do("DATA", "354")
			c.do("Subject: next\r\n\r\nbody\r\n.", "250")
			if list := b.published(); len(list) != 1 || *list[0].Email.Subject != "next" || len(b.files()) != 0 {
				t.Errorf("published %+v, and the store holds %v", list, b.files())
			}
		})
	}
}

// Under BDAT newlines are content, and a dot is a dot.
func TestBareNewlinesByBDAT(t *testing.T) {
	const header = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	const body = "a\n.\n\r.\r\r\n.\r\n..\r\n\x00.\r\n"
	b := newBedFor(t, func(_ *smtpd.Config, bc *bridge.Config) { bc.OffloadThreshold = 1 })
	c := b.dial()
	c.begin("EHLO", "in@example.com")
	c.write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(header+body), header+body))
	c.expect("250")
	b.checkStored("BDAT", 0, body)
}
