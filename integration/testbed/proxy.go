package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/log"
)

// Proxy stands between clients and a TCP server and does to their connections what networks do. Its methods may be
// called while it runs, from any goroutine, and act on the connections there are and on those to come. It begins by
// passing everything on, ends of a stream and resets too, and ends with its test.
//
// toxiproxy holds the octets up; the connections themselves are ours, because it can neither reset one that is there,
// nor pass on an end in one direction, nor tell how many there are. Latency, Bandwidth and SlowClose wait until octets
// that are on their way have been passed on: not while it stalls, or while nobody reads them.
type Proxy struct {
	t        testing.TB
	addr     string // HOST:PORT, the same for the whole life
	upstream string
	link     *toxiproxy.Proxy // only its toxics are used
	server   *toxiproxy.ApiServer
	limits   [stream.NumDirections]atomic.Int64
	running  sync.WaitGroup // the accepting goroutine, and two of each connection

	mu    sync.Mutex
	ln    net.Listener // nil while it refuses
	ended bool
	conns map[*proxyConn]bool
	total int
	gate  chan struct{} // closed, except while it stalls
}

// NewProxy starts a proxy in front of the server at HOST:PORT, which need not be there yet: a client whose connection
// cannot be passed on is disconnected.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{t: t, addr: loopback(port), upstream: upstream, conns: map[*proxyConn]bool{}, gate: make(chan struct{})}
	close(p.gate)
	quietToxics()
	p.server = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p.link = toxiproxy.NewProxy(p.server, "testbed", p.addr, upstream)
	p.Refuse(false)
	t.Cleanup(p.end)
	return p
}

// quietToxics keeps a toxic from tracing itself to standard error, by the one logger of its package.
var quietToxics = sync.OnceFunc(func() { log.Logger = zerolog.Nop() })

// Addr returns HOST:PORT of the proxy.
func (p *Proxy) Addr() string { return p.addr }

// URL returns a URL of the server with the proxy in the server's place. Certificates of the test bed are valid for both.
func (p *Proxy) URL(rawURL string) string {
	p.t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil || u.Host != p.upstream {
		p.t.Errorf("the URL %q is not one of the server %s behind the proxy", rawURL, p.upstream)
		return rawURL
	}
	u.Host = p.addr
	return u.String()
}

// proxyTo starts a proxy in front of the server of a URL, and returns the URL with the proxy in the server's place.
func proxyTo(t testing.TB, rawURL string) (p *Proxy, through string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil || u.Port() == "" {
		t.Fatalf("a proxy needs a URL with host and port, not %q", rawURL)
	}
	p = NewProxy(t, u.Host)
	return p, p.URL(rawURL)
}

// Live returns how many connections there are.
func (p *Proxy) Live() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Total returns how many connections have been passed on so far.
func (p *Proxy) Total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// Latency delays what passes by delay, give or take jitter, in each direction; both in whole milliseconds. Zero ends it.
func (p *Proxy) Latency(delay, jitter time.Duration) {
	p.toxic("latency", delay > 0 || jitter > 0, fmt.Sprintf(`"latency": %d, "jitter": %d`, delay.Milliseconds(), jitter.Milliseconds()))
}

// Bandwidth lets that many thousand octets a second pass in each direction of each connection; 0 is no limit.
func (p *Proxy) Bandwidth(kilobytesPerSecond int64) {
	p.toxic("bandwidth", kilobytesPerSecond > 0, fmt.Sprintf(`"rate": %d`, kilobytesPerSecond))
}

// SlowClose delays the end of each direction of a connection by delay, in whole milliseconds. Zero ends it.
func (p *Proxy) SlowClose(delay time.Duration) {
	p.toxic("slow_close", delay > 0, fmt.Sprintf(`"delay": %d`, delay.Milliseconds()))
}

// toxic puts a toxic of toxiproxy into both directions, in the place of one of the kind that is there, or takes it away.
func (p *Proxy) toxic(kind string, on bool, attributes string) {
	for _, direction := range []string{"upstream", "downstream"} {
		// That there is none is the only error.
		_ = p.link.Toxics.RemoveToxic(context.Background(), kind+"_"+direction)
		if !on {
			continue
		}
		config := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": {%s}}`, kind, direction, attributes)
		if _, err := p.link.Toxics.AddToxicJson(strings.NewReader(config)); err != nil {
			p.t.Errorf("the proxy in front of %s: %s: %v", p.upstream, kind, err)
		}
	}
}

// Limit closes every connection when that many octets of it have come from the client or, the second, from the server,
// all those counted since it began; 0 is no limit.
func (p *Proxy) Limit(fromClient, fromServer int64) {
	p.limits[stream.Upstream].Store(fromClient)
	p.limits[stream.Downstream].Store(fromServer)
}

// Stall lets nothing pass any more, neither octets nor ends, until Resume; connections stay and new ones are taken.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
		p.gate = make(chan struct{})
	default: // it does already
	}
}

// Resume ends Stall: what waited goes on.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

func (p *Proxy) gateNow() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate
}

