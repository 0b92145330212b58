package smtpd_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
	"lsmtpd/bridge/smtpd"
)

// guessed is an Authenticator whose user has the password "secret", and that counts what it is asked.
type guessed struct{ asked *atomic.Int64 }

func (g guessed) Check(_ context.Context, user, password string) error {
	if g.asked != nil {
		g.asked.Add(1)
	}
	if user == "user" && password == "secret" {
		return nil
	}
	return smtpd.ErrCredentials
}

// answers sends text while it reads the replies, and returns them once the connection has ended.
func (c *client) answers(text string) (lines []string) {
	var sending sync.WaitGroup
	sending.Go(func() { _, _ = io.WriteString(c.Conn, text) }) // the server may be gone before the end
	defer sending.Wait()
	defer c.Close()
	scanner := bufio.NewScanner(c.r)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return lines
}

// count is how many of the lines begin so.
func count(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// heap is what is in use, once what is not has been collected.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A hundred thousand recipients, sent ahead: as many as may be are taken, and the client that goes on is sent away. Without
// a limit on commands all of them are answered, and the memory stays.
func TestManyRecipients(t *testing.T) {
	const recipients = 100_000
	text := "EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n" + strings.Repeat("RCPT TO:<in@example.com>\r\n", recipients)
	t.Run("limited", func(t *testing.T) {
		b := newBed(t, func(c *smtpd.Config) { c.MaxCommands = 1000 })
		lines := b.dial().answers(text)
		if got := count(lines, "250 2.1.5"); got != 100 {
			t.Errorf("%d recipients were taken, want 100", got)
		}
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "421 4.7.0") {
			t.Errorf("the last reply is %q, want 421 4.7.0", last)
		}
	})
	t.Run("unlimited", func(t *testing.T) {
		b := newBed(t, nil)
		c := b.dial()
		_ = c.SetDeadline(time.Now().Add(5 * long))
		before := heap()
		go func() { _, _ = io.WriteString(c.Conn, text) }()
		c.expect("220")
		c.expect("250")
		c.expect("250 2.1.0")
		for i := range recipients {
			want := "250 2.1.5"
			if i >= 100 {
				want = "452 4.5.3"
			}
			c.expect(want)
		}
		if grown := heap() - before; grown > 2<<20 {
			t.Errorf("%d octets more are in use", grown)
		}
		c.do("DATA", "354")
		c.do("body\r\n.", "250")
	})
}

// A megabyte in a line: with an end to it or without, the client is told and closed.
func TestEndlessLine(t *testing.T) {
	for _, end := range []string{"", "\r\n"} {
		b := newBed(t, nil)
		lines := b.dial().answers("EHLO client.example.org\r\n" + strings.Repeat("N", 1<<20) + end + "MAIL FROM:<a@example.org>\r\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "421 4.7.0") {
			t.Errorf("ended with %q: the last reply is %q, want 421 4.7.0", end, last)
		}
		if got := count(lines, "250 2.1.0"); got != 0 {
			t.Error("what came behind the line was carried out")
		}
	}
}

// Octets that no command may have are refused, and the session goes on.
func TestOctetsInCommands(t *testing.T) {
	b := newBed(t, nil)
	c := b.dial()
	c.play(beginning...)
	for _, l := range []line{
		{"NOOP \x00", "500 5.5.2"}, {"\x00", "500 5.5.2"}, {"NO\x00OP", "500 5.5.2"}, {"NOOP\x7f", "500 5.5.2"}, {"NO\rOP", "500 5.5.2"},
		{"NOOP \xff", "500 5.5.2"}, {"\xff\xfe", "500 5.5.2"}, {"NOOP é", "500 5.5.2"}, {"EHLO münchen.example", "500 5.5.2"}, {"RSET \x1b[31m", "500 5.5.2"},
		{"MAIL FROM:<a\x00@example.org>", "501 5.1.7"}, {"MAIL FROM:<ä@example.org>", "553 5.6.7"}, {"MAIL FROM:<a@exämple.org>", "553 5.6.7"},
		{"MAIL FROM:<\xff@example.org> SMTPUTF8", "501 5.1.7"}, {"MAIL FROM:<\xff@example.org>", "553 5.6.7"}, {"MAIL FROM:<a@example.org> B\xc3\xa4=1", "501 5.5.4"},
		{"MAIL FROM:<a@example.org>", "250"}, {"RCPT TO:<ä@example.com>", "553 5.6.7"}, {"RCPT TO:<in@example.com>", "250"},
		{"DATA", "354"}, {"body\r\n.", "250"},
		{"MAIL FROM:<ä@example.org> SMTPUTF8", "250"}, {"RCPT TO:<\xff@example.com>", "501 5.1.3"}, {"RCPT TO:<ö@exämple.com>", "250"},
		{"DATA", "354"}, {"body\r\n.", "250"},
	} {
		c.play(l)
	}
	if list := b.published(); len(list) != 2 || list[1].Envelope.MailFrom.Email != "ä@example.org" {
		t.Errorf("published %+v", list)
	}
}

