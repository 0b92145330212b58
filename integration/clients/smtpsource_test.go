//go:build integration

package clients

import (
	"fmt"
	"strconv"
	"testing"

	"lsmtpd/integration/testbed"
)

// TestSMTPSource has Postfix's load generator, which says HELO, send over several sessions at a time, and counts.
func TestSMTPSource(t *testing.T) {
	b := serve(t, nil)
	for _, way := range []struct {
		name, protocol string
		to             []string
	}{
		{"SMTP", "SMTP", []string{"inet:" + b.smtp}},
		{"SMTP on connections that are kept", "SMTP", []string{"-d", "inet:" + b.smtp}},
		{"LMTP", "LMTP", []string{"-L", "inet:" + b.lmtp}},
		{"LMTP on a unix socket", "LMTP", []string{"-L", "unix:" + b.socket}},
	} {
		for _, load := range []struct{ messages, sessions, octets, recipients int }{
			{300, 20, 1, 1},
			{300, 20, 2_000, 3},
			{20, 5, 1_000_000, 1},
		} {
			t.Run(fmt.Sprintf("%s, %d octets", way.name, load.octets), func(t *testing.T) {
				args := []string{"-m", strconv.Itoa(load.messages), "-s", strconv.Itoa(load.sessions), "-l", strconv.Itoa(load.octets),
					"-r", strconv.Itoa(load.recipients), "-f", "a@example.org", "-t", "in@example.com", "-S", "report"}
				testbed.SMTPSource(t, append(args, way.to...)...)
				ids := map[string]bool{}
				for _, m := range b.take(t, load.messages) {
					ids[m.ID] = true
					if e := m.Envelope; e.Protocol != way.protocol || e.MailFrom.Email != "a@example.org" || len(e.RcptTo) != load.recipients {
						t.Fatalf("the envelope is %+v; want %s from a@example.org to %d recipients", e, way.protocol, load.recipients)
					}
					if m.Email.Size < int64(load.octets) || m.Email.Subject == nil || *m.Email.Subject != "report" || len(m.Problems) != 0 {
						t.Fatalf("subject %v, %d octets, problems %+v; want report, at least %d, none", m.Email.Subject, m.Email.Size, m.Problems, load.octets)
					}
				}
				if len(ids) != load.messages {
					t.Errorf("%d messages have %d ids", load.messages, len(ids))
				}
			})
		}
	}
}
