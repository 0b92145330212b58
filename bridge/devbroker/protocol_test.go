package devbroker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
	"github.com/absmach/fluxmq/amqp1/types"
)

// oneTransfer is a whole delivery in one frame.
func oneTransfer(id uint32) *performatives.Transfer {
	return &performatives.Transfer{DeliveryID: &id, DeliveryTag: []byte{byte(id)}}
}

// What a peer must not do, and what ends then.
func TestViolations(t *testing.T) {
	link := func(c *rawClient) { c.open(); c.begin(100); c.attachSender("in") }
	for _, tc := range []struct {
		name  string
		cfg   Config
		do    func(*rawClient)
		ended any
		want  types.Symbol
	}{
		{"window", Config{SessionWindow: 1}, func(c *rawClient) {
			c.open()
			c.begin(100)
			b := oneTransfer(0)
			b.More = true
			c.write(&performatives.Attach{Name: "s", Role: performatives.RoleSender, Source: &performatives.Source{}, Target: &performatives.Target{Address: "closed"}})
			c.write(b, 1)
			c.write(b, 1)
		}, &performatives.End{}, performatives.ErrWindowViolation},
		{"credit", Config{}, func(c *rawClient) {
			c.open()
			c.begin(100)
			c.write(&performatives.Attach{Name: "s", Role: performatives.RoleSender, Source: &performatives.Source{}, Target: &performatives.Target{Address: "no-credit"}})
			c.write(oneTransfer(0), dataSection("x")...)
		}, &performatives.Detach{}, performatives.ErrTransferLimitExceeded},
		{"message size", Config{MaxMessageSize: 10}, func(c *rawClient) {
			link(c)
			c.write(oneTransfer(0), dataSection("too much")...)
		}, &performatives.Detach{}, performatives.ErrMessageSizeExceeded},
		{"message size in the second frame", Config{MaxMessageSize: 10}, func(c *rawClient) {
			link(c)
			first := oneTransfer(0)
			first.More = true
			c.write(first, dataSection("x")...)
			c.write(&performatives.Transfer{}, dataSection("x")...)
		}, &performatives.Detach{}, performatives.ErrMessageSizeExceeded},
		{"no delivery-id", Config{}, func(c *rawClient) {
			link(c)
			c.write(&performatives.Transfer{}, dataSection("x")...)
		}, &performatives.End{}, performatives.ErrInvalidField},
		{"delivery-id twice", Config{}, func(c *rawClient) {
			link(c)
			c.write(oneTransfer(7), dataSection("x")...)
			c.write(oneTransfer(7), dataSection("x")...)
		}, &performatives.End{}, performatives.ErrNotAllowed},
		{"handle twice", Config{}, func(c *rawClient) {
			link(c)
			c.write(&performatives.Attach{Name: "t", Role: performatives.RoleSender, Target: &performatives.Target{Address: "in"}})
		}, &performatives.End{}, performatives.ErrHandleInUse},
		{"unknown handle", Config{}, func(c *rawClient) {
			link(c)
			c.write(&performatives.Transfer{Handle: 5, DeliveryID: ptr(uint32(0))}, dataSection("x")...)
		}, &performatives.End{}, performatives.ErrUnattachedHandle},
		{"detach of an unknown handle", Config{}, func(c *rawClient) {
			link(c)
			c.write(&performatives.Detach{Handle: 5})
		}, &performatives.End{}, performatives.ErrUnattachedHandle},
		{"transfer on a receiving link", Config{}, func(c *rawClient) {
			c.open()
			c.begin(100)
			c.attachReceiver("in", 1)
			c.write(oneTransfer(0), dataSection("x")...)
		}, &performatives.End{}, performatives.ErrNotAllowed},
		{"handle above handle-max", Config{MaxLinks: 2}, func(c *rawClient) {
			c.open()
			c.begin(100)
			c.write(&performatives.Attach{Name: "t", Handle: 2, Role: performatives.RoleSender, Target: &performatives.Target{Address: "in"}})
		}, &performatives.Close{}, performatives.ErrFramingError},
		{"begin twice", Config{}, func(c *rawClient) {
			c.open()
			c.begin(100)
			c.write(&performatives.Begin{})
		}, &performatives.Close{}, performatives.ErrNotAllowed},
		{"no session", Config{}, func(c *rawClient) {
			c.open()
			c.write(&performatives.Flow{})
		}, &performatives.Close{}, performatives.ErrNotAllowed},
		{"open twice", Config{}, func(c *rawClient) {
			c.open()
			c.begin(100)
			c.write(&openFrame{})
		}, &performatives.Close{}, performatives.ErrNotAllowed},
		{"frame size", Config{MaxFrameSize: 512}, func(c *rawClient) {
			link(c)
			c.write(oneTransfer(0), make([]byte, 512)...)
		}, &performatives.Close{}, performatives.ErrFramingError},
		{"a frame of 4 GiB", Config{}, func(c *rawClient) {
			c.open()
			c.nc.Write([]byte{0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0})
		}, &performatives.Close{}, performatives.ErrFramingError},
		{"no performative", Config{}, func(c *rawClient) {
			c.open()
			frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 0, []byte("hello"))
		}, &performatives.Close{}, performatives.ErrDecodeError},
		{"an error whose condition is a string", Config{}, func(c *rawClient) {
			c.open()
			frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 0, []byte("\x00\x53\x18\xc0\x0a\x01\x00\x53\x1d\xc0\x04\x01\xa1\x01x"))
		}, &performatives.Close{}, performatives.ErrDecodeError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, tc.cfg)
			b.Script("no-credit").GivesNoCredit()
			b.Script("closed").ClosesWindowAfter(1)
			b.Script("in").Delivery(Every).IsNeverSettled()
			c := newRawClient(t, url)
			tc.do(c)
			var got *performatives.Error
			for got == nil {
				switch p := c.next().(type) {
				case *performatives.Close:
					_, ok := tc.ended.(*performatives.Close)
					if got = p.Error; !ok || got == nil {
						t.Fatalf("got %+v, want %T", p.Error, tc.ended)
					}
				case *performatives.End:
					_, ok := tc.ended.(*performatives.End)
					if got = p.Error; !ok || got == nil {
						t.Fatalf("got %+v, want %T", p.Error, tc.ended)
					}
				case *performatives.Detach:
					_, ok := tc.ended.(*performatives.Detach)
					if got = p.Error; !ok || got == nil {
						t.Fatalf("got %+v, want %T", p.Error, tc.ended)
					}
				}
			}
			if got.Condition != tc.want {
				t.Errorf("condition: got %s, want %s", got.Condition, tc.want)
			}
			if m := b.Messages("in"); len(m) > 1 {
				t.Errorf("queue: got %d messages", len(m))
			}
		})
	}
}

