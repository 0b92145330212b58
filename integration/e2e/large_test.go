//go:build integration

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strconv"
	"testing"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// maxRSS is how much memory the program may use, whatever the size of the mail.
const maxRSS = 64 << 20

// largeOctets is the size of the large attachment.
func largeOctets(t *testing.T) int64 {
	t.Helper()
	const variable = "LSMTPD_TEST_LARGE_MB"
	value := os.Getenv(variable)
	if value == "" {
		return 500_000_000
	}
	mb, err := strconv.ParseInt(value, 10, 32)
	if err != nil || mb < 1 {
		t.Fatalf("%s is %q, want a number of megabytes", variable, value)
	}
	return mb * 1_000_000
}

type receiver func(testing.TB, *testbed.AMQPBroker, string, int) []testbed.Received

// TestAttachments sends a mail by a real client and reads it by a real consumer.
func TestAttachments(t *testing.T) {
	for _, c := range []struct {
		name    string
		site    func(*testing.T) *site
		octets  int64
		image   int64
		send    func(testing.TB, string, testbed.Mail) testbed.Sent
		receive receiver
	}{
		{"large, smtplib, Artemis, MinIO, Qpid JMS", artemisMinIO, largeOctets(t), 40_000, testbed.SendSMTPLib, testbed.ReceiveJMS},
		{"large, smtplib, Broker-J, directory, rhea", brokerJDirectory, largeOctets(t), 40_000, testbed.SendSMTPLib, testbed.ReceiveRhea},
		{"swaks, Broker-J, directory, Qpid Proton", brokerJDirectory, 3_000_000, 0, testbed.SendSwaks, testbed.ReceiveProton},
		{"swaks, Artemis, MinIO, rhea", artemisMinIO, 9_000_000, 0, testbed.SendSwaks, testbed.ReceiveRhea},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.site(t)
			d := serveReady(t, s.settings())
			sent := c.send(t, d.smtp, testbed.Mail{
				From: "a@example.org", To: []string{"in@example.com", "b@example.com"}, Subject: "report", Text: "one\n.two\nthree\n",
				Seed: 11, AttachmentOctets: c.octets, AttachmentName: "report.bin", InlineOctets: c.image,
			})
			if sent.Code != 250 {
				t.Fatalf("the reply is %d %s, want 250", sent.Code, sent.Reply)
			}
			m := wantReceived(t, s, c.receive(t, s.broker, s.queue, 1)[0])
			wantSent(t, m, sent)
			wantAttachment(t, s, m, c.octets, sent.AttachmentSHA256)
			if c.image > 0 {
				wantImage(t, s, m, sent.InlineSHA256)
			}
			d.peakRSS(t, maxRSS)
			d.stop(t)
			if finished, unfinished := s.objects.list(t); len(finished) != 1 || len(unfinished) != 0 {
				t.Errorf("the store holds %v and, unfinished, %v; want the one attachment", finished, unfinished)
			}
			drain(t, s, 0)
		})
	}
}

// wantSent checks what the message says of the mail as a whole.
func wantSent(t *testing.T, m *schema.Message, sent testbed.Sent) {
	t.Helper()
	e := m.Envelope
	if e.MailFrom.Email != "a@example.org" || len(e.RcptTo) != 2 || e.RcptTo[0].Email != "in@example.com" || e.RcptTo[1].Email != "b@example.com" {
		t.Errorf("the envelope is from %+v to %+v", e.MailFrom, e.RcptTo)
	}
	if e.Helo != "witness.example" || e.ClientAddress != "127.0.0.1" || e.Protocol != "ESMTP" {
		t.Errorf("the client is %q at %q by %q; want witness.example, 127.0.0.1, ESMTP", e.Helo, e.ClientAddress, e.Protocol)
	}
	if show(m.Email.Subject) != "report" || !m.Email.HasAttachment || len(m.Problems) != 0 {
		t.Errorf("subject %q, hasAttachment %t, problems %+v; want report, true, none", show(m.Email.Subject), m.Email.HasAttachment, m.Problems)
	}
	if sent.MessageSHA256 != "" && (show(m.Email.SHA256) != sent.MessageSHA256 || m.Email.Size != sent.Octets) {
		t.Errorf("the message has %d octets with SHA-256 %s; sent were %d with %s", m.Email.Size, show(m.Email.SHA256), sent.Octets, sent.MessageSHA256)
	}
	if len(m.Email.TextBody) == 0 || m.Email.BodyValues["1"].Value == "" && m.Email.BodyValues["1.1"].Value == "" {
		t.Errorf("there is no text: textBody %+v, bodyValues %+v", m.Email.TextBody, m.Email.BodyValues)
	}
}

// wantAttachment reads the attachment from where the message says it is.
func wantAttachment(t *testing.T, s *site, m *schema.Message, size int64, sum string) {
	t.Helper()
	last := len(m.Email.Attachments) - 1
	if last < 0 {
		t.Fatal("the message has no attachments")
	}
	a := m.Email.Attachments[last]
	if show(a.Name) != "report.bin" || a.Type != "application/octet-stream" || a.Size != size || show(a.Disposition) != "attachment" {
		t.Errorf("the attachment is %q, %s, %s, %d octets", show(a.Name), a.Type, show(a.Disposition), a.Size)
	}
	blob := m.Blobs[*a.BlobID]
	if blob.Stored == nil || blob.Size != size || show(blob.SHA256) != sum {
		t.Fatalf("the attachment is blob %+v; want one in the store with %d octets and SHA-256 %s", blob, size, sum)
	}
	r := s.objects.open(t, blob.Stored)
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if got := hex.EncodeToString(h.Sum(nil)); err != nil || n != size || got != sum {
		t.Errorf("the object has %d octets with SHA-256 %s (%v); sent were %d with %s", n, got, err, size, sum)
	}
}

// wantImage checks the image inside the text's part, which is small enough to stay in the message.
func wantImage(t *testing.T, s *site, m *schema.Message, sum string) {
	t.Helper()
	for p := range m.Email.BodyStructure.Leaves() {
		if p.Type != "image/png" {
			continue
		}
		if got := digest(octets(t, s, m, *p.BlobID)); got != sum || show(p.CID) != "image@witness.example" || m.Blobs[*p.BlobID].Inline == nil {
			t.Errorf("the image %s has SHA-256 %s, inline: %t; want image@witness.example, %s, true", show(p.CID), got, m.Blobs[*p.BlobID].Inline != nil, sum)
		}
		return
	}
	t.Error("there is no image/png")
}
