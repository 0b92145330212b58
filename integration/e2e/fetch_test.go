//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// TestTailFetch reads a message with the program's own tools, as its users would: by a pipe.
func TestTailFetch(t *testing.T) {
	s := artemisMinIO(t)
	d := serveReady(t, s.settings())
	sent := testbed.SendSMTPLib(t, d.smtp, testbed.Mail{
		From: "a@example.org", To: []string{"in@example.com"}, Subject: "fetch", Text: "see below\n",
		Seed: 5, AttachmentOctets: 12_345_678, AttachmentName: "report.bin",
	})
	if sent.Code != 250 {
		t.Fatalf("the reply is %d %s, want 250", sent.Code, sent.Reply)
	}
	dir := filepath.Join(t.TempDir(), "inbox")
	pipe := testbed.Run(t, testbed.Command{
		Path: "sh", Args: []string{"-c", `"$0" tail --json -n 1 | "$0" fetch --out "$1"`, testbed.Build(t), dir}, Env: s.settings().Env(),
	})
	if code := pipe.ExitCode(t, time.Minute); code != 0 {
		t.Fatalf("the exit code is %d, want 0:\n%s%s", code, pipe.Stdout(), pipe.Stderr())
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "report.bin" {
		t.Fatalf("fetch has written %v (%v), want report.bin alone", files, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "report.bin"))
	if err != nil || digest(content) != sent.AttachmentSHA256 {
		t.Errorf("the file has %d octets with SHA-256 %s (%v); sent was %s", len(content), digest(content), err, sent.AttachmentSHA256)
	}
	drain(t, s, 0) // what was printed is gone from the queue
	d.stop(t)
}