// What a browser can be made to send is not carried out beyond its first line.
func TestHTTP(t *testing.T) {
	const mail = "EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<in@example.com>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"
	headers := fmt.Sprintf("Host: 127.0.0.1:25\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(mail))
	for name, request := range map[string]string{
		"GET":              "GET / HTTP/1.1\r\n",
		"POST":             "POST / HTTP/1.1\r\n",
		"POST 1.0":         "POST / HTTP/1.0\r\n",
		"PUT":              "PUT /a HTTP/1.1\r\n",
		"OPTIONS":          "OPTIONS * HTTP/1.1\r\n",
		"HTTP/2":           "PRI * HTTP/2.0\r\n",
		"a long path":      "POST /" + strings.Repeat("a", 20_000) + " HTTP/1.1\r\n",
		"octets in a path": "POST /\xc3\xa4 HTTP/1.1\r\n",
		"no version":       "GET /\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, nil)
			lines := b.dial().answers(request + headers + mail)
			if count(lines, "250") != 0 || count(lines, "354") != 0 || len(b.published()) != 0 {
				t.Errorf("answered %q, and published %d messages", lines, len(b.published()))
			}
			if len(lines) != 2 || !strings.HasPrefix(lines[1], "421 ") {
				t.Errorf("answered %q, want 220 and 421", lines)
			}
		})
	}
}

// A client that begins TLS where there is none yet sees that there is none.
func TestTLSToAPlainPort(t *testing.T) {
	b := newBed(t, nil)
	c := b.dial()
	if err := tls.Client(c.Conn, &tls.Config{ServerName: "mx.example.com"}).Handshake(); !errors.As(err, new(tls.RecordHeaderError)) {
		t.Errorf("the handshake ended with %v", err)
	}
	c = b.dial()
	c.expect("220")
	c.write("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello with a newline in it \n" + strings.Repeat("\x01", 300) + "\r\n")
	c.play(line{"", "500 5.5.2"}, line{"", "500 5.5.2"}, line{"NOOP", "250"})
}

// What is sent with STARTTLS, ahead of the handshake, is thrown away, and what was said before is forgotten.
func TestInjectedBeforeTLS(t *testing.T) {
	server, clientTLS := tlsPair(t)
	b := newBed(t, func(c *smtpd.Config) { c.TLS, c.Users, c.AllowInsecureAuth = server, guessed{}, true })
	c := b.dial()
	c.play(line{"", "220"}, line{"EHLO injected.example.org", "250"}, line{"AUTH PLAIN AHVzZXIAc2VjcmV0", "235"})
	c.play(line{"MAIL FROM:<injected@example.org>", "250"}, line{"STARTTLS", "503 5.5.1"}, line{"RSET", "250"}, line{"STARTTLS now", "501 5.5.4"})
	c.write("STARTTLS\r\nEHLO injected.example.org\r\nMAIL FROM:<injected@example.org>\r\nRCPT TO:<injected@example.com>\r\n")
	c.expect("220 2.0.0")
	c.handshake(clientTLS)
	c.play(line{"MAIL FROM:<a@example.org>", "503 5.5.1"}, line{"RCPT TO:<a@example.org>", "503 5.5.1"}, line{"DATA", "503 5.5.1"})
	c.play(line{"EHLO client.example.org", "250"}, line{"RCPT TO:<a@example.org>", "503 5.5.1"})
	c.play(onAndOn...)
	c.do("STARTTLS", "503 5.5.1")
	m := b.published()[0]
	if m.Envelope.Helo != "client.example.org" || m.Envelope.MailFrom.Email != "a@example.org" || len(m.Envelope.RcptTo) != 1 || m.Envelope.Protocol != "ESMTPS" {
		t.Errorf("published %+v", m.Envelope)
	}
}

// More than is read ahead, sent with STARTTLS: the handshake fails over it, and nothing of it is carried out.
func TestMuchInjectedBeforeTLS(t *testing.T) {
	server, _ := tlsPair(t)
	b := newBed(t, func(c *smtpd.Config) { c.TLS = server })
	lines := b.dial().answers("EHLO client.example.org\r\nSTARTTLS\r\n" + strings.Repeat("NOOP\r\n", 20_000))
	if last := lines[len(lines)-1]; count(lines, "250 2.0.0 ok") != 0 || strings.HasPrefix(last, "250") {
		t.Errorf("answered %q", lines)
	}
}

