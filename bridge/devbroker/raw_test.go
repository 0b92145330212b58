package devbroker

import (
	"bufio"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

// rawClient speaks AMQP frame by frame, right or wrong. Its session has channel 0, its link handle 0.
type rawClient struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func newRawClient(t *testing.T, rawURL string) *rawClient {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return rawClientOn(t, nc)
}

func rawClientOn(t *testing.T, nc net.Conn) *rawClient {
	return &rawClient{t: t, nc: nc, br: bufio.NewReader(nc)}
}

func (c *rawClient) write(p performative, payload ...byte) {
	c.t.Helper()
	body, err := p.Encode()
	if err != nil {
		c.t.Fatalf("encode %T: %v", p, err)
	}
	if err := frames.WriteFrame(c.nc, frames.FrameTypeAMQP, 0, append(body, payload...)); err != nil {
		c.t.Fatalf("write %T: %v", p, err)
	}
}

// next reads the next performative; nil is a heartbeat.
func (c *rawClient) next() any {
	c.t.Helper()
	f, err := readFrame(c.br, 1<<20)
	if err != nil {
		c.t.Fatalf("read a frame: %v", err)
	}
	if f.IsEmpty() {
		return nil
	}
	p, _, err := decodePerformative(f.Body)
	if err != nil {
		c.t.Fatalf("decode a frame: %v", err)
	}
	return p
}

// expect reads frames until one is a P.
func expect[P any](c *rawClient) P {
	c.t.Helper()
	for {
		p := c.next()
		if got, ok := p.(P); ok {
			return got
		}
		switch p.(type) {
		case *performatives.Close, *performatives.End, *performatives.Detach:
			var want P
			c.t.Fatalf("got %#v, want %T", p, want)
		}
	}
}

func (c *rawClient) open() *performatives.Open {
	return c.openWith(&openFrame{ContainerID: "raw", MaxFrameSize: 65536})
}

func (c *rawClient) openWith(o *openFrame) *performatives.Open {
	c.t.Helper()
	if err := frames.WriteProtocolHeader(c.nc, frames.ProtoIDAMQP); err != nil {
		c.t.Fatal(err)
	}
	if proto, err := frames.ReadProtocolHeader(c.br); err != nil || proto != frames.ProtoIDAMQP {
		c.t.Fatalf("protocol header: got %d, %v", proto, err)
	}
	c.write(o)
	return expect[*performatives.Open](c)
}

func (c *rawClient) begin(window uint32) *performatives.Begin {
	c.t.Helper()
	c.write(&performatives.Begin{IncomingWindow: window, OutgoingWindow: 100})
	return expect[*performatives.Begin](c)
}

// attachSender attaches and waits for credit.
func (c *rawClient) attachSender(address string) *performatives.Flow {
	c.t.Helper()
	c.write(&performatives.Attach{Name: "s", Role: performatives.RoleSender,
		Source: &performatives.Source{}, Target: &performatives.Target{Address: address}})
	expect[*performatives.Attach](c)
	return expect[*performatives.Flow](c)
}

// attachExpectingFlow attaches a sender, and returns the flow frame that comes before the answer.
func attachExpectingFlow(c *rawClient, address string) *performatives.Flow {
	c.t.Helper()
	c.write(&performatives.Attach{Name: "s", Role: performatives.RoleSender,
		Source: &performatives.Source{}, Target: &performatives.Target{Address: address}})
	f := expect[*performatives.Flow](c)
	expect[*performatives.Attach](c)
	return f
}

func (c *rawClient) attachReceiver(address string, credit uint32) {
	c.t.Helper()
	c.write(&performatives.Attach{Name: "r", Role: performatives.RoleReceiver,
		Source: &performatives.Source{Address: address}, Target: &performatives.Target{}})
	expect[*performatives.Attach](c)
	c.write(&performatives.Flow{NextIncomingID: ptr(uint32(0)), IncomingWindow: 1 << 20, OutgoingWindow: 100,
		Handle: ptr(uint32(0)), DeliveryCount: ptr(uint32(0)), LinkCredit: &credit})
}

// dataSection is an encoded message of one data section.
func dataSection(body string) []byte {
	return append([]byte{0, 0x53, 0x75, 0xa0, byte(len(body))}, body...)
}
