package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/schema"
)

// served starts serve with a node of its own, whose queue is mail, until the test ends.
func served(t *testing.T, flags ...string) (*process, *devbroker.Broker) {
	t.Helper()
	node, at := devbroker.Start(t, devbroker.Config{})
	return start(t, environment(t, "LSMTPD_BROKER_URL="+at), "", append([]string{"serve"}, flags...)...), node
}

// published waits for n messages in the queue mail and returns the last one.
func published(t *testing.T, node *devbroker.Broker, n int) *schema.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	messages, err := node.WaitMessages(ctx, "mail", n)
	if err != nil {
		t.Fatalf("%d messages in the queue, want %d: %v", len(node.Messages("mail")), n, err)
	}
	data, err := messages[n-1].Data()
	if err != nil {
		t.Fatal(err)
	}
	m, err := schema.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestServe(t *testing.T) {
	t.Parallel()
	p, node := served(t, "--smtp.hostname=mx.example.org", "--admin.listen=127.0.0.1:0")
	c := dialSMTP(t, p.listens("smtp"))
	c.send("250 2.0.0 queued as ", small)
	if m := published(t, node, 1); m.Envelope.Helo != "client.example" || m.Envelope.Protocol != "ESMTP" {
		t.Errorf("got envelope %+v, want it from client.example by ESMTP", m.Envelope)
	}
	p.signals <- syscall.SIGTERM
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	contains(t, "log", p.err.String(), `msg="lsmtpd serves"`, "broker_address=mail", "endpoint=http://127.0.0.1:", "outcome=", `msg="lsmtpd stopped"`)
}

func TestGreetingNamesTheHost(t *testing.T) {
	t.Parallel()
	p, _ := served(t, "--smtp.hostname=mx.example.org")
	conn, err := net.DialTimeout("tcp", p.listens("smtp"), long)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := make([]byte, 512)
	n, err := conn.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "220 mx.example.org ") {
		t.Errorf("greeting %q, %v; want 220 mx.example.org", line[:n], err)
	}
}

func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p, _ := served(t, "--shutdown_timeout=1h")
	at := p.listens("smtp")
	c := dialSMTP(t, at)
	c.do("250 ", "MAIL FROM:<a@example.org>")
	c.do("250 ", "RCPT TO:<b@example.com>")
	c.do("354 ", "DATA")
	p.signals <- syscall.SIGTERM
	for { // the first signal closes the listener, and the transaction goes on
		conn, err := net.DialTimeout("tcp", at, long)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case <-p.ended:
		t.Fatal("the first signal ended a transaction that had an hour")
	default:
	}
	p.signals <- syscall.SIGTERM
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	contains(t, "log", p.err.String(), "transactions are cut short")
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	tests := []struct {
		name, flag string
		want       []string
	}{
		{"smtp.listen", "--smtp.listen=smtp://" + at, []string{"smtp.listen: cannot listen on smtp://" + at, "free the port or choose another"}},
		{"smtp.listen, second", "--smtp.listen=127.0.0.1:0,lmtp://" + at, []string{"smtp.listen: cannot listen on lmtp://" + at, "free the port or choose another"}},
		{"admin.listen", "--admin.listen=" + at, []string{"admin.listen: cannot listen on " + at, "free the port or choose another"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, text := runs(t, environment(t), "serve", tt.flag)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			contains(t, "error", text, tt.want...)
		})
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	certFile, keyFile, roots := certificate(t)
	// Not in t.TempDir, whose path may be longer than a socket's may.
	socket := filepath.Join(shortDir(t), "lmtp.sock")
	p, node := served(t, "--smtp.listen=smtp://127.0.0.1:0,smtps://127.0.0.1:0,lmtp://127.0.0.1:0,lmtp://"+socket,
		"--smtp.tls.cert_file="+certFile, "--smtp.tls.key_file="+keyFile, "--smtp.tls.required")
	config := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	count := 0
	arrives := func(t *testing.T, protocol string, isTLS bool) {
		t.Helper()
		count++
		m := published(t, node, count)
		if m.Envelope.Protocol != protocol || (m.Envelope.TLS != nil) != isTLS {
			t.Errorf("got protocol %s and TLS %v, want %s and %v", m.Envelope.Protocol, m.Envelope.TLS != nil, protocol, isTLS)
		}
	}
	t.Run("smtp without TLS where it is required", func(t *testing.T) {
		// RFC 3207 §4
		c := dialSMTP(t, p.listens("smtp"))
		c.do("530 5.7.0 ", "MAIL FROM:<a@example.org>")
	})
	t.Run("STARTTLS", func(t *testing.T) {
		c := dialSMTP(t, p.listens("smtp"))
		c.do("220 ", "STARTTLS")
		conn := tls.Client(c.net, config)
		c = &client{t: t, Conn: textproto.NewConn(conn), net: conn}
		c.do("250 ", "EHLO client.example")
		c.send("250 2.0.0 ", small)
		arrives(t, "ESMTPS", true)
	})
	t.Run("smtps", func(t *testing.T) {
		conn, err := tls.Dial("tcp", p.listens("smtps"), config)
		if err != nil {
			t.Fatal(err)
		}
		greeted(t, conn, "EHLO").send("250 2.0.0 ", small)
		arrives(t, "ESMTPS", true)
	})
	t.Run("lmtp", func(t *testing.T) {
		conn, err := net.Dial("tcp", p.listens("lmtp"))
		if err != nil {
			t.Fatal(err)
		}
		c := greeted(t, conn, "LHLO")
		c.do("530 5.7.0 ", "MAIL FROM:<a@example.org>")
		c.do("220 ", "STARTTLS")
		secure := tls.Client(conn, config)
		c = &client{t: t, Conn: textproto.NewConn(secure), net: secure}
		c.do("250 ", "LHLO client.example")
		c.send("250 2.0.0 ", small)
		arrives(t, "LMTPS", true)
	})
	t.Run("lmtp on a socket", func(t *testing.T) {
		p.await("endpoint=lmtp://" + socket)
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		greeted(t, conn, "LHLO").send("250 2.0.0 ", small)
		arrives(t, "LMTP", false)
	})
}

