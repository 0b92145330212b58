//go:build integration

package clients

import (
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// user is who most clients say they are. asciiUser is there for smtplib, which cannot send any other password.
const (
	user, password           = "printer@example.org", "Tr0ub4dor & 3 = ü"
	asciiUser, asciiPassword = "scanner", "correct horse battery staple"
)

// usersFile writes a users file in the format of htpasswd.
func usersFile(t *testing.T) string {
	t.Helper()
	var lines strings.Builder
	for name, secret := range map[string]string{user: password, asciiUser: asciiPassword} {
		hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(name + ":" + string(hash) + "\n")
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// swaks sends the mail of this package by swaks and returns what came of it and the digest of its attachment.
func swaks(t *testing.T, octets int64, args ...string) (run testbed.SwaksRun, sum string) {
	t.Helper()
	m := newMail(t, octets)
	return testbed.RunSwaks(t, append([]string{"--from", "a@example.org", "--to", "in@example.com", "--helo", "witness.example",
		"--data", "@" + m.path, "--no-strip-from"}, args...)...), m.sum
}

// wantAccepted sends a mail by swaks that has to arrive, and returns it with what swaks saw.
func (b *bridge) wantAccepted(t *testing.T, protocol string, args ...string) (*schema.Message, testbed.SwaksRun) {
	t.Helper()
	const octets = 100_000
	run, sum := swaks(t, octets, args...)
	if run.Code != 250 || !queued.MatchString(run.Reply) {
		t.Fatalf("the reply is %d %s, want 250 2.0.0 queued as …\n%s", run.Code, run.Reply, run.Transcript)
	}
	m := b.take(t, 1)[0]
	wantEnvelope(t, m, protocol, "in@example.com")
	b.wantWhole(t, m, octets, sum)
	return m, run
}

// queued is the text of the reply to the end of data; LMTP may name the recipient in it.
var queued = regexp.MustCompile(`2\.0\.0 (<\S+> )?queued as [0-9a-f-]{36}`)

// wantRefused sends a mail by swaks that must not arrive.
func (b *bridge) wantRefused(t *testing.T, args ...string) testbed.SwaksRun {
	t.Helper()
	run, _ := swaks(t, 1000, args...)
	if queued.MatchString(run.Transcript) {
		t.Errorf("the mail was taken:\n%s", run.Transcript)
	}
	b.take(t, 0)
	return run
}

// pipelinedBySwaks are the commands of a transaction without a reply between them.
var pipelinedBySwaks = regexp.MustCompile(`(?m)^ [-~]> MAIL FROM:.*\n [-~]> RCPT TO:.*\n [-~]> DATA\n`)

func TestSwaks(t *testing.T) {
	b := serve(t, nil)
	ca := []string{"--tls-verify", "--tls-ca-path", testbed.TestCerts(t).CA}
	smtp, smtps, lmtp := swaksAt(t, b.smtp), swaksAt(t, b.smtps), swaksAt(t, b.lmtp)
	for _, c := range []struct {
		name, protocol string
		args           []string
		pipelined      bool
	}{
		{"SMTP", "ESMTP", smtp, false},
		{"SMTP without extensions", "SMTP", append([]string{"--protocol", "SMTP"}, smtp...), false},
		{"pipelined", "ESMTP", append([]string{"--pipeline"}, smtp...), true},
		{"STARTTLS", "ESMTPS", slices.Concat([]string{"--tls"}, ca, smtp), false},
		{"STARTTLS, pipelined", "ESMTPS", slices.Concat([]string{"--tls", "--pipeline"}, ca, smtp), true},
		{"TLS on connect", "ESMTPS", slices.Concat([]string{"--tls-on-connect"}, ca, smtps), false},
		{"LMTP", "LMTP", append([]string{"--protocol", "LMTP"}, lmtp...), false},
		{"LMTP, pipelined", "LMTP", append([]string{"--protocol", "LMTP", "--pipeline"}, lmtp...), true},
		{"LMTP on a unix socket", "LMTP", []string{"--protocol", "LMTP", "--socket", b.socket}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, run := b.wantAccepted(t, c.protocol, c.args...)
			if m.Envelope.Helo != "witness.example" {
				t.Errorf("the client is %q, want witness.example", m.Envelope.Helo)
			}
			if pipelined := pipelinedBySwaks.MatchString(run.Transcript); pipelined != c.pipelined {
				t.Errorf("swaks has pipelined: %t, want %t\n%s", pipelined, c.pipelined, run.Transcript)
			}
		})
	}
}

func TestSwaksAuth(t *testing.T) {
	b := serve(t, settings{"smtp.auth.users_file": usersFile(t), "smtp.auth.required": "true"})
	starttls := append([]string{"--tls"}, swaksAt(t, b.smtp)...)
	login := func(method, password string) []string {
		return []string{"--auth", method, "--auth-user", user, "--auth-password", password}
	}
	for _, method := range []string{"PLAIN", "LOGIN"} {
		t.Run(method, func(t *testing.T) {
			m, _ := b.wantAccepted(t, "ESMTPSA", append(login(method, password), starttls...)...)
			if m.Envelope.AuthenticatedAs == nil || *m.Envelope.AuthenticatedAs != user {
				t.Errorf("authenticated as %v, want %s", m.Envelope.AuthenticatedAs, user)
			}
		})
		t.Run(method+" over TLS on connect", func(t *testing.T) {
			b.wantAccepted(t, "ESMTPSA", slices.Concat(login(method, password), []string{"--tls-on-connect"}, swaksAt(t, b.smtps))...)
		})
		t.Run(method+" with a wrong password", func(t *testing.T) {
			run := b.wantRefused(t, append(login(method, "guess"), starttls...)...)
			if !regexp.MustCompile(`(?m)^<~\* 535 5\.7\.8 `).MatchString(run.Transcript) {
				t.Errorf("there is no reply 535 5.7.8:\n%s", run.Transcript)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if run := b.wantRefused(t, starttls...); run.Code != 530 {
			t.Errorf("the reply is %d %s, want 530", run.Code, run.Reply)
		}
	})
	t.Run("in clear", func(t *testing.T) {
		run := b.wantRefused(t, append(login("PLAIN", password), swaksAt(t, b.smtp)...)...)
		if strings.Contains(run.Transcript, "AUTH PLAIN") {
			t.Errorf("AUTH is offered without TLS:\n%s", run.Transcript)
		}
	})
}

func TestSwaksXCLIENT(t *testing.T) {
	attributes := []string{"--xclient-addr", "192.0.2.7", "--xclient-name", "client.example", "--xclient-helo", "helo.example", "--xclient-proto", "ESMTP"}
	t.Run("from a peer that may", func(t *testing.T) {
		b := serve(t, settings{"smtp.xclient_from": "127.0.0.0/8"})
		m, _ := b.wantAccepted(t, "ESMTP", append(attributes, swaksAt(t, b.smtp)...)...)
		if m.Envelope.ClientAddress != "192.0.2.7" {
			t.Errorf("the client is at %q, want 192.0.2.7", m.Envelope.ClientAddress)
		}
		// It need not say anything.
		if m, _ := b.wantAccepted(t, "ESMTP", swaksAt(t, b.smtp)...); m.Envelope.ClientAddress != "127.0.0.1" {
			t.Errorf("without XCLIENT the client is at %q, want 127.0.0.1", m.Envelope.ClientAddress)
		}
	})
	t.Run("on a unix socket", func(t *testing.T) {
		b := serve(t, settings{"smtp.xclient_from": "unix"})
		lmtp := []string{"--protocol", "LMTP", "--socket", b.socket}
		m, _ := b.wantAccepted(t, "LMTP", append([]string{"--xclient-addr", "IPV6:2001:db8::7"}, lmtp...)...)
		if m.Envelope.ClientAddress != "2001:db8::7" {
			t.Errorf("the client is at %q, want 2001:db8::7", m.Envelope.ClientAddress)
		}
		b.wantRefused(t, append(attributes, swaksAt(t, b.smtp)...)...)
	})
	t.Run("from another peer", func(t *testing.T) {
		b := serve(t, settings{"smtp.xclient_from": "192.0.2.1"})
		run := b.wantRefused(t, append(attributes, swaksAt(t, b.smtp)...)...)
		if strings.Contains(run.Transcript, "250-XCLIENT") || strings.Contains(run.Transcript, "250 XCLIENT") {
			t.Errorf("XCLIENT is offered:\n%s", run.Transcript)
		}
		// What was not offered, swaks does not send.
		conn, err := textproto.Dial("tcp", b.smtp)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, step := range []struct {
			line string
			code int
		}{{"", 220}, {"EHLO client.example", 250}, {"XCLIENT ADDR=192.0.2.7", 5}, {"QUIT", 221}} {
			if step.line != "" {
				if err := conn.PrintfLine("%s", step.line); err != nil {
					t.Fatal(err)
				}
			}
			if code, text, err := conn.ReadResponse(step.code); err != nil {
				t.Fatalf("the reply to %q is %d %s (%v), want %d", step.line, code, text, err, step.code)
			}
		}
	})
}

func TestSwaksPROXY(t *testing.T) {
	// header are the arguments for a PROXY header, whose names for the family differ by version.
	header := func(version string) []string {
		family := map[string]string{"1": "TCP4", "2": "AF_INET"}[version]
		return []string{"--proxy-version", version, "--proxy-family", family, "--proxy-source", "192.0.2.9", "--proxy-source-port", "4321",
			"--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25"}
	}
	t.Run("from a proxy", func(t *testing.T) {
		b := serve(t, settings{"smtp.proxy_from": "127.0.0.1", "smtp.handshake_timeout": "2s"})
		for _, version := range []string{"1", "2"} {
			t.Run("version "+version, func(t *testing.T) {
				for _, tls := range []struct {
					protocol string
					args     []string
				}{
					{"ESMTP", swaksAt(t, b.smtp)},
					{"ESMTPS", append([]string{"--tls"}, swaksAt(t, b.smtp)...)},
					{"ESMTPS", append([]string{"--tls-on-connect"}, swaksAt(t, b.smtps)...)},
				} {
					m, _ := b.wantAccepted(t, tls.protocol, append(header(version), tls.args...)...)
					if m.Envelope.ClientAddress != "192.0.2.9" {
						t.Errorf("by %s the client is at %q, want 192.0.2.9", tls.protocol, m.Envelope.ClientAddress)
					}
				}
			})
		}
		t.Run("without a header", func(t *testing.T) {
			if run := b.wantRefused(t, swaksAt(t, b.smtp)...); strings.Contains(run.Transcript, "-> MAIL") {
				t.Errorf("the reply is %d %s, want none that lets swaks begin\n%s", run.Code, run.Reply, run.Transcript)
			}
		})
	})
	t.Run("from another peer", func(t *testing.T) {
		b := serve(t, settings{"smtp.proxy_from": "192.0.2.1"})
		for _, version := range []string{"1", "2"} {
			t.Run("version "+version, func(t *testing.T) {
				// The header is a command like any other there, and swaks takes its refusal for the end.
				b.wantRefused(t, append(header(version), swaksAt(t, b.smtp)...)...)
			})
		}
		b.wantAccepted(t, "ESMTP", swaksAt(t, b.smtp)...)
	})
}

// swaksAt are the arguments with which swaks finds an address.
func swaksAt(t *testing.T, addr string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--server", host, "--port", port}
}
