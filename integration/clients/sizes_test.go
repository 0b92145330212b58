//go:build integration

package clients

import (
	"fmt"
	"testing"

	"lsmtpd/integration/testbed"
)

// TestSizes sends attachments from 1 KB to 100 MB by each client, and finds each in the store as it was.
func TestSizes(t *testing.T) {
	b := serve(t, nil)
	byPostfix := func(transport string) func(*testing.T) sender {
		return func(t *testing.T) sender {
			p := testbed.StartPostfix(t, postfixTo(t, transport, false))
			mails := 0
			return func(t *testing.T, octets int64) string {
				m := newMail(t, octets)
				m.submit(t, p.Addr, "in@example.com")
				mails++
				wantSent(t, p.Deliveries(t, mails), mails)
				return m.sum
			}
		}
	}
	for _, client := range []struct {
		name  string
		start func(*testing.T) sender
	}{
		{"Postfix, SMTP", byPostfix("smtp:" + bracketed(t, b.smtp))},
		{"Postfix, LMTP", byPostfix("lmtp:inet:" + b.lmtp)},
		{"Exim, BDAT", func(t *testing.T) sender {
			e := testbed.NewExim(t, b.smtp, eximChunks, "hosts_avoid_tls = *")
			return func(t *testing.T, octets int64) string {
				m := newMail(t, octets)
				done := e.Send(t, "a@example.org", []string{"in@example.com"}, m.path)
				wantSent(t, done, 1)
				wantField(t, done[0].Line, " K ", true)
				return m.sum
			}
		}},
		{"swaks", func(t *testing.T) sender {
			return func(t *testing.T, octets int64) string {
				run, sum := swaks(t, octets, append([]string{"--pipeline"}, swaksAt(t, b.smtp)...)...)
				wantCode(t, run.Code, run.Reply)
				return sum
			}
		}},
		{"smtplib", func(t *testing.T) sender {
			return func(t *testing.T, octets int64) string {
				sent := testbed.SendSMTPLib(t, b.smtp, report(octets))
				wantCode(t, sent.Code, sent.Reply)
				return sent.AttachmentSHA256
			}
		}},
		{"nodemailer", func(t *testing.T) sender {
			return func(t *testing.T, octets int64) string {
				sent := testbed.SendNodemailer(t, b.smtp, testbed.NodemailerOptions{}, report(octets))[0]
				wantCode(t, sent.Code, sent.Reply)
				return sent.AttachmentSHA256
			}
		}},
	} {
		t.Run(client.name, func(t *testing.T) {
			send := client.start(t)
			for _, octets := range []int64{1_000, 64_000, 1_000_000, 10_000_000, 100_000_000} {
				t.Run(fmt.Sprintf("%d octets", octets), func(t *testing.T) {
					sum := send(t, octets)
					b.wantWhole(t, b.take(t, 1)[0], octets, sum)
				})
			}
		})
	}
}

// sender sends a mail with an attachment of so many octets and returns the SHA-256 of those.
type sender func(t *testing.T, octets int64) string

func wantCode(t *testing.T, code int, reply string) {
	t.Helper()
	if code != 250 {
		t.Fatalf("the reply is %d %s, want 250", code, reply)
	}
}
