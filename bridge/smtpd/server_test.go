package smtpd_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/smtpd"
	"lsmtpd/extract"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

const address = "mail"

// long bounds every wait.
const long = 20 * time.Second

// bed is a Server in front of a scripted node and a directory store.
type bed struct {
	t       *testing.T
	broker  *devbroker.Broker
	root    string
	addr    string
	metrics *prometheus.Registry
	stop    context.CancelFunc // begins the shutdown
	force   context.CancelFunc
	ended   chan struct{} // Run has returned
}

func newBed(t *testing.T, change func(*smtpd.Config)) *bed {
	t.Helper()
	return newBedFor(t, func(c *smtpd.Config, _ *bridge.Config) {
		if change != nil {
			change(c)
		}
	})
}

// newBedFor lets both configurations be changed.
func newBedFor(t *testing.T, change func(*smtpd.Config, *bridge.Config)) *bed {
	t.Helper()
	b := &bed{t: t, root: t.TempDir(), metrics: prometheus.NewRegistry(), ended: make(chan struct{})}
	var raw string
	b.broker, raw = devbroker.Start(t, devbroker.Config{})
	u, err := publish.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	pc := publish.Config{ContainerID: "test", Logger: log}
	pc.URLs = append(pc.URLs, u)
	p := publish.New(pc)
	bc := bridge.Config{
		Hostname: "mx.example.com", Address: address, MaxMessageBytes: 1 << 20, MaxRecipients: 100,
		OffloadThreshold: 64 << 10, MaxInlineBytes: 256 << 10, Limits: extract.Limits{MaxHeaderBytes: 1 << 20, MaxParts: 1000, MaxDepth: 100},
		Memory: 64 << 20, Digest: true, SettleTimeout: long, MaxPublishBytes: 1 << 20,
	}
	cfg := smtpd.Config{Listen: []smtpd.Endpoint{{Scheme: "smtp", Network: "tcp", Address: "127.0.0.1:0"}}, Hostname: "mx.example.com",
		MaxMessageBytes: 1 << 20, MaxRecipients: 100, MaxConnections: 10, MaxConnectionsPerIP: 10, CommandTimeout: long, DataTimeout: long, ShutdownTimeout: long, Logger: log, Registry: b.metrics}
	change(&cfg, &bc)
	br, err := bridge.New(bc, p, objectstore.NewDir(b.root), b.metrics, log)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := smtpd.Listen(cfg, func(ctx context.Context, p bridge.Peer) smtpd.Session { return br.NewSession(ctx, p) })
	if err != nil {
		t.Fatal(err)
	}
	b.addr = srv.Addrs()[0].String()
	background, endBackground := context.WithCancel(context.Background())
	var run, force context.Context
	run, b.stop = context.WithCancel(context.Background())
	force, b.force = context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(background) })
	wg.Go(func() { br.Run(background) })
	wg.Go(func() {
		defer close(b.ended)
		if err := srv.Run(run, force); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { b.stop(); b.force(); <-b.ended; endBackground(); wg.Wait() })
	return b
}

// client is one end of an SMTP dialogue.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (b *bed) dial() *client {
	b.t.Helper()
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(long)); err != nil {
		b.t.Fatal(err)
	}
	return newClient(b.t, nc)
}

func newClient(t *testing.T, nc net.Conn) *client { return &client{t, nc, bufio.NewReader(nc)} }

// write sends text as it is.
func (c *client) write(text string) {
	c.t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// reply is the last line of the next reply, "" when the connection has ended.
func (c *client) reply() string {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(line, "\r\n")
		}
	}
}

// expect reads a reply that begins with want.
func (c *client) expect(want string) {
	c.t.Helper()
	if got := c.reply(); !strings.HasPrefix(got, want) {
		c.t.Fatalf("reply %q, want %q", got, want)
	}
}

// begin leads the dialogue up to the message.
func (c *client) begin(hello string, rcpts ...string) {
	c.t.Helper()
	c.expect("220")
	c.do(hello+" client.example.org", "250")
	c.do("MAIL FROM:<a@example.org>", "250")
	for _, r := range rcpts {
		c.do("RCPT TO:<"+r+">", "250")
	}
}

func (c *client) do(command, want string) {
	c.t.Helper()
	c.write(command + "\r\n")
	c.expect(want)
}

