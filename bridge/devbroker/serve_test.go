package devbroker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

// pipeListener accepts the far end of one net.Pipe, which synctest can follow.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs f with a client connected to a Broker, under synctest's clock. stop ends Serve and waits for it.
func inBubble(t *testing.T, cfg Config, f func(t *testing.T, c *rawClient, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		ln := &pipeListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
		near, far := net.Pipe()
		ln.conns <- far
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- New(cfg).Serve(ctx, ln) }()
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		f(t, rawClientOn(t, near), stop)
		near.Close()
		stop()
	})
}

func TestSilentPeerIsEnded(t *testing.T) {
	inBubble(t, Config{IdleTimeout: 10 * time.Second}, func(t *testing.T, c *rawClient, _ func()) {
		if o := c.open(); o.IdleTimeOut != 5000 {
			t.Errorf("idle-time-out: got %d ms, want half of 10 s", o.IdleTimeOut)
		}
		start := time.Now()
		for range 3 { // a heartbeat in time keeps it open
			time.Sleep(9 * time.Second)
			if err := frames.WriteEmptyFrame(c.nc); err != nil {
				t.Fatal(err)
			}
		}
		p, ok := c.next().(*performatives.Close)
		if !ok || p.Error == nil || p.Error.Condition != performatives.ErrResourceLimitExceeded {
			t.Errorf("got %+v, want a close frame with amqp:resource-limit-exceeded", p)
		}
		if d := time.Since(start); d != 37*time.Second {
			t.Errorf("closed after %v, want 37 s", d)
		}
		if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after the close frame: got %v, want EOF", err)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	inBubble(t, Config{IdleTimeout: -1}, func(t *testing.T, c *rawClient, _ func()) {
		if o := c.openWith(&openFrame{MaxFrameSize: 512, IdleTimeOut: 8000}); o.IdleTimeOut != 0 {
			t.Errorf("idle-time-out: got %d, want none", o.IdleTimeOut)
		}
		start := time.Now()
		for range 3 {
			if p := c.next(); p != nil {
				t.Fatalf("got %+v, want a heartbeat", p)
			}
		}
		if d := time.Since(start); d != 12*time.Second {
			t.Errorf("three heartbeats took %v, want 12 s", d)
		}
	})
}

func TestNoOpenFrame(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *rawClient, _ func()) {
		start := time.Now()
		if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
		if d := time.Since(start); d != handshakeTimeout {
			t.Errorf("closed after %v, want %v", d, handshakeTimeout)
		}
	})
}

// A peer that asks and does not read the answers is not read any more, and ended in the end.
func TestPeerThatDoesNotRead(t *testing.T) {
	inBubble(t, Config{IdleTimeout: -1}, func(t *testing.T, c *rawClient, _ func()) {
		c.open()
		c.begin(100)
		flow, err := (&performatives.Flow{Echo: true}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		c.nc.SetWriteDeadline(time.Now().Add(writeTimeout / 2))
		const most = 10 * maxPending
		written := 0
		for err == nil && written < most {
			err = frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 0, flow)
			written += len(flow)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write %d octets of flows: got %v, want the node to stop reading", written, err)
		}
		c.nc.SetWriteDeadline(time.Time{})
		if _, err := c.nc.Write([]byte{0}); err == nil {
			t.Errorf("the node reads on")
		}
	})
}

// A peer that answers our close frame with nothing is closed all the same.
func TestPeerWithoutClose(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, c *rawClient, stop func()) {
		c.open()
		start := time.Now()
		stopped := make(chan struct{})
		go func() { defer close(stopped); stop() }()
		if p, ok := c.next().(*performatives.Close); !ok || p.Error == nil || p.Error.Condition != performatives.ErrConnectionForced {
			t.Errorf("got %+v, want a close frame with amqp:connection:forced", p)
		}
		<-stopped
		if d := time.Since(start); d != closeTimeout {
			t.Errorf("served on for %v, want %v", d, closeTimeout)
		}
	})
}

// A settlement that waits does not outlive its connection.
func TestHeldSettlementEndsWithTheConnection(t *testing.T) {
	b, url := Start(t, Config{})
	rule := b.Script("in").Delivery(1).When(make(chan struct{}))
	late := b.Script("in").Delivery(2).IsAccepted().After(time.Hour)
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachSender("in")
	c.write(oneTransfer(0), dataSection("x")...)
	c.write(oneTransfer(1), dataSection("x")...)
	<-rule.Arrived()
	<-late.Arrived()
	c.write(&performatives.Close{})
	expectClose(t, c)
	// Start's clean-up fails the test if a goroutine of Serve stays.
}

func expectClose(t *testing.T, c *rawClient) {
	t.Helper()
	for {
		if p, ok := c.next().(*performatives.Close); ok {
			if p.Error != nil {
				t.Errorf("close: got %v, want no error", p.Error)
			}
			return
		}
	}
}

func TestServeAgain(t *testing.T) {
	b := New(Config{})
	for round := range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- b.Serve(ctx, ln) }()
		s := sender(t, "amqp://"+ln.Addr().String(), "in")
		mustAccept(t, s, numbered(round))
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		_, err = send(t, s, numbered(9))
		wantRemote(t, "send after the end", err, "connection", "amqp:connection:forced")
	}
	wantIDs(t, b, "in", "msg-0", "msg-1")
	if n := b.Connections(); n != 0 {
		t.Errorf("connections: got %d, want 0", n)
	}
}

func TestWrongConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"frame size", Config{MaxFrameSize: 100}, "MaxFrameSize is 100"},
		{"sessions", Config{MaxSessions: 70000}, "MaxSessions is 70000"},
		{"links", Config{MaxLinks: 70000}, "MaxLinks is 70000"},
		{"connections", Config{MaxConnections: -1}, "MaxConnections is -1"},
		{"property", Config{Properties: map[string]any{"x": 1}}, `property "x"`},
		{"password alone", Config{Password: "x"}, "needs a Username"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if err := New(tc.cfg).Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("serve: got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
