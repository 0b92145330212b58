//go:build integration

package testbed

import (
	"bytes"
	"net/smtp"
	"strings"
	"testing"
)

const relayed = "From: a@example.org\r\nSubject: relayed\r\n\r\none\r\n.two\r\n"

// wantRelayed checks what became of a mail to in@example.com and nobody@example.com, whom the server does not know.
func wantRelayed(t *testing.T, server *receiver, done []RelayDelivery) {
	t.Helper()
	if len(done) != 2 {
		t.Fatalf("the relay has dealt with %+v, want two recipients", done)
	}
	for _, d := range done {
		if d.Sent != (d.Recipient == "in@example.com") || !d.Sent && !strings.Contains(d.Line, "550 5.1.1") {
			t.Errorf("got %+v, want in@example.com sent and nobody@example.com refused with 550 5.1.1", d)
		}
	}
	if got := server.message.Bytes(); !bytes.HasSuffix(got, []byte("\r\n\r\none\r\n.two\r\n")) || !bytes.Contains(got, []byte("Subject: relayed\r\n")) {
		t.Errorf("the server has got %q", got)
	}
}

func TestPostfixRelays(t *testing.T) {
	addr, server := listen(t)
	p := StartPostfix(t, map[string]string{"default_transport": "smtp:" + strings.Replace("["+addr, ":", "]:", 1)})
	// With the null reverse-path, so that Postfix sends no notice, which would be the next message.
	if err := smtp.SendMail(p.Addr, nil, "", []string{"in@example.com", "nobody@example.com"}, []byte(relayed)); err != nil {
		t.Fatal(err)
	}
	wantRelayed(t, server, p.Deliveries(t, 2))
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestEximRelays(t *testing.T) {
	addr, server := listen(t)
	e := NewExim(t, addr, "hosts_avoid_tls = *")
	wantRelayed(t, server, e.Send(t, "<>", []string{"in@example.com", "nobody@example.com"}, inFile(t, "mail", []byte(relayed))))
}

func TestSMTPSource(t *testing.T) {
	addr, server := listen(t)
	SMTPSource(t, "-m", "3", "-l", "2000", "inet:"+addr)
	if n := server.message.Len(); n < 2000 {
		t.Errorf("the last message has %d octets, want at least 2000", n)
	}
}
