//go:build integration

package testbed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-smtp"
)

// receiver is an SMTP server that keeps the newest message.
type receiver struct{ message bytes.Buffer }

func (r *receiver) NewSession(*smtp.Conn) (smtp.Session, error)    { return r, nil }
func (r *receiver) Reset()                                         {}
func (r *receiver) Logout() error                                  { return nil }
func (r *receiver) Mail(from string, opts *smtp.MailOptions) error { return nil }
func (r *receiver) Rcpt(to string, opts *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	return nil
}

func (r *receiver) Data(body io.Reader) error {
	r.message.Reset()
	_, err := io.Copy(&r.message, body)
	return err
}

func listen(t *testing.T) (addr string, r *receiver) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = &receiver{}
	server := smtp.NewServer(r)
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ln.Addr().String(), r
}

// parts returns the SHA-256 of every leaf of a message, by its media type.
func parts(t *testing.T, message []byte) map[string]string {
	t.Helper()
	r, err := mail.CreateReader(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		mediaType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.New()
		if _, err := io.Copy(digest, part.Body); err != nil {
			t.Fatal(err)
		}
		found[mediaType] = hex.EncodeToString(digest.Sum(nil))
	}
}

func sendNodemailer(t testing.TB, addr string, m Mail) Sent {
	t.Helper()
	return SendNodemailer(t, addr, NodemailerOptions{}, m)[0]
}

func TestSMTPClients(t *testing.T) {
	m := Mail{
		From: "a@example.org", To: []string{"in@example.com", "b@example.com"}, Subject: "hello", Text: "one\n.two\nthree: ü\n",
		Seed: 7, AttachmentOctets: 300_001, AttachmentName: "file.bin",
	}
	t.Run("smtplib", func(t *testing.T) {
		addr, server := listen(t)
		m := m
		m.InlineOctets = 5000
		sent := SendSMTPLib(t, addr, m)
		sum := sha256.Sum256(server.message.Bytes())
		if got := hex.EncodeToString(sum[:]); sent.Code != 250 || got != sent.MessageSHA256 || int64(server.message.Len()) != sent.Octets {
			t.Fatalf("received %d octets with SHA-256 %s; sent %+v", server.message.Len(), got, sent)
		}
		got := parts(t, server.message.Bytes())
		for mediaType, want := range map[string]string{
			"application/octet-stream": sent.AttachmentSHA256, "image/png": sent.InlineSHA256, "text/plain": sent.TextSHA256,
		} {
			if got[mediaType] != want {
				t.Errorf("SHA-256 of %s: got %q, want %q", mediaType, got[mediaType], want)
			}
		}
		if again := SendSMTPLib(t, addr, m); again.AttachmentSHA256 != sent.AttachmentSHA256 {
			t.Errorf("the same seed gave %s, then %s", sent.AttachmentSHA256, again.AttachmentSHA256)
		}
	})
	t.Run("swaks", func(t *testing.T) {
		addr, server := listen(t)
		sent := SendSwaks(t, addr, m)
		if sent.Code != 250 {
			t.Fatalf("sent: %+v", sent)
		}
		got := parts(t, server.message.Bytes())["application/octet-stream"]
		if got != sent.AttachmentSHA256 {
			t.Errorf("SHA-256 of the file: got %q, want %q", got, sent.AttachmentSHA256)
		}
		if !bytes.Contains(server.message.Bytes(), []byte("one\r\n.two\r\nthree: ü\r\n")) {
			t.Errorf("the text is not in\n%.600s", server.message.Bytes())
		}
	})
	t.Run("nodemailer", func(t *testing.T) {
		addr, server := listen(t)
		sent := sendNodemailer(t, addr, m)
		if sent.Code != 250 {
			t.Fatalf("sent: %+v", sent)
		}
		got := parts(t, server.message.Bytes())["application/octet-stream"]
		if got != sent.AttachmentSHA256 {
			t.Errorf("SHA-256 of the file: got %q, want %q", got, sent.AttachmentSHA256)
		}
	})
	for name, send := range map[string]func(testing.TB, string, Mail) Sent{
		"smtplib": SendSMTPLib, "swaks": SendSwaks, "nodemailer": sendNodemailer,
	} {
		t.Run(name+" refused", func(t *testing.T) {
			addr, _ := listen(t)
			m := m
			m.To = []string{"nobody@example.com"}
			if sent := send(t, addr, m); sent.Code != 550 || sent.Reply != "5.1.1 no such user" {
				t.Errorf("got %d %q, want 550 5.1.1", sent.Code, sent.Reply)
			}
		})
		t.Run(name+" without a server", func(t *testing.T) {
			if sent := send(t, loopback(FreePort(t)), m); sent.Code != 0 || sent.Reply == "" {
				t.Errorf("got %d %q, want 0 and an error", sent.Code, sent.Reply)
			}
		})
	}
}
