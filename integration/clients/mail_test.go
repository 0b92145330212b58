//go:build integration

package clients

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// text is what every mail says. Its dots are those that SMTP has to hide (RFC 5321 §4.5.2).
const text = "one\n.two\n..\n.\n...five\n"

// recipients are those of most transactions.
var recipients = []string{"in@example.com", "second@example.com", "third@example.net"}

// mail is a mail in a file, for a client that does not make its own.
type mail struct {
	path   string
	octets int64  // of its attachment
	sum    string // SHA-256 of its attachment
}

// newMail writes a mail with an attachment of pseudo-random octets to a file.
func newMail(t *testing.T, octets int64) mail {
	t.Helper()
	m := mail{path: filepath.Join(t.TempDir(), "mail"), octets: octets}
	f, err := os.Create(m.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprint(w, crlf("From: <a@example.org>\nTo: <in@example.com>\nDate: Thu, 1 Oct 2026 12:00:00 +0000\nMessage-ID: <1@example.org>\n"+
		"Subject: report\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"+
		"--b\nContent-Type: text/plain; charset=us-ascii\n\n"+text+
		"\n--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=report.bin\nContent-Transfer-Encoding: base64\n\n"))
	digest, random := sha256.New(), rand.NewChaCha8([32]byte{byte(octets)})
	line := make([]byte, 57)
	for left := octets; left > 0; left -= int64(len(line)) {
		line = line[:min(left, int64(len(line)))]
		random.Read(line) // never fails
		digest.Write(line)
		w.Write(append(base64.StdEncoding.AppendEncode(w.AvailableBuffer(), line), "\r\n"...))
	}
	fmt.Fprint(w, "--b--\r\n")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	m.sum = hex.EncodeToString(digest.Sum(nil))
	return m
}

// submit hands a mail to a relay that takes it by SMTP.
func (m mail) submit(t *testing.T, addr string, to ...string) {
	t.Helper()
	if err := m.send(addr, to); err != nil {
		t.Fatalf("hand a mail to the relay: %v", err)
	}
}

func (m mail) send(addr string, to []string) error {
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer f.Close()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(4 * patience)); err != nil {
		return err
	}
	client, err := smtp.NewClient(conn, "relay.example")
	if err != nil {
		return err
	}
	if err := client.Mail("a@example.org"); err != nil {
		return err
	}
	for _, recipient := range to {
		if err := client.Rcpt(recipient); err != nil {
			return err
		}
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, f); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return client.Quit()
}

// wantWhole checks that a message is the mail that was sent, by its text and its attachment.
func (b *bridge) wantWhole(t *testing.T, m *schema.Message, octets int64, sum string) {
	t.Helper()
	if len(m.Problems) != 0 || m.Email.Subject == nil || *m.Email.Subject != "report" {
		t.Errorf("subject %v, problems %+v; want report, none", m.Email.Subject, m.Problems)
	}
	wantText(t, m)
	o := wantAttachment(t, m, octets, sum)
	path := filepath.Join(b.root, filepath.FromSlash(o.Key))
	if o.URL != "file://"+path {
		t.Errorf("the object is at %s, want file://%s", o.URL, path)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wantContent(t, f, octets, sum)
	if err := os.Remove(path); err != nil { // a hundred megabytes, six times
		t.Error(err)
	}
}

// wantText checks the text, for which a client may have added an empty line at the end, or taken one.
func wantText(t *testing.T, m *schema.Message) {
	t.Helper()
	if len(m.Email.TextBody) == 0 || m.Email.TextBody[0].PartID == nil {
		t.Errorf("there is no text: %+v", m.Email.TextBody)
		return
	}
	if got := m.Email.BodyValues[*m.Email.TextBody[0].PartID].Value; strings.TrimRight(got, "\n") != strings.TrimRight(text, "\n") {
		t.Errorf("the text is %q, want %q", got, text)
	}
}

// wantAttachment checks what a message says of its one attachment and returns where that is.
func wantAttachment(t *testing.T, m *schema.Message, octets int64, sum string) *schema.Stored {
	t.Helper()
	var last *schema.BodyProperties
	for i := range m.Email.Attachments {
		last = &m.Email.Attachments[i]
	}
	if last == nil || last.Name == nil || *last.Name != "report.bin" || last.Size != octets {
		t.Fatalf("the attachments are %+v; want report.bin with %d octets", m.Email.Attachments, octets)
	}
	blob := m.Blobs[*last.BlobID]
	if blob.Stored == nil || blob.Size != octets || blob.SHA256 == nil || *blob.SHA256 != sum {
		t.Fatalf("the attachment is blob %+v; want one in the store with %d octets and SHA-256 %s", blob, octets, sum)
	}
	return blob.Stored
}

func wantContent(t *testing.T, r io.Reader, octets int64, sum string) {
	t.Helper()
	digest := sha256.New()
	n, err := io.Copy(digest, r)
	if got := hex.EncodeToString(digest.Sum(nil)); err != nil || n != octets || got != sum {
		t.Errorf("the object has %d octets with SHA-256 %s (%v); sent were %d with %s", n, got, err, octets, sum)
	}
}

// wantEnvelope checks how a message came.
func wantEnvelope(t *testing.T, m *schema.Message, protocol string, to ...string) {
	t.Helper()
	var got []string
	for _, a := range m.Envelope.RcptTo {
		got = append(got, a.Email)
	}
	if m.Envelope.Protocol != protocol || m.Envelope.MailFrom.Email != "a@example.org" || strings.Join(got, " ") != strings.Join(to, " ") {
		t.Errorf("the message came by %s from %q to %q; want %s, a@example.org, %q", m.Envelope.Protocol, m.Envelope.MailFrom.Email, got, protocol, to)
	}
	if secure := strings.HasSuffix(strings.TrimSuffix(protocol, "A"), "PS"); secure != (m.Envelope.TLS != nil) {
		t.Errorf("by %s with TLS %+v", protocol, m.Envelope.TLS)
	}
}

// wantSent checks what a relay has noted of the recipients of a transaction.
func wantSent(t *testing.T, done []testbed.RelayDelivery, n int) {
	t.Helper()
	if len(done) != n {
		t.Errorf("the relay has dealt with %d recipients, want %d: %+v", len(done), n, done)
	}
	for _, d := range done {
		if !d.Sent || !strings.Contains(d.Line, "250 2.0.0") {
			t.Errorf("the relay has not been told 250 2.0.0 for %s: %s", d.Recipient, d.Line)
		}
	}
}

// crlf is a text whose lines end in LF as it is sent.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