// An aborted delivery is none, and gives its credit back.
func TestAbortedDelivery(t *testing.T) {
	b, url := Start(t, Config{LinkCredit: 1})
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachSender("in")
	first := oneTransfer(0)
	first.More = true
	c.write(first, 1, 2, 3)
	// handle 0 and nine fields; the last is aborted
	frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 0, []byte("\x00\x53\x14\xc0\x0b\x0a\x43\x40\x40\x40\x40\x40\x40\x40\x40\x41"))
	if f := expect[*performatives.Flow](c); *f.LinkCredit != 1 || *f.DeliveryCount != 1 {
		t.Errorf("flow: got credit %d, delivery-count %d, want 1, 1", *f.LinkCredit, *f.DeliveryCount)
	}
	c.write(oneTransfer(1), dataSection("x")...)
	if d := expect[*performatives.Disposition](c); d.First != 1 || !d.Settled {
		t.Errorf("disposition: got %+v, want delivery 1 settled", d)
	}
	if m := b.Messages("in"); len(m) != 1 || string(m[0].Octets) != string(dataSection("x")) {
		t.Errorf("queue: got %+v, want the second delivery", m)
	}
}

func TestMalformedMessageIsRejected(t *testing.T) {
	b, url := Start(t, Config{})
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachSender("in")
	for id, payload := range []string{"", "no message", "\x00\x53\x75\xb0\xff\xff\xff\xffx", strings.Repeat("\x00", 1000)} {
		c.write(oneTransfer(uint32(id)), []byte(payload)...)
		d := expect[*performatives.Disposition](c)
		r, ok := d.State.(*performatives.Rejected)
		if !ok || r.Error == nil || r.Error.Condition != performatives.ErrDecodeError {
			t.Errorf("%q: got %#v, want rejected with amqp:decode-error", payload, d.State)
		}
	}
	if m := b.Messages("in"); len(m) != 0 {
		t.Errorf("queue: got %+v, want nothing", m)
	}
}

// A symbolic descriptor in a message is none of our business: it goes through.
func TestSymbolicSectionDescriptor(t *testing.T) {
	b, url := Start(t, Config{})
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachSender("in")
	message := "\x00\xa3\x10amqp:data:binary\xa0\x01x"
	c.write(oneTransfer(0), []byte(message)...)
	expect[*performatives.Disposition](c)
	if m := b.Messages("in"); len(m) != 1 || string(m[0].Octets) != message {
		t.Errorf("queue: got %+v, want the message", m)
	}
}