// Chunks without octets, and chunks of more than there can be, come to an end.
func TestChunks(t *testing.T) {
	for _, tc := range []struct{ chunks, want string }{ // want is the last reply before the end
		{strings.Repeat("BDAT 0\r\n", 50_000), "250 2.0.0 continue"},
		{strings.Repeat("BDAT 1\r\nx", 5000) + "NOOP now\r\nBDAT 0 LAST\r\nQUIT\r\nXYZZY\r\n", "250 2.0.0 queued as "},
		{"BDAT 9223372036854775807 LAST\r\n" + strings.Repeat("x", 3<<20), "552 5.3.4"},
		{"BDAT 9223372036854775808 LAST\r\n" + strings.Repeat("x", 3<<20), "501 5.5.4"},
		{"BDAT -1 LAST\r\n", "501 5.5.4"},
		{"BDAT 1 FIRST\r\nx", "501 5.5.4"},
		{"BDAT\r\n", "501 5.5.4"},
	} {
		b := newBed(t, func(c *smtpd.Config) { c.MaxCommands, c.DrainBytes = 1000, 1<<20 })
		lines := b.dial().answers("EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<in@example.com>\r\n" + tc.chunks)
		last, end := lines[len(lines)-2], lines[len(lines)-1]
		if !strings.HasPrefix(last, tc.want) || !strings.HasPrefix(end, "421 4.7.0") && !strings.HasPrefix(end, "221 ") {
			t.Errorf("%.40q: the last of %d replies are %q and %q, want %q and the end", tc.chunks, len(lines), last, end, tc.want)
		}
	}
}

// A session whose Session has panicked tells its client, also one that is still sending; the others are served.
func TestPanicInTheMiddle(t *testing.T) {
	srv, err := smtpd.Listen(smtpd.Config{Listen: []smtpd.Endpoint{{Scheme: "smtp", Network: "tcp", Address: "127.0.0.1:0"}}, Logger: slog.New(slog.DiscardHandler)},
		func(context.Context, bridge.Peer) smtpd.Session { return panicking{} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Run(ctx, ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	b := &bed{t: t, addr: srv.Addrs()[0].String()}
	other := b.dial()
	other.play(beginning...)
	for _, body := range []string{"body\r\n", strings.Repeat(strings.Repeat("x", 98)+"\r\n", 20_000)} {
		lines := b.dial().answers("EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<in@example.com>\r\nDATA\r\n" + body)
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "421 4.3.0") {
			t.Errorf("%d octets sent: the last reply is %q, want 421 4.3.0", len(body), last)
		}
	}
	other.play(line{"NOOP", "250"})
}

// panicking is a Session with a defect.
type panicking struct{}

func (panicking) Mail(string, *smtp.MailOptions) error { return nil }
func (panicking) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (panicking) Reset()                               {}

func (panicking) Deliver(_ context.Context, body io.Reader) (string, []error) {
	_, _ = body.Read(make([]byte, 3))
	panic("a defect")
}

// A client that has said all it will say hears what it has asked, and no more, in every phase.
func TestHalfClosed(t *testing.T) {
	const hello, mail, rcpt = "EHLO client.example.org\r\n", "MAIL FROM:<a@example.org>\r\n", "RCPT TO:<in@example.com>\r\n"
	b := newBed(t, func(c *smtpd.Config) {
		c.MaxConnections, c.MaxConnectionsPerIP = 0, 0
		c.Users, c.AllowInsecureAuth = guessed{}, true
	})
	for _, tc := range []struct{ sent, last string }{
		{"", "220"}, {"NOO", "220"}, {"NOOP", "220"}, {"NOOP\r", "220"}, {"NOOP\r\n", "250 2.0.0 ok"}, {hello, "250 "}, {hello + mail, "250 2.1.0"},
		{hello + mail + rcpt, "250 2.1.5"}, {hello + mail + rcpt + "DATA\r\n", "354"}, {hello + mail + rcpt + "DATA\r\nbody\r\n", "354"},
		{hello + mail + rcpt + "BDAT 3 LAST\r\nab", "250 2.1.5"}, {hello + mail + rcpt + "BDAT 3\r\nabc", "250 2.0.0 continue"}, {hello + mail + rcpt + "DATA\r\nbody\r\n.\r\n", "250 2.0.0 queued"},
		{hello + "AUTH PLAIN\r\n", "334"}, {hello + "AUTH LOGIN\r\ndXNlcg==\r\n", "334"}, {hello + "QUIT\r\n", "221"}, {"BDAT 10\r\nabc", "220"},
	} {
		c := b.dial()
		c.write(tc.sent)
		if err := tcpOf(c.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		lines := c.answers("")
		if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], tc.last) {
			t.Errorf("%q: answered %q, want %q to be the last", tc.sent, lines, tc.last)
		}
	}
	b.idle()
	if got := len(b.published()); got != 1 {
		t.Errorf("%d messages were published, want 1", got)
	}
}

// Two thousand connections of one client: fifty are served, the others are told that there are too many, and others are served.
func TestConnectionsOfOneClient(t *testing.T) {
	const connections, most = 2000, 50
	b := newBed(t, func(c *smtpd.Config) { c.MaxConnections, c.MaxConnectionsPerIP = 1000, most })
	var served, refused atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range connections / 8 {
				nc, err := net.Dial("tcp", b.addr)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { nc.Close() })
				_ = nc.SetDeadline(time.Now().Add(long))
				switch got := newClient(t, nc).reply(); {
				case strings.HasPrefix(got, "220 "):
					served.Add(1)
				case strings.HasPrefix(got, "421 4.7.0 "):
					refused.Add(1)
				default:
					t.Errorf("greeted with %q", got)
				}
			}
		})
	}
	clients.Wait()
	if served.Load() != most || refused.Load() != connections-most || b.limited("max_connections_per_ip") != connections-most {
		t.Errorf("%d served, %d refused, %v counted", served.Load(), refused.Load(), b.limited("max_connections_per_ip"))
	}
	c := b.from("127.0.0.2")
	c.play(beginning...)
	c.play(onAndOn...)
}

