//go:build integration

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// rawOctets is the size of the attachment of a mail that is kept as it was received: several parts of an upload.
const rawOctets = 60_000_000

// TestRaw keeps mail as it was received, beside its attachment, and rebuilds it from there.
func TestRaw(t *testing.T) {
	s := artemisMinIO(t)
	conf := s.settings().With(settings{"message.raw": "store"})
	d := serveReady(t, conf)
	sent := testbed.SendSMTPLib(t, d.smtp, testbed.Mail{
		From: "a@example.org", To: []string{"in@example.com", "b@example.com"}, Subject: "report", Text: "one\n.two\nthree\n",
		Seed: 12, AttachmentOctets: rawOctets, AttachmentName: "report.bin",
	})
	if sent.Code != 250 {
		t.Fatalf("the reply is %d %s, want 250", sent.Code, sent.Reply)
	}
	dir := filepath.Join(t.TempDir(), "inbox")
	message := filepath.Join(t.TempDir(), "message.json")
	pipe := testbed.Run(t, testbed.Command{
		Path: "sh", Args: []string{"-c", `"$0" tail --json -n 1 | tee "$2" | "$0" fetch --out "$1"`, testbed.Build(t), dir, message}, Env: conf.Env(),
	})
	if code := pipe.ExitCode(t, time.Minute); code != 0 {
		t.Fatalf("the exit code is %d, want 0:\n%s%s", code, pipe.Stdout(), pipe.Stderr())
	}
	text, err := os.ReadFile(message)
	if err != nil {
		t.Fatal(err)
	}
	m, err := schema.Decode(bytes.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, sent)
	wantAttachment(t, s, m, rawOctets, sent.AttachmentSHA256)
	wantRaw(t, s, m, sent)
	eml, err := os.Open(filepath.Join(dir, m.TransactionID+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	wantAsSent(t, "the mail that fetch has rebuilt", eml, sent)
	d.peakRSS(t, maxRSS)
	d.stop(t)
	if finished, unfinished := s.objects.list(t); len(finished) != 2 || len(unfinished) != 0 {
		t.Errorf("the store holds %v and, unfinished, %v; want the attachment and the raw message", finished, unfinished)
	}
	drain(t, s, 0)
}

// wantRaw reads the raw message from where the message says it is.
func wantRaw(t *testing.T, s *site, m *schema.Message, sent testbed.Sent) {
	t.Helper()
	if show(m.Email.BlobID) != schema.RawBlobID {
		t.Fatalf("email.blobId is %q, want raw", show(m.Email.BlobID))
	}
	blob := m.Blobs[schema.RawBlobID]
	if blob.Stored == nil || blob.Size != sent.Octets || show(blob.SHA256) != sent.MessageSHA256 {
		t.Fatalf("the raw message is blob %+v; want one in the store with %d octets and SHA-256 %s", blob, sent.Octets, sent.MessageSHA256)
	}
	wantAsSent(t, "the raw object", s.objects.open(t, blob.Stored), sent)
}

// wantAsSent reads r, which has to be the mail as it was sent, and closes it.
func wantAsSent(t *testing.T, what string, r io.ReadCloser, sent testbed.Sent) {
	t.Helper()
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if got := hex.EncodeToString(h.Sum(nil)); err != nil || n != sent.Octets || got != sent.MessageSHA256 {
		t.Errorf("%s has %d octets with SHA-256 %s (%v); sent were %d with %s", what, n, got, err, sent.Octets, sent.MessageSHA256)
	}
}