// What the files say is in force with the next connection, without a restart.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	certFile, keyFile, _ := certificate(t)
	newCert, newKey, newRoots := certificate(t)
	users := write(t, "users", "# nobody yet\n")
	p, _ := served(t, "--smtp.listen=smtps://127.0.0.1:0", "--smtp.tls.cert_file="+certFile, "--smtp.tls.key_file="+keyFile, "--smtp.auth.users_file="+users)
	at := p.listens("smtps")
	config := &tls.Config{RootCAs: newRoots, ServerName: "127.0.0.1"}
	if conn, err := tls.Dial("tcp", at, config); err == nil {
		conn.Close()
		t.Fatal("the server has the new certificate before it was written")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{certFile: newCert, keyFile: newKey} {
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(users, []byte("scanner:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", at, config)
	if err != nil {
		t.Fatalf("after the new certificate was written: %v", err)
	}
	greeted(t, conn, "EHLO").do("235 ", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00scanner\x00secret")))
}

func TestReplies(t *testing.T) {
	t.Parallel()
	const limit = 2048
	p, node := served(t, fmt.Sprintf("--smtp.max_message_bytes=%d", limit), "--smtp.max_recipients=2")
	at := p.listens("smtp")
	message := func(octets int) string {
		text := "Subject: filled\r\n\r\n"
		for len(text)+100 < octets {
			text += strings.Repeat("x", 78) + "\r\n"
		}
		return text + strings.Repeat("y", octets-len(text)-2) + "\r\n"
	}
	t.Run("SIZE of the limit", func(t *testing.T) {
		dialSMTP(t, at).do("250 ", fmt.Sprintf("MAIL FROM:<a@example.org> SIZE=%d", limit))
	})
	t.Run("SIZE one above", func(t *testing.T) {
		dialSMTP(t, at).do("552 5.3.4 ", fmt.Sprintf("MAIL FROM:<a@example.org> SIZE=%d", limit+1))
	})
	t.Run("octets of the limit", func(t *testing.T) {
		dialSMTP(t, at).send("250 2.0.0 ", message(limit))
		if m := published(t, node, 1); m.Email.Size != limit {
			t.Errorf("%d octets arrived, want %d", m.Email.Size, limit)
		}
	})
	t.Run("octets one above", func(t *testing.T) {
		c := dialSMTP(t, at)
		c.send("552 5.3.4 ", message(limit+1))
		c.send("250 2.0.0 ", message(limit)) // the session goes on
		published(t, node, 2)
	})
	chunk := func(c *client, want string, octets int) {
		c.do("250 ", "MAIL FROM:<a@example.org>")
		c.do("250 ", "RCPT TO:<b@example.com>")
		c.do(want, fmt.Sprintf("BDAT %d LAST\r\n%s", octets, strings.TrimSuffix(message(octets), "\r\n")))
	}
	t.Run("chunk of the limit", func(t *testing.T) {
		chunk(dialSMTP(t, at), "250 2.0.0 ", limit)
		published(t, node, 3)
	})
	t.Run("chunk one above", func(t *testing.T) {
		chunk(dialSMTP(t, at), "552 5.3.4 ", limit+1)
	})
	t.Run("dots do not count", func(t *testing.T) {
		text := message(limit - 4)
		dialSMTP(t, at).send("250 2.0.0 ", text+".x\r\n")
		if m := published(t, node, 4); m.Email.Size != limit {
			t.Errorf("%d octets arrived, want %d", m.Email.Size, limit)
		}
	})
	t.Run("recipients", func(t *testing.T) {
		c := dialSMTP(t, at)
		c.do("250 ", "MAIL FROM:<a@example.org>")
		c.do("250 ", "RCPT TO:<b@example.com>")
		c.do("250 ", "RCPT TO:<c@example.com>")
		c.do("452 4.5.3 ", "RCPT TO:<d@example.com>")
		c.do("354 ", "DATA")
		c.do("250 2.0.0 ", small+".")
		if m := published(t, node, 5); len(m.Envelope.RcptTo) != 2 {
			t.Errorf("%d recipients arrived, want 2", len(m.Envelope.RcptTo))
		}
	})
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	p, _ := served(t, "--smtp.max_connections_per_ip=1", "--log.format=json")
	at := p.await(`"msg":"listening","endpoint":"smtp://([^"]+)"`)
	dialSMTP(t, at)
	conn, err := net.DialTimeout("tcp", at, long)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	refused := &client{t: t, Conn: textproto.NewConn(conn), net: conn}
	refused.reply("connection", "421 4.7.0 ")
}

// What orchestrators and Prometheus ask for.
func TestAdmin(t *testing.T) {
	t.Parallel()
	p, _ := served(t, "--admin.listen=127.0.0.1:0")
	dialSMTP(t, p.listens("smtp")).send("250 ", small)
	for path, wants := range map[string][]string{
		"healthz": {`"alive":true`},
		"readyz":  {`"ready":true`},
		"metrics": {"lsmtpd_broker_up 1", "lsmtpd_store_up 1", "lsmtpd_deliveries_in_flight 0", "lsmtpd_upload_memory_used_bytes 0", "lsmtpd_upload_memory_limit_bytes 6.7108864e+07", "lsmtpd_uploads_waiting 0"},
	} {
		status, body := get(t, p, path)
		if status != http.StatusOK {
			t.Errorf("/%s: status %d, want 200", path, status)
		}
		contains(t, "/"+path, body, wants...)
	}
}

func TestExposedListenerIsWarnedOf(t *testing.T) {
	t.Parallel()
	p, _ := served(t, "--smtp.listen=0.0.0.0:0")
	p.await(`level=WARN msg="this listener takes mail from whoever can reach it.*endpoint=smtp://0.0.0.0:0`)
	p, _ = served(t, "--smtp.listen=0.0.0.0:0", "--smtp.allow=example.com")
	p.await("lsmtpd serves")
	if log := p.err.String(); strings.Contains(log, "whoever can reach it") {
		t.Errorf("warned of a listener with an allow list:\n%s", log)
	}
}

// Who may send, and for whom, as it is configured.
func TestAdmission(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := write(t, "users", "scanner:"+string(hash)+"\n")
	p, node := served(t, "--smtp.auth.users_file="+users, "--smtp.auth.allow_insecure", "--smtp.auth.required", "--smtp.auth.max_attempts=1",
		"--smtp.allow=example.com,scan+*@example.net", "--smtp.xclient_from=127.0.0.0/8")
	c := dialSMTP(t, p.listens("smtp"))
	c.do("530 5.7.0 ", "MAIL FROM:<a@example.org>")
	c.do("220 ", "XCLIENT ADDR=192.0.2.7 HELO=scanner.example PROTO=ESMTP")
	c.do("235 2.7.0 ", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00scanner\x00secret")))
	c.do("250 ", "MAIL FROM:<a@example.org>")
	c.do("550 5.1.1 ", "RCPT TO:<in@example.net>")
	c.do("250 ", "RCPT TO:<scan+1@EXAMPLE.net>")
	c.do("250 ", "RCPT TO:<postmaster>")
	c.do("354 ", "DATA")
	c.do("550 5.6.0 ", "Subject: x\n\r\n.")
	c.send("250 ", small)
	m := published(t, node, 1)
	if e := m.Envelope; e.ClientAddress != "192.0.2.7" || e.Helo != "scanner.example" || e.Protocol != "ESMTPA" || e.AuthenticatedAs == nil || *e.AuthenticatedAs != "scanner" {
		t.Errorf("got the envelope %+v", e)
	}
	c = dialSMTP(t, p.listens("smtp"))
	c.do("421 4.7.0 ", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00scanner\x00wrong")))
}

func TestWarningsAreLogged(t *testing.T) {
	t.Parallel()
	p := start(t, environment(t, "LSMTPD_LOG_LEVL="+secretText), "", "serve")
	p.await(`level=WARN msg=configuration warning="unknown environment variable LSMTPD_LOG_LEVL; did you mean LSMTPD_LOG_LEVEL\?"`)
}

// shortDir is a temporary folder with a short path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // the path of a socket has about 100 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