// Reset breaks all connections with a TCP reset to both ends, and returns how many there were: one that a client has
// just made may not be among them yet. New ones are taken.
func (p *Proxy) Reset() int { return p.cut(true) }

// Close closes all connections at both ends, losing what is on its way, and returns how many there were. New ones are
// taken.
func (p *Proxy) Close() int { return p.cut(false) }

func (p *Proxy) cut(reset bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cut(reset)
	}
	n := len(p.conns)
	clear(p.conns)
	return n
}

// Refuse has new connections refused, as by a server that is not running, or taken again. It leaves those there are.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.ln != nil:
		p.ln.Close()
		p.ln = nil
	case !on && p.ln == nil && !p.ended:
		ln, err := net.Listen("tcp", p.addr)
		if err != nil {
			p.t.Errorf("the proxy in front of %s: %v", p.upstream, err)
			return
		}
		p.ln = ln
		p.running.Go(func() { p.accept(ln) })
	}
}

func (p *Proxy) accept(ln net.Listener) {
	for {
		client, err := ln.Accept()
		if err != nil {
			return // closed by Refuse
		}
		server, err := net.DialTimeout("tcp", p.upstream, clientTimeout)
		if err != nil {
			client.Close()
			continue
		}
		p.pass(&proxyConn{client: client.(*net.TCPConn), server: server.(*net.TCPConn), gone: make(chan struct{})})
	}
}

// pass has toxiproxy move the octets of a connection in both directions.
func (p *Proxy) pass(c *proxyConn) {
	p.mu.Lock()
	if p.ended {
		c.cut(false)
		p.mu.Unlock()
		return
	}
	p.conns[c] = true
	p.total++
	name := fmt.Sprint(p.total)
	p.running.Add(2)
	p.mu.Unlock()
	up := &proxyStream{proxy: p, conn: c, from: c.client, to: c.server, limit: &p.limits[stream.Upstream]}
	down := &proxyStream{proxy: p, conn: c, from: c.server, to: c.client, limit: &p.limits[stream.Downstream]}
	p.link.Toxics.StartLink(p.server, name+" up", up, up, stream.Upstream)
	p.link.Toxics.StartLink(p.server, name+" down", down, down, stream.Downstream)
}

func (p *Proxy) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.Refuse(true)
	p.Resume()
	p.Close()
	p.link.Toxics.ResetToxics(context.Background())
	ended := make(chan struct{})
	go func() { p.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(clientTimeout):
		p.t.Errorf("the proxy in front of %s has not ended within %v", p.upstream, clientTimeout)
	}
}

// proxyConn is a connection of a client and the one to the server.
type proxyConn struct {
	client, server *net.TCPConn
	once           sync.Once
	gone           chan struct{} // closed when both are
	done           atomic.Int32  // how many directions have ended
}

func (c *proxyConn) cut(reset bool) {
	c.once.Do(func() {
		for _, conn := range []*net.TCPConn{c.client, c.server} {
			if reset {
				// An error means that it is broken already, as is meant.
				_ = conn.SetLinger(0)
			}
			conn.Close()
		}
		close(c.gone)
	})
}

// proxyStream is one direction of a connection: what toxiproxy reads from and writes to.
type proxyStream struct {
	proxy    *Proxy
	conn     *proxyConn
	from, to *net.TCPConn
	limit    *atomic.Int64
	octets   int64 // read so far
	end      error // how reading has ended
}

// Read returns io.EOF for every kind of end; Close looks at which it was.
func (s *proxyStream) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	if limit := s.limit.Load(); limit > 0 && s.octets+int64(n) >= limit {
		n, err = int(max(0, limit-s.octets)), errProxyLimit
	}
	s.octets += int64(n)
	if err != nil {
		s.end, err = err, io.EOF
	}
	return n, err
}

var errProxyLimit = errors.New("the limit of octets is reached")

// Write passes octets on. What cannot be is dropped, so that toxiproxy's part of the connection always comes to its end.
func (s *proxyStream) Write(b []byte) (int, error) {
	s.awaitGate()
	if _, err := s.to.Write(b); err != nil {
		s.conn.cut(true) // also the end that still lives
	}
	return len(b), nil
}

func (s *proxyStream) awaitGate() {
	select {
	case <-s.proxy.gateNow():
	case <-s.conn.gone:
	}
}

// Close passes the end of this direction on: as an end, or as a reset. toxiproxy calls it once.
func (s *proxyStream) Close() error {
	defer s.proxy.running.Done()
	s.awaitGate()
	switch {
	case errors.Is(s.end, io.EOF):
		// An error means that the other end is gone, which the other direction sees.
		_ = s.to.CloseWrite()
	case errors.Is(s.end, errProxyLimit):
		s.conn.cut(false)
	default:
		s.conn.cut(true)
	}
	if s.conn.done.Add(1) == int32(stream.NumDirections) {
		s.conn.cut(false)
		s.proxy.mu.Lock()
		delete(s.proxy.conns, s.conn)
		s.proxy.mu.Unlock()
	}
	return nil
}
