package testbed

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// proxied is a connection through a new proxy, seen from both ends.
type proxied struct {
	*Proxy
	t              *testing.T
	ln             net.Listener
	client, server *net.TCPConn
}

func newProxied(t *testing.T) *proxied {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	p := &proxied{Proxy: NewProxy(t, ln.Addr().String()), t: t, ln: ln}
	p.connect()
	return p
}

func (p *proxied) connect() {
	p.t.Helper()
	client, err := net.Dial("tcp", p.Addr())
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := p.ln.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, conn := range []net.Conn{client, server} {
		p.t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.client, p.server = client.(*net.TCPConn), server.(*net.TCPConn)
	p.waitLive(1)
}

// passes wants octets to come through unchanged.
func (p *proxied) passes(from, to net.Conn, octets int) {
	p.t.Helper()
	want := bytes.Repeat([]byte("0123456789abcdef"), octets/16+1)[:octets]
	written := make(chan error, 1)
	go func() { _, err := from.Write(want); written <- err }()
	got := make([]byte, octets)
	if n, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, want) {
		p.t.Fatalf("%d of %d octets came, error %v, equal: %t", n, octets, err, bytes.Equal(got, want))
	}
	if err := <-written; err != nil {
		p.t.Fatal(err)
	}
}

func (p *proxied) ends(conn net.Conn, want error) {
	p.t.Helper()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		p.t.Errorf("read: got %d octets, %v; want the error %v", n, err, want)
	}
}

func (p *proxied) waitLive(want int) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.Live() != want && time.Now().Before(deadline) {
		<-tick.C
	}
	if got := p.Live(); got != want {
		p.t.Errorf("live connections: got %d, want %d", got, want)
	}
}

func TestProxyPasses(t *testing.T) {
	p := newProxied(t)
	p.passes(p.client, p.server, 300_000)
	p.passes(p.server, p.client, 300_000)
	if live, total := p.Live(), p.Total(); live != 1 || total != 1 {
		t.Errorf("got %d live of %d connections, want 1 of 1", live, total)
	}
	if err := p.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.ends(p.server, io.EOF)
	p.passes(p.server, p.client, 10) // the other direction is still there
	if err := p.server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.ends(p.client, io.EOF)
	p.waitLive(0)
}

func TestProxyPassesReset(t *testing.T) {
	p := newProxied(t)
	p.passes(p.client, p.server, 10)
	if err := p.server.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	p.server.Close()
	p.ends(p.client, syscall.ECONNRESET)
	p.waitLive(0)
}

func TestProxyCuts(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(*Proxy) int
		want error
	}{
		{"reset", (*Proxy).Reset, syscall.ECONNRESET},
		{"close", (*Proxy).Close, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProxied(t)
			p.passes(p.client, p.server, 10)
			if got := tt.cut(p.Proxy); got != 1 {
				t.Errorf("connections cut: got %d, want 1", got)
			}
			p.ends(p.client, tt.want)
			p.ends(p.server, tt.want)
			p.waitLive(0)
			p.connect()
			p.passes(p.client, p.server, 10)
		})
	}
}

func TestProxyStalls(t *testing.T) {
	p := newProxied(t)
	p.passes(p.client, p.server, 10)
	p.Stall()
	if _, err := p.client.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	p.client.CloseWrite()
	// Long enough for loopback; a proxy that is slower than that only makes the test weaker.
	if err := p.server.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := p.server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while it stalls: got %d octets, %v; want a timeout", n, err)
	}
	p.Resume()
	if err := p.server.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p.server); err != nil || string(got) != "late" {
		t.Errorf("afterwards: got %q, %v; want what was sent meanwhile, and the end", got, err)
	}
}

// A proxy that stalls can be cut, and ends with its test.
func TestProxyCutWhileStalled(t *testing.T) {
	p := newProxied(t)
	p.Stall()
	if _, err := p.client.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	p.ends(p.client, syscall.ECONNRESET)
	p.ends(p.server, syscall.ECONNRESET)
	p.connect()
	if _, err := p.client.Write([]byte("lost too")); err != nil {
		t.Fatal(err)
	}
}

func TestProxyLimits(t *testing.T) {
	p := newProxied(t)
	p.Limit(1000, 0)
	p.passes(p.server, p.client, 100_000)
	written := make(chan struct{})
	go func() {
		// Where the limit cuts it off, the rest cannot be written.
		_, _ = p.client.Write(make([]byte, 100_000))
		close(written)
	}()
	if got, err := io.ReadAll(p.server); err != nil || len(got) != 1000 {
		t.Errorf("got %d octets, %v; want 1000 and the end", len(got), err)
	}
	<-written
	p.waitLive(0)
	p.Limit(0, 0)
	p.connect()
	p.passes(p.client, p.server, 100_000)
}

func TestProxyRefuses(t *testing.T) {
	p := newProxied(t)
	p.Refuse(true)
	if conn, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: got %v, %v; want it refused", conn, err)
	}
	p.passes(p.client, p.server, 10)
	p.Refuse(false)
	p.Close()
	p.connect()
	p.passes(p.client, p.server, 10)
}

// The toxics can be put in and taken out while octets pass; that they take time is seen, not measured.
func TestProxyToxics(t *testing.T) {
	p := newProxied(t)
	for _, change := range []func(){
		func() { p.Latency(5*time.Millisecond, time.Millisecond) },
		func() { p.Bandwidth(100_000) },
		func() { p.SlowClose(5 * time.Millisecond) },
		func() { p.Latency(time.Millisecond, 0) },
		func() { p.Latency(0, 0) },
		func() { p.Bandwidth(0) },
	} {
		change()
		begin := time.Now()
		p.passes(p.client, p.server, 50_000)
		p.passes(p.server, p.client, 50_000)
		t.Logf("to and fro in %v", time.Since(begin))
	}
	p.client.Close()
	p.ends(p.server, io.EOF)
}

func TestProxyServerAway(t *testing.T) {
	p := newProxied(t)
	p.ln.Close()
	client, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p.ends(client, io.EOF)
	p.passes(p.client, p.server, 10)
}

func TestProxyURL(t *testing.T) {
	p := NewProxy(t, "127.0.0.1:1")
	if got, want := p.URL("amqp://a:b@127.0.0.1:1/x"), "amqp://a:b@"+p.Addr()+"/x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