func (b *bed) files() (list []string) {
	err := filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we look
		}
		if err == nil && !d.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *bed) published() (list []*schema.Message) {
	for _, raw := range b.broker.Messages(address) {
		body, err := raw.Data()
		if err != nil {
			b.t.Fatal(err)
		}
		m, err := schema.Decode(body)
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(long); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// attachment is a message with n octets that go to the store, up to their end.
func attachment(n int) string {
	return "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + strings.Repeat(strings.Repeat("x", 998)+"\r\n", n/1000)
}

func TestSeveralMailsOnAConnection(t *testing.T) {
	b := newBed(t, nil)
	c := b.dial()
	c.begin("EHLO", "in@example.com")
	for i := range 3 {
		if i > 0 {
			c.do("MAIL FROM:<>", "250")
			c.do("RCPT TO:<in@example.com>", "250")
		}
		c.do("DATA", "354")
		c.do(fmt.Sprintf("Subject: %d\r\n\r\n..dot\r\n.", i), "250 2.0.0 queued as ")
	}
	list := b.published()
	if len(list) != 3 || *list[2].Email.Subject != "2" || list[2].Email.BodyValues["1"].Value != ".dot\n" || list[2].Envelope.MailFrom.Email != "" {
		t.Errorf("published %+v", list)
	}
}

func TestBinaryByBDAT(t *testing.T) {
	b := newBed(t, nil)
	c := b.dial()
	c.expect("220")
	c.do("EHLO client.example.org", "250")
	c.do("MAIL FROM:<a@example.org> BODY=BINARYMIME", "250")
	c.do("RCPT TO:<in@example.com>", "250")
	header := "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	octets := []byte("\r\n.\r\n\r\n\r\r\n")
	for i := range 5000 {
		octets = append(octets, byte(i))
	}
	c.write(fmt.Sprintf("BDAT %d\r\n%s", len(header), header))
	c.expect("250")
	c.write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(octets), octets))
	c.expect("250")
	m := b.published()[0]
	if !bytes.Equal(m.Blobs["b1"].Inline, octets) {
		t.Errorf("%d octets came out of %d, or others", len(m.Blobs["b1"].Inline), len(octets))
	}
}

// A client that is gone in the middle of a message leaves nothing behind.
func TestDisconnect(t *testing.T) {
	for _, command := range []string{"DATA\r\n", "BDAT 900000\r\n", "BDAT 900000 LAST\r\n"} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s reset %v", strings.TrimSpace(command), reset), func(t *testing.T) {
				b := newBed(t, nil)
				c := b.dial()
				c.begin("EHLO", "in@example.com")
				c.write(command)
				if command == "DATA\r\n" {
					c.expect("354")
				}
				c.write(attachment(500_000))
				eventually(t, "the upload begins", func() bool { return len(b.files()) > 0 })
				if reset {
					_ = c.Conn.(*net.TCPConn).SetLinger(0)
				}
				c.Close()
				eventually(t, "the upload is gone", func() bool { return len(b.files()) == 0 })
				b.stop()
				<-b.ended
				if got := b.published(); len(got) != 0 {
					t.Errorf("%d messages were published", len(got))
				}
			})
		}
	}
}

// go-smtp lets a second MAIL through and keeps the recipients of the first.
func TestNestedMail(t *testing.T) {
	b := newBed(t, nil)
	c := b.dial()
	c.begin("EHLO", "first@example.com")
	c.do("MAIL FROM:<b@example.org>", "503 5.5.1")
	c.do("DATA", "354")
	c.do("Subject: x\r\n\r\nbody\r\n.", "250")
	c.do("MAIL FROM:<b@example.org>", "250")
	c.do("RSET", "250")
	c.do("MAIL FROM:<c@example.org>", "250")
	c.do("RCPT TO:<second@example.com>", "250")
	c.do("DATA", "354")
	c.do("Subject: y\r\n\r\nbody\r\n.", "250")
	list := b.published()
	if len(list) != 2 || list[0].Envelope.RcptTo[0].Email != "first@example.com" || list[1].Envelope.MailFrom.Email != "c@example.org" {
		t.Errorf("published %+v", list)
	}
}

// The end of the stream is never the end of a message.
func TestBDATLastCutShort(t *testing.T) {
	b := newBed(t, nil)
	for range 30 {
		c := b.dial()
		c.begin("EHLO", "in@example.com")
		c.write("BDAT 100 LAST\r\n")
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := c.reply(); strings.HasPrefix(got, "2") {
			t.Fatalf("reply %q to a message that was cut short", got)
		}
	}
	if got := b.published(); len(got) != 0 {
		t.Errorf("%d messages were published", len(got))
	}
}