// Commands without mail come to an end.
func TestFlood(t *testing.T) {
	for _, command := range []string{"NOOP", "RSET", "EHLO x", "VRFY a", "HELP", "", "XYZZY", "MAIL FROM:<a@example.org>\r\nRSET"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, func(c *smtpd.Config) { c.MaxCommands, c.MaxErrors = 1000, 50 })
			lines := b.dial().answers("EHLO client.example.org\r\n" + strings.Repeat(command+"\r\n", 50_000))
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "421 4.7.0") || len(lines) > 20_000 {
				t.Errorf("%d replies, the last %q, want 421 4.7.0", len(lines), last)
			}
		})
	}
}

// Guessing passwords comes to an end, and no more are looked at than may be.
func TestGuessing(t *testing.T) {
	for _, guess := range []string{"AUTH PLAIN AHVzZXIAd3Jvbmc=\r\n", "AUTH LOGIN\r\ndXNlcg==\r\nd3Jvbmc=\r\n", "AUTH LOGIN dXNlcg==\r\nd3Jvbmc=\r\n"} {
		var asked atomic.Int64
		b := newBed(t, func(c *smtpd.Config) { c.Users, c.AllowInsecureAuth, c.MaxAuthAttempts = guessed{&asked}, true, 3 })
		lines := b.dial().answers("EHLO client.example.org\r\n" + strings.Repeat(guess, 100))
		if got := count(lines, "535 5.7.8"); got != 2 || asked.Load() != 3 || !strings.HasPrefix(lines[len(lines)-1], "421 4.7.0") {
			t.Errorf("%d refusals, %d looked at, the last reply %q; want 2, 3 and 421", got, asked.Load(), lines[len(lines)-1])
		}
	}
}

// Clients that never read what they asked for are closed when they have kept us waiting, and hold little until then.
func TestUnreadReplies(t *testing.T) {
	const clients = 10
	b := newBed(t, func(c *smtpd.Config) {
		c.MaxConnections, c.MaxConnectionsPerIP, c.WriteTimeout = 0, 0, 500*time.Millisecond
	})
	commands := []byte(strings.Repeat("HELP\r\n", 100_000))
	before, peak := heap(), int64(0)
	var sending sync.WaitGroup
	for range clients {
		c := b.dial()
		_ = tcpOf(c.Conn).SetReadBuffer(4096)
		sending.Go(func() { _, _ = c.Conn.Write(commands) }) // until it is closed
	}
	eventually(t, "the clients are closed", func() bool {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, int64(m.HeapAlloc))
		return b.limited("write_timeout") == clients
	})
	sending.Wait()
	if grown := peak - before; grown > 32<<20 {
		t.Errorf("%d octets more were in use", grown)
	}
}