// The session window of the client is kept to: no more transfers than it allows.
func TestClientWindow(t *testing.T) {
	b, url := Start(t, Config{})
	for range 3 {
		if ok, err := b.Put("in", dataSection("x")); !ok || err != nil {
			t.Fatalf("put: %v, %v", ok, err)
		}
	}
	c := newRawClient(t, url)
	c.open()
	c.begin(0)
	c.write(&performatives.Attach{Name: "r", Role: performatives.RoleReceiver, Source: &performatives.Source{Address: "in"}})
	expect[*performatives.Attach](c)
	give := func(next, window uint32) {
		c.write(&performatives.Flow{NextIncomingID: &next, IncomingWindow: window, OutgoingWindow: 1,
			Handle: ptr(uint32(0)), DeliveryCount: ptr(uint32(0)), LinkCredit: ptr(uint32(10)), Echo: true})
	}
	give(0, 0)
	if f, ok := c.next().(*performatives.Flow); !ok || *f.LinkCredit != 10 {
		t.Errorf("got %+v, want the echo", f)
	}
	give(0, 2)
	expect[*transfer](c)
	expect[*transfer](c)
	give(2, 0)
	if _, ok := c.next().(*performatives.Flow); !ok {
		t.Errorf("a transfer came through a closed window")
	}
	give(2, 1)
	if tr := expect[*transfer](c); *tr.DeliveryID != 2 {
		t.Errorf("delivery-id: got %d, want 2", *tr.DeliveryID)
	}
}

// A disposition may name any range.
func TestDispositionOfARange(t *testing.T) {
	b, url := Start(t, Config{})
	for range 3 {
		if ok, err := b.Put("in", dataSection("x")); !ok || err != nil {
			t.Fatalf("put: %v, %v", ok, err)
		}
	}
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachReceiver("in", 3)
	for range 3 {
		expect[*transfer](c)
	}
	c.write(&performatives.Disposition{Role: performatives.RoleReceiver, First: 2, Last: ptr(uint32(1)), Settled: true, State: &performatives.Accepted{}})
	if err := b.WaitEmpty(testContext(t), "in"); err != nil { // 2, 3, ... 4294967295, 0, 1
		t.Errorf("wait for the queue to be empty: %v", err)
	}
}

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
		{"sessions", Config{MaxSessions: 1}, "MaxSessions is 1"},
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

// FuzzConnection feeds octets to a connection, raw or as the bodies of frames after a good beginning: the node must not
// panic, and the connection must end when the peer is gone.
func FuzzConnection(f *testing.F) {
	f.Add(false, []byte("AMQP\x00\x01\x00\x00"))
	f.Add(false, append(frames.AMQPHeader[:], 0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x10, 0x45))
	for _, p := range []performative{
		&performatives.Attach{Name: "s", Handle: 1, Role: performatives.RoleSender, Source: &performatives.Source{}, Target: &performatives.Target{Address: "in"}},
		&performatives.Flow{Handle: ptr(uint32(0)), LinkCredit: ptr(uint32(5)), Drain: true, Echo: true, IncomingWindow: 5},
		&performatives.Disposition{Role: performatives.RoleReceiver, First: 0, Settled: true, State: &performatives.Modified{DeliveryFailed: true}},
		oneTransfer(0), &performatives.Detach{}, &performatives.End{}, &performatives.Close{},
	} {
		body, err := p.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	}
	f.Fuzz(func(t *testing.T, opened bool, octets []byte) {
		b := New(Config{MaxMessageSize: 1 << 16, MaxQueueMessages: 10})
		if _, err := b.Put("in", dataSection("x")); err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		c := b.register(far)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(c.run)
		wg.Go(func() { io.Copy(io.Discard, near) })
		bw := bufio.NewWriter(near)
		if opened {
			writeOpened(t, bw, octets)
		} else {
			bw.Write(octets)
		}
		bw.Flush()
		near.Close()
	})
}

// writeOpened writes a good beginning, then each run of octets, after two octets of length, as the body of a frame.
func writeOpened(t *testing.T, w *bufio.Writer, octets []byte) {
	frames.WriteProtocolHeader(w, frames.ProtoIDAMQP)
	for _, p := range []performative{
		&openFrame{MaxFrameSize: 512},
		&performatives.Begin{IncomingWindow: 10},
		&performatives.Attach{Name: "r", Role: performatives.RoleReceiver, Source: &performatives.Source{Address: "in"}},
	} {
		body, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		frames.WriteFrame(w, frames.FrameTypeAMQP, 0, body)
	}
	for len(octets) > 2 {
		n := min(int(binary.BigEndian.Uint16(octets)), len(octets)-2)
		frames.WriteFrame(w, frames.FrameTypeAMQP, 0, octets[2:2+n])
		octets = octets[2+n:]
	}
}