// A stall, and a store that is away, are told as temporary under BDAT, too.
func TestBDATTemporary(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		b := newBed(t, func(c *smtpd.Config) { c.DataTimeout = 300 * time.Millisecond })
		c := b.dial()
		c.begin("EHLO", "in@example.com")
		c.write("BDAT 100 LAST\r\nSubject")
		c.expect("421 4.4.2")
	})
	for _, scheme := range []string{"smtp", "lmtp"} {
		t.Run("store away, "+scheme, func(t *testing.T) {
			b := newBed(t, func(c *smtpd.Config) { c.Listen[0].Scheme = scheme })
			eventually(t, "a file is where the store's folder was", func() bool {
				_ = os.Remove(b.root) // a probe of the store may make it again
				return os.WriteFile(b.root, nil, 0o600) == nil
			})
			c := b.dial()
			c.begin(map[string]string{"smtp": "EHLO", "lmtp": "LHLO"}[scheme], "in@example.com")
			c.write("BDAT 500077\r\n" + attachment(500_000))
			c.expect("451")
		})
	}
}

func TestLMTP(t *testing.T) {
	b := newBed(t, func(c *smtpd.Config) { c.Listen[0].Scheme = "lmtp" })
	c := b.dial()
	c.begin("LHLO", "one@example.com", "two@example.com")
	c.do("DATA", "354")
	c.write("Subject: x\r\n\r\nbody\r\n.\r\n")
	c.expect("250 2.0.0 <one@example.com> queued as ")
	c.expect("250 2.0.0 <two@example.com> queued as ")
	if list := b.published(); len(list) != 1 || list[0].Envelope.Protocol != "LMTP" || len(list[0].Envelope.RcptTo) != 2 {
		t.Errorf("published %+v", list)
	}
}

func TestConnectionLimits(t *testing.T) {
	b := newBed(t, func(c *smtpd.Config) { c.MaxConnections = 3; c.MaxConnectionsPerIP = 2 })
	first, second := b.dial(), b.dial()
	first.expect("220")
	second.expect("220")
	b.dial().expect("421 4.7.0")
	first.do("QUIT", "221")
	eventually(t, "there is room again", func() bool { return strings.HasPrefix(b.dial().reply(), "220") })
}

func TestShutdownLetsATransactionFinish(t *testing.T) {
	b := newBed(t, nil)
	idle, busy := b.dial(), b.dial()
	idle.begin("EHLO", "in@example.com")
	busy.begin("EHLO", "in@example.com")
	busy.do("DATA", "354")
	busy.write(attachment(500_000))
	eventually(t, "the upload begins", func() bool { return len(b.files()) > 0 })
	b.stop()
	idle.expect("421") // a session that waits for a command is ended
	busy.write(".\r\n")
	busy.expect("250")
	busy.expect("421")
	<-b.ended
	if list := b.published(); len(list) != 1 || len(b.files()) != 1 {
		t.Errorf("%d messages, %d objects, want one of each", len(list), len(b.files()))
	}
}

func TestForcedShutdownCleansUp(t *testing.T) {
	b := newBed(t, nil)
	c := b.dial()
	c.begin("EHLO", "in@example.com")
	c.do("DATA", "354")
	c.write(attachment(500_000))
	eventually(t, "the upload begins", func() bool { return len(b.files()) > 0 })
	b.stop()
	b.force()
	<-b.ended
	if list := b.published(); len(list) != 0 || len(b.files()) != 0 {
		t.Errorf("%d messages and the files %v are left", len(list), b.files())
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	cfg := smtpd.Config{Listen: []smtpd.Endpoint{{Scheme: "lmtp", Network: "unix", Address: path}}}
	if _, err := smtpd.Listen(cfg, nil); err == nil || !strings.Contains(err.Error(), "smtp.listen") {
		t.Errorf("a socket that is in use: %v, want an error that names smtp.listen", err)
	}
	stale.Close()
	cfg.Listen[0].Mode = 0o626
	s, err := smtpd.Listen(cfg, nil)
	if err != nil {
		t.Fatalf("a socket that was left behind: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o626 {
		t.Errorf("the socket is %v, %v; want mode 0626", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:25":          "smtp://127.0.0.1:25",
		"smtps://[::1]:465":     "smtps://[::1]:465",
		"lmtp:///run/lmtp.sock": "lmtp:///run/lmtp.sock",

		"lmtp:///run/lmtp.sock?mode=666": "lmtp:///run/lmtp.sock?mode=0666",
	} {
		if e, err := smtpd.ParseEndpoint(text); err != nil || e.String() != want {
			t.Errorf("ParseEndpoint(%q) = %q, %v; want %q", text, e, err, want)
		}
	}
	for _, text := range []string{"", "smtp://", "smtp://host", "http://host:80", "smtp://host:25/path", "lmtp://",
		"lmtp:///run/x?mode=rw", "lmtp:///run/x?mode=1777", "lmtp:///run/x?mode=0", "lmtp:///run/x?owner=postfix", "lmtp://127.0.0.1:24?mode=0666"} {
		if e, err := smtpd.ParseEndpoint(text); err == nil {
			t.Errorf("ParseEndpoint(%q) = %q, want an error", text, e)
		}
	}
}
