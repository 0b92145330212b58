//go:build integration

package clients

import (
	"strings"
	"testing"

	"lsmtpd/integration/testbed"
)

// eximChunks are the options of Exim's transport with which it sends BDAT where that is offered.
const eximChunks = "hosts_try_chunking = *"

// eximTLS are those with which it insists on STARTTLS and on a certificate that it can verify.
func eximTLS(t *testing.T) []string {
	t.Helper()
	return []string{"hosts_require_tls = *", "tls_verify_hosts = *", "tls_verify_certificates = " + testbed.TestCerts(t).CA,
		"tls_verify_cert_hostnames ="} // the certificate has the address, which Exim does not look at
}

// TestExim has an Exim relay mail for several recipients, in chunks (RFC 3030) and by DATA.
func TestExim(t *testing.T) {
	b := serve(t, nil)
	for _, c := range []struct {
		name     string
		options  []string
		chunks   bool
		tls      bool
		protocol string
	}{
		{"DATA", []string{"hosts_try_chunking ="}, false, false, "ESMTP"},
		{"BDAT", []string{eximChunks}, true, false, "ESMTP"},
		{"DATA with STARTTLS", append(eximTLS(t), "hosts_try_chunking ="), false, true, "ESMTPS"},
		{"BDAT with STARTTLS", append(eximTLS(t), eximChunks), true, true, "ESMTPS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := c.options
			if !c.tls {
				options = append(options, "hosts_avoid_tls = *")
			}
			e := testbed.NewExim(t, b.smtp, options...)
			for _, octets := range []int64{1000, 300_000} {
				sent := newMail(t, octets)
				done := e.Send(t, "a@example.org", recipients, sent.path)
				wantSent(t, done, len(recipients))
				m := b.take(t, 1)[0]
				wantEnvelope(t, m, c.protocol, recipients...)
				b.wantWhole(t, m, sent.octets, sent.sum)
				for _, d := range done {
					wantField(t, d.Line, " K ", c.chunks)
					wantField(t, d.Line, " X=TLS", c.tls)
				}
			}
		})
	}
}

// wantField checks what Exim has noted of the way it took: K is CHUNKING, X the cipher suite.
func wantField(t *testing.T, line, field string, want bool) {
	t.Helper()
	if got := strings.Contains(line, field); got != want {
		t.Errorf("%q is in the log: %t, want %t: %s", field, got, want, line)
	}
}
