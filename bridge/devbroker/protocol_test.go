package devbroker

import (
	"strings"
	"testing"

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
		{"channel above channel-max", Config{MaxSessions: 1}, func(c *rawClient) {
			if o := c.open(); o.ChannelMax != 0 {
				c.t.Errorf("channel-max: got %d, want 0", o.ChannelMax)
			}
			body, _ := (&performatives.Begin{}).Encode()
			frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 1, body)
		}, &performatives.Close{}, performatives.ErrNotAllowed},
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
		{"a SASL frame", Config{}, func(c *rawClient) {
			c.open()
			frames.WriteFrame(c.nc, frames.FrameTypeSASL, 0, nil)
		}, &performatives.Close{}, performatives.ErrFramingError},
		{"octets of an incomplete delivery", Config{MaxOctets: 1000}, func(c *rawClient) {
			link(c)
			first := oneTransfer(0)
			first.More = true
			c.write(first, make([]byte, 600)...)
			c.write(first, make([]byte, 600)...)
		}, &performatives.Detach{}, performatives.ErrResourceLimitExceeded},
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
	c.write(first, dataSection("aborted")...)
	// handle 0 and nine fields; the last is aborted
	frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 0, []byte("\x00\x53\x14\xc0\x0b\x0a\x43\x40\x40\x40\x40\x40\x40\x40\x40\x41"))
	if f := expect[*performatives.Flow](c); *f.LinkCredit != 1 || *f.DeliveryCount != 1 || *f.NextIncomingID != 2 {
		t.Errorf("flow: got credit %d, delivery-count %d, next-incoming-id %d, want 1, 1, 2", *f.LinkCredit, *f.DeliveryCount, *f.NextIncomingID)
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

// A delivery of many frames waits for window in the middle, and none is begun without window.
func TestClientWindowInMidDelivery(t *testing.T) {
	b, url := Start(t, Config{})
	if ok, err := b.Put("in", dataSection(strings.Repeat("x", 200))); !ok || err != nil {
		t.Fatalf("put: %v, %v", ok, err)
	}
	big := append([]byte{0, 0x53, 0x75, 0xb0, 0, 0, 4, 0}, make([]byte, 1024)...)
	if ok, err := b.Put("in", big); !ok || err != nil {
		t.Fatalf("put: %v, %v", ok, err)
	}
	c := newRawClient(t, url)
	c.openWith(&openFrame{MaxFrameSize: 512})
	c.begin(2)
	c.write(&performatives.Attach{Name: "r", Role: performatives.RoleReceiver, Source: &performatives.Source{Address: "in"}})
	expect[*performatives.Attach](c)
	flow := func(next, window uint32) {
		c.write(&performatives.Flow{NextIncomingID: &next, IncomingWindow: window, OutgoingWindow: 1,
			Handle: ptr(uint32(0)), DeliveryCount: ptr(uint32(0)), LinkCredit: ptr(uint32(10)), Echo: true})
	}
	flow(0, 0)
	expect[*performatives.Flow](c)
	if m := b.Messages("in"); m[0].Acquired {
		t.Errorf("the message is acquired without window")
	}
	flow(0, 2)
	expect[*transfer](c)
	if tr := expect[*transfer](c); !tr.More || *tr.DeliveryID != 1 {
		t.Errorf("second transfer: got %+v, want the first frame of delivery 1", tr.Transfer)
	}
	flow(2, 0)
	if _, ok := c.next().(*performatives.Flow); !ok {
		t.Errorf("a transfer came through a closed window")
	}
	flow(2, 2)
	if tr := expect[*transfer](c); !tr.More {
		t.Errorf("third transfer: got %+v, want more", tr.Transfer)
	}
	if tr := expect[*transfer](c); tr.More {
		t.Errorf("fourth transfer: got %+v, want the last", tr.Transfer)
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
