//go:build integration

package clients

import (
	"net"
	"regexp"
	"testing"

	"lsmtpd/integration/testbed"
)

// postfixTo are the parameters of Postfix for what lies behind TLS or not.
func postfixTo(t *testing.T, transport string, tls bool) map[string]string {
	t.Helper()
	parameters := map[string]string{"default_transport": transport, "smtp_tls_security_level": "none", "lmtp_tls_security_level": "none"}
	if tls {
		certs := testbed.TestCerts(t)
		for _, client := range []string{"smtp", "lmtp"} {
			parameters[client+"_tls_security_level"] = "encrypt"
			parameters[client+"_tls_CAfile"] = certs.CA
			parameters[client+"_tls_loglevel"] = "1" // whether it could verify the certificate
		}
	}
	return parameters
}

// bracketed is an address as Postfix wants it: without a look for MX records.
func bracketed(t *testing.T, addr string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return "[" + host + "]:" + port
}

// TestPostfix has a Postfix relay mail for several recipients.
func TestPostfix(t *testing.T) {
	b := serve(t, nil)
	for _, c := range []struct {
		name, transport string
		tls             bool
		protocol        string
	}{
		{"SMTP", "smtp:" + bracketed(t, b.smtp), false, "ESMTP"},
		{"SMTP with STARTTLS", "smtp:" + bracketed(t, b.smtp), true, "ESMTPS"},
		{"LMTP", "lmtp:inet:" + b.lmtp, false, "LMTP"},
		{"LMTP with STARTTLS", "lmtp:inet:" + b.lmtp, true, "LMTPS"},
		{"LMTP on a unix socket", "lmtp:unix:" + b.socket, false, "LMTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testbed.StartPostfix(t, postfixTo(t, c.transport, c.tls))
			const mails = 5
			sent := newMail(t, 300_000)
			for range mails {
				sent.submit(t, p.Addr, recipients...)
			}
			wantSent(t, p.Deliveries(t, mails*len(recipients)), mails*len(recipients))
			for _, m := range b.take(t, mails) {
				wantEnvelope(t, m, c.protocol, recipients...)
				b.wantWhole(t, m, sent.octets, sent.sum)
			}
			if trusted := regexp.MustCompile(`Trusted TLS connection established`).MatchString(p.Log()); trusted != c.tls {
				t.Errorf("Postfix has found a certificate it trusts: %t, want %t", trusted, c.tls)
			}
		})
	}
}

// pipelined is the group of commands that Postfix sends at once, in the log that it writes of a peer on request.
var pipelined = regexp.MustCompile(`(?s)smtp\[\d+\]: > [^\n]*: MAIL FROM:[^<]*<a@example\.org>[^\n]*\n` +
	`[^\n]*smtp\[\d+\]: > [^\n]*: RCPT TO:<in@example\.com>[^\n]*\n` +
	`[^\n]*smtp\[\d+\]: > [^\n]*: RCPT TO:<second@example\.com>[^\n]*\n` +
	`[^\n]*smtp\[\d+\]: > [^\n]*: RCPT TO:<third@example\.net>[^\n]*\n` +
	`[^\n]*smtp\[\d+\]: > [^\n]*: DATA\n`)

// TestPostfixPipelines shows that the relay of TestPostfix does what it is there for: it sends the whole envelope before
// it reads a reply.
func TestPostfixPipelines(t *testing.T) {
	b := serve(t, nil)
	parameters := postfixTo(t, "smtp:"+bracketed(t, b.smtp), false)
	parameters["debug_peer_list"] = "127.0.0.1"
	parameters["debug_peer_level"] = "1"
	p := testbed.StartPostfix(t, parameters)
	sent := newMail(t, 1000)
	sent.submit(t, p.Addr, recipients...)
	wantSent(t, p.Deliveries(t, len(recipients)), len(recipients))
	b.wantWhole(t, b.take(t, 1)[0], sent.octets, sent.sum)
	if !pipelined.MatchString(p.Log()) {
		t.Error("Postfix has not sent the envelope in one group")
	}
}
