package devbroker

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

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
