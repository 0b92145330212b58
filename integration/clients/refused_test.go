//go:build integration

package clients

import (
	"slices"
	"strings"
	"testing"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// allowed lets in two of the recipients, and what is sent back to the sender.
var allowed = settings{"smtp.allow": "example.com,example.org"}

// wantOneRefused checks what a relay has noted of the recipients, of whom the third is not wanted here.
func wantOneRefused(t *testing.T, done []testbed.RelayDelivery) {
	t.Helper()
	for _, to := range recipients {
		i := slices.IndexFunc(done, func(d testbed.RelayDelivery) bool { return d.Recipient == to })
		if i < 0 {
			t.Errorf("the relay says nothing of %s: %+v", to, done)
			continue
		}
		wanted, reply := to != "third@example.net", "250 2.0.0"
		if !wanted {
			reply = "550 5.1.1"
		}
		if d := done[i]; d.Sent != wanted || !strings.Contains(d.Line, reply) {
			t.Errorf("sent to %s: %t, want %t with %s: %s", to, d.Sent, wanted, reply, d.Line)
		}
	}
}

// TestPostfixRefused has a Postfix relay to a recipient that is not wanted: the others get the mail, and the notice that
// Postfix sends back, with the null reverse-path, arrives as well.
func TestPostfixRefused(t *testing.T) {
	b := serve(t, allowed)
	for _, c := range []struct{ name, transport, protocol string }{
		{"SMTP", "smtp:" + bracketed(t, b.smtp), "ESMTP"},
		{"LMTP", "lmtp:inet:" + b.lmtp, "LMTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testbed.StartPostfix(t, postfixTo(t, c.transport, false))
			sent := newMail(t, 300_000)
			sent.submit(t, p.Addr, recipients...)
			done := p.Deliveries(t, len(recipients)+1)
			wantOneRefused(t, done[:len(recipients)])
			if notice := done[len(recipients)]; notice.Recipient != "a@example.org" || !notice.Sent {
				t.Errorf("the notice has not been sent: %+v", notice)
			}
			messages := b.take(t, 2)
			slices.SortFunc(messages, func(x, y *schema.Message) int {
				return strings.Compare(y.Envelope.MailFrom.Email, x.Envelope.MailFrom.Email)
			})
			wantEnvelope(t, messages[0], c.protocol, "in@example.com", "second@example.com")
			b.wantWhole(t, messages[0], sent.octets, sent.sum)
			notice := messages[1]
			if e := notice.Envelope; e.MailFrom.Email != "" || len(e.RcptTo) != 1 || e.RcptTo[0].Email != "a@example.org" {
				t.Errorf("the notice is from %+v to %+v, want the null reverse-path, a@example.org", e.MailFrom, e.RcptTo)
			}
			var types []string
			for part := range notice.Email.BodyStructure.Leaves() {
				types = append(types, part.Type)
			}
			// Go's client says SMTPUTF8 wherever it is offered; without that it is message/delivery-status.
			if want := []string{"text/plain", "message/global-delivery-status", "message/global-headers"}; !slices.Equal(types, want) {
				t.Errorf("the notice is made of %q, want %q", types, want)
			}
		})
	}
}

// TestEximRefused has an Exim do the same in chunks, and send a first chunk to nobody: it does not wait for the replies
// to RCPT. The null reverse-path keeps it from sending a notice.
func TestEximRefused(t *testing.T) {
	b := serve(t, allowed)
	e := testbed.NewExim(t, b.smtp, eximChunks, "hosts_avoid_tls = *")
	sent := newMail(t, 300_000)
	t.Run("one of three", func(t *testing.T) {
		wantOneRefused(t, e.Send(t, "<>", recipients, sent.path))
		m := b.take(t, 1)[0]
		if got := m.Envelope; got.MailFrom.Email != "" || len(got.RcptTo) != 2 {
			t.Errorf("the message is from %+v to %+v, want the null reverse-path, two recipients", got.MailFrom, got.RcptTo)
		}
		b.wantWhole(t, m, sent.octets, sent.sum)
	})
	t.Run("all", func(t *testing.T) {
		done := e.Send(t, "<>", []string{"third@example.net"}, sent.path)
		if len(done) != 1 || done[0].Sent || !strings.Contains(done[0].Line, "550 5.1.1") {
			t.Errorf("the relay says %+v, want one recipient refused with 550 5.1.1", done)
		}
		b.take(t, 0)
	})
}
