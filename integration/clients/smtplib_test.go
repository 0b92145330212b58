//go:build integration

package clients

import (
	"testing"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// bySMTPLib sends a mail by smtplib that has to arrive, and returns it.
func (b *bridge) bySMTPLib(t *testing.T, addr string, m testbed.Mail) *schema.Message {
	t.Helper()
	sent := testbed.SendSMTPLib(t, addr, m)
	if sent.Code != 250 {
		t.Fatalf("the reply is %d %s, want 250", sent.Code, sent.Reply)
	}
	got := b.take(t, 1)[0]
	if got.Email.Size != sent.Octets || got.Email.SHA256 == nil || *got.Email.SHA256 != sent.MessageSHA256 {
		t.Errorf("the message has %d octets with SHA-256 %v; sent were %d with %s", got.Email.Size, got.Email.SHA256, sent.Octets, sent.MessageSHA256)
	}
	if m.AttachmentOctets > 0 {
		b.wantWhole(t, got, m.AttachmentOctets, sent.AttachmentSHA256)
	}
	return got
}

// report is the mail of this package as smtplib and nodemailer make it themselves.
func report(octets int64) testbed.Mail {
	return testbed.Mail{From: "a@example.org", To: recipients, Subject: "report", Text: text,
		Seed: uint32(octets), AttachmentOctets: octets, AttachmentName: "report.bin"}
}

func TestSMTPLib(t *testing.T) {
	b := serve(t, nil)
	ca := testbed.TestCerts(t).CA
	t.Run("SMTP", func(t *testing.T) {
		wantEnvelope(t, b.bySMTPLib(t, b.smtp, report(100_000)), "ESMTP", recipients...)
	})
	t.Run("STARTTLS", func(t *testing.T) {
		m := report(100_000)
		m.CAFile = ca
		wantEnvelope(t, b.bySMTPLib(t, b.smtp, m), "ESMTPS", recipients...)
	})
	t.Run("8BITMIME", func(t *testing.T) {
		const eightBit = "Grüße\n.Straße\n"
		m := b.bySMTPLib(t, b.smtp, testbed.Mail{From: "a@example.org", To: recipients, Subject: "report", Text: eightBit})
		wantEnvelope(t, m, "ESMTP", recipients...)
		if body := m.Envelope.MailFrom.Parameters["body"]; body == nil || *body != "8BITMIME" {
			t.Errorf("the parameter BODY is %v, want 8BITMIME", body)
		}
		if got := m.Email.BodyValues["1"].Value; got != eightBit {
			t.Errorf("the text is %q, want %q", got, eightBit)
		}
	})
	t.Run("SMTPUTF8", func(t *testing.T) {
		const from, to = "jörg@grüße.example", "用户@例子.example"
		m := b.bySMTPLib(t, b.smtp, testbed.Mail{From: from, To: []string{to}, Subject: "отчёт", Text: text})
		if got := m.Envelope; got.MailFrom.Email != from || len(got.RcptTo) != 1 || got.RcptTo[0].Email != to {
			t.Errorf("the message came from %+v to %+v, want %s, %s", got.MailFrom, got.RcptTo, from, to)
		}
		if _, ok := m.Envelope.MailFrom.Parameters["smtputf8"]; !ok {
			t.Errorf("the parameters are %v, want smtputf8 among them", m.Envelope.MailFrom.Parameters)
		}
		if len(m.Email.To) != 1 || m.Email.To[0].Email != to || m.Email.Subject == nil || *m.Email.Subject != "отчёт" {
			t.Errorf("the header says to %+v, subject %v; want %s, отчёт", m.Email.To, m.Email.Subject, to)
		}
	})
}

func TestSMTPLibAuth(t *testing.T) {
	b := serve(t, settings{"smtp.auth.users_file": usersFile(t), "smtp.auth.required": "true"})
	m := report(100_000)
	m.CAFile, m.User, m.Password = testbed.TestCerts(t).CA, asciiUser, asciiPassword
	got := b.bySMTPLib(t, b.smtp, m)
	wantEnvelope(t, got, "ESMTPSA", recipients...)
	if got.Envelope.AuthenticatedAs == nil || *got.Envelope.AuthenticatedAs != asciiUser {
		t.Errorf("authenticated as %v, want %s", got.Envelope.AuthenticatedAs, asciiUser)
	}
	for _, refused := range []struct {
		name, user, password string
		code                 int
	}{
		{"wrong password", asciiUser, "guess", 535},
		{"unknown user", "nobody@example.org", asciiPassword, 535},
		{"none", "", "", 530},
	} {
		t.Run(refused.name, func(t *testing.T) {
			m.User, m.Password = refused.user, refused.password
			if sent := testbed.SendSMTPLib(t, b.smtp, m); sent.Code != refused.code {
				t.Errorf("the reply is %d %s, want %d", sent.Code, sent.Reply, refused.code)
			}
			b.take(t, 0)
		})
	}
}
