package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge"
)

// bound is how long a dialogue may take in all. Where time is a bubble's it costs nothing.
const bound = 24 * time.Hour

// rig is a Server whose connections are pipes, in front of a Backend that keeps what it gets. In a synctest bubble its
// time is the bubble's.
type rig struct {
	t *testing.T
	*Server
	registry *prometheus.Registry
	taken    *taken
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, registry: prometheus.NewRegistry(), taken: &taken{}}
	cfg := Config{Hostname: "mx.example.com", Logger: slog.New(slog.DiscardHandler), Registry: r.registry}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Server, err = Listen(cfg, r.taken.session); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); r.end() })
	return r
}

// limited is how often the limit was reached.
func (r *rig) limited(name string) float64 {
	return r.metric("lsmtpd_smtp_limit_reached_total", name)
}

// metric is the value of a counter, or of one with a label.
func (r *rig) metric(name, label string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	r.t.Fatalf("no metric %s of %q", name, label)
	return 0
}

// peerConn is one end of a pipe as if it had come from an address.
type peerConn struct {
	net.Conn
	peer net.Addr
}

func (c *peerConn) RemoteAddr() net.Addr { return c.peer }

// dialogue is the client's end of a session.
type dialogue struct {
	t       *testing.T
	pipe    net.Conn
	conn    net.Conn // pipe, or TLS above it
	r       *bufio.Reader
	written chan struct{} // closed when all of the writes so far have ended
}

// dial connects as the client 192.0.2.1.
func (r *rig) dial(scheme string) *dialogue { return r.dialFrom(scheme, "192.0.2.1") }

func (r *rig) dialFrom(scheme, from string) *dialogue {
	return r.connect(Endpoint{Scheme: scheme, Network: "tcp", Address: "test"}, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1025)))
}

// dialUnix connects to a unix socket.
func (r *rig) dialUnix(scheme string) *dialogue {
	return r.connect(Endpoint{Scheme: scheme, Network: "unix", Address: "/test"}, &net.UnixAddr{Net: "unix"})
}

func (r *rig) connect(e Endpoint, peer net.Addr) *dialogue {
	ours, theirs := net.Pipe()
	d := &dialogue{t: r.t, pipe: ours, conn: ours, r: bufio.NewReader(ours), written: make(chan struct{})}
	close(d.written)
	r.t.Cleanup(func() { ours.Close(); <-d.written })
	_ = ours.SetDeadline(time.Now().Add(bound))
	r.serve(e, &peerConn{theirs, peer})
	return d
}

// upgrade puts TLS on the dialogue.
func (d *dialogue) upgrade(cfg *tls.Config) {
	d.t.Helper()
	<-d.written
	c := tls.Client(d.pipe, cfg)
	if err := c.Handshake(); err != nil {
		d.t.Fatalf("handshake: %v", err)
	}
	d.conn, d.r = c, bufio.NewReader(c)
}

// write sends text after what was sent before, and does not wait for it. Each call is a read of its own for the server.
func (d *dialogue) write(text string) {
	before, done := d.written, make(chan struct{})
	d.written = done
	go func() {
		defer close(done)
		<-before
		_, _ = d.conn.Write([]byte(text)) // a server that is gone is seen by the replies
	}()
}

// answer is the next reply without its last line end, "" when the connection has ended.
func (d *dialogue) answer() string {
	var lines []string
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return ""
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// expect reads a reply that begins with want, "" for the end of the connection.
func (d *dialogue) expect(want string) string {
	d.t.Helper()
	got := d.answer()
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		d.t.Fatalf("reply %q, want %q", got, want)
	}
	return got
}

// do sends a command, and expects a reply that begins with want.
func (d *dialogue) do(command, want string) string {
	d.t.Helper()
	d.write(command + "\r\n")
	got := d.answer()
	if !strings.HasPrefix(got, want) {
		d.t.Fatalf("reply %q to %.60q, want %q", got, command, want)
	}
	return got
}

// transaction leads up to the message.
func (d *dialogue) transaction() {
	d.t.Helper()
	d.do("MAIL FROM:<a@example.org>", "250")
	d.do("RCPT TO:<in@example.com>", "250")
}

// greeted goes through the greetings, and through STARTTLS where cfg is given.
func (d *dialogue) greeted(cfg *tls.Config) *dialogue {
	d.t.Helper()
	d.expect("220")
	d.do("EHLO client.example.org", "250")
	if cfg != nil {
		d.do("STARTTLS", "220")
		d.upgrade(cfg)
		d.do("EHLO client.example.org", "250")
	}
	return d
}

// taken is a Backend that keeps what it gets.
type taken struct {
	called  func(method string)                                // may panic, or wait; nil: nothing
	deliver func(context.Context, io.Reader) (string, []error) // nil: takes the message

	mu       sync.Mutex
	peers    []bridge.Peer // of each Session
	calls    []string
	messages []string // whole ones
}

func (k *taken) session(_ context.Context, p bridge.Peer) Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peers = append(k.peers, p)
	return &takenSession{k}
}

func (k *taken) note(method, what string) {
	k.mu.Lock()
	k.calls = append(k.calls, strings.TrimSpace(method+" "+what))
	k.mu.Unlock()
	if k.called != nil {
		k.called(method)
	}
}

// peer is what the last Session was told of its client.
func (k *taken) peer() bridge.Peer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.peers[len(k.peers)-1]
}

// all are the calls so far.
func (k *taken) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

// last are the messages taken since the last call.
func (k *taken) last() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.messages
	k.messages = nil
	return m
}

type takenSession struct{ *taken }

func (s *takenSession) Mail(from string, _ *smtp.MailOptions) error { s.note("Mail", from); return nil }
func (s *takenSession) Rcpt(to string, _ *smtp.RcptOptions) error   { s.note("Rcpt", to); return nil }
func (s *takenSession) Reset()                                      { s.note("Reset", "") }

func (s *takenSession) Deliver(ctx context.Context, body io.Reader) (string, []error) {
	s.note("Deliver", "")
	if s.deliver != nil {
		return s.deliver(ctx, body)
	}
	message, err := io.ReadAll(body)
	if err != nil {
		return "", []error{err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, string(message))
	return fmt.Sprintf("message-%d", len(s.messages)), []error{nil}
}
