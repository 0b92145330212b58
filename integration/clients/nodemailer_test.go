//go:build integration

package clients

import (
	"fmt"
	"testing"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// byNodemailer sends mails by nodemailer that have to arrive, each with an attachment of its own length, and returns
// them in any order.
func (b *bridge) byNodemailer(t *testing.T, addr string, o testbed.NodemailerOptions, mails ...testbed.Mail) []*schema.Message {
	t.Helper()
	sums := map[int64]string{}
	for i, sent := range testbed.SendNodemailer(t, addr, o, mails...) {
		if sent.Code != 250 {
			t.Errorf("the reply is %d %s, want 250", sent.Code, sent.Reply)
		}
		sums[mails[i].AttachmentOctets] = sent.AttachmentSHA256
	}
	got := b.take(t, len(mails))
	for _, m := range got {
		if len(m.Email.Attachments) != 1 {
			t.Fatalf("the attachments are %+v, want one", m.Email.Attachments)
		}
		octets := m.Email.Attachments[0].Size
		sum, ok := sums[octets]
		if !ok {
			t.Fatalf("the attachment has %d octets, as none of those that were sent and have not been seen", octets)
		}
		delete(sums, octets)
		b.wantWhole(t, m, octets, sum)
	}
	return got
}

func TestNodemailer(t *testing.T) {
	b := serve(t, settings{"smtp.auth.users_file": usersFile(t)})
	ca := testbed.TestCerts(t).CA
	for _, c := range []struct {
		name, addr, protocol string
		options              testbed.NodemailerOptions
		mails                int
	}{
		{"SMTP", b.smtp, "ESMTP", testbed.NodemailerOptions{}, 1},
		{"STARTTLS", b.smtp, "ESMTPS", testbed.NodemailerOptions{CAFile: ca}, 1},
		{"TLS on connect", b.smtps, "ESMTPS", testbed.NodemailerOptions{CAFile: ca, Implicit: true}, 1},
		{"LMTP", b.lmtp, "LMTP", testbed.NodemailerOptions{LMTP: true}, 1},
		{"a connection for each", b.smtp, "ESMTP", testbed.NodemailerOptions{}, 20},
		{"pool", b.smtp, "ESMTP", testbed.NodemailerOptions{Pool: 3}, 30},
		{"pool, STARTTLS", b.smtp, "ESMTPS", testbed.NodemailerOptions{Pool: 3, CAFile: ca}, 30},
		{"AUTH PLAIN", b.smtp, "ESMTPSA", testbed.NodemailerOptions{CAFile: ca, User: user, Password: password}, 1},
		{"AUTH LOGIN", b.smtp, "ESMTPSA", testbed.NodemailerOptions{CAFile: ca, User: user, Password: password, Method: "LOGIN"}, 1},
		{"pool, AUTH", b.smtp, "ESMTPSA", testbed.NodemailerOptions{Pool: 3, CAFile: ca, User: user, Password: password}, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mails []testbed.Mail
			for i := range c.mails {
				mails = append(mails, report(100_000+int64(i)))
			}
			for _, m := range b.byNodemailer(t, c.addr, c.options, mails...) {
				wantEnvelope(t, m, c.protocol, recipients...)
				if as := fmt.Sprint(m.Envelope.AuthenticatedAs != nil); as != fmt.Sprint(c.options.User != "") {
					t.Errorf("it is authenticated: %s, the user is %q", as, c.options.User)
				}
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		wrong := testbed.NodemailerOptions{CAFile: ca, User: user, Password: "guess"}
		if sent := testbed.SendNodemailer(t, b.smtp, wrong, report(1000)); sent[0].Code != 535 {
			t.Errorf("the reply is %d %s, want 535", sent[0].Code, sent[0].Reply)
		}
		b.take(t, 0)
	})
}
