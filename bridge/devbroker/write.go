package devbroker

import (
	"bufio"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
)

// outFrame is a frame to write: an encoded performative, and the payload of a transfer.
type outFrame struct {
	channel       uint16
	body, payload []byte
}

type performative interface{ Encode() ([]byte, error) }

// send queues a frame behind those already queued. Broker.mu is held. What can be sent is bounded by what the peer sends
// (see awaitRoom); messages are not queued here, the writer asks for them when it can write them.
func (c *conn) send(channel uint16, p performative) {
	body, err := p.Encode()
	if err != nil { // cannot be: only Config.Properties hold values that may not be encodable, and those were checked
		c.log.Error("encode a frame", "error", err)
		c.reset()
		return
	}
	if len(body)+frames.HeaderSize > int(c.maxFrame) {
		c.log.Error("a frame is larger than the peer's max-frame-size", "octets", len(body), "limit", c.maxFrame)
		c.reset()
		return
	}
	c.pending = append(c.pending, outFrame{channel: channel, body: body})
	c.octets += len(body)
	c.wakeWriter()
}

func (c *conn) wakeWriter() { signal(c.wake) }

// signal puts a token into a channel that holds one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// next returns the frame to write now, if any. done means that there will be none any more.
func (c *conn) next() (f outFrame, ok, done bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if f, ok := c.nextPending(); ok {
		return f, true, false
	}
	if c.stopped || c.closing {
		return outFrame{}, false, c.stopped
	}
	for range len(c.senders) { // in turn, so that no link starves another
		if len(c.senders) == 0 {
			break // pump has detached the last one
		}
		c.turn %= len(c.senders)
		l := c.senders[c.turn]
		c.turn++
		if f, ok := l.pump(); ok {
			return f, true, false
		}
	}
	f, ok = c.nextPending() // pump may have sent a flow
	return f, ok, false
}

func (c *conn) nextPending() (outFrame, bool) {
	if len(c.pending) == 0 {
		c.pending = nil
		return outFrame{}, false
	}
	f := c.pending[0]
	c.pending[0] = outFrame{}
	c.pending = c.pending[1:]
	c.octets -= len(f.body)
	signal(c.room)
	return f, true
}

// writeLoop writes frames as long as there is a connection. It flushes when it has nothing to write, so that many small
// frames share a packet.
func (c *conn) writeLoop() {
	bw := bufio.NewWriterSize(deadlineWriter{c}, 64<<10)
	err := c.writeFrames(bw)
	if err != nil {
		c.raw.Close() // ends reading too
	}
	for err != nil { // the reader must not wait for room in vain
		c.b.mu.Lock()
		c.pending, c.octets = nil, 0
		stopped := c.stopped
		c.b.mu.Unlock()
		signal(c.room)
		if stopped {
			return
		}
		select {
		case <-c.wake:
		case <-c.done:
		}
	}
}

func (c *conn) writeFrames(bw *bufio.Writer) error {
	var (
		scratch []byte
		silent  <-chan time.Time
		timer   *time.Timer
	)
	if c.heartbeat > 0 {
		timer = time.NewTimer(c.heartbeat)
		defer timer.Stop()
		silent = timer.C
	}
	for {
		f, ok, done := c.next()
		if ok {
			scratch = append(append(scratch[:0], f.body...), f.payload...)
			if err := frames.WriteFrame(bw, frames.FrameTypeAMQP, f.channel, scratch); err != nil {
				return err
			}
			continue
		}
		if bw.Buffered() > 0 && timer != nil {
			timer.Reset(c.heartbeat)
		}
		if err := bw.Flush(); err != nil || done {
			return err
		}
		select {
		case <-c.wake:
		case <-silent:
			if err := frames.WriteEmptyFrame(bw); err != nil {
				return err
			}
		}
	}
}

// deadlineWriter gives every write its time; close and finish have set that of the last ones.
type deadlineWriter struct{ c *conn }

func (w deadlineWriter) Write(p []byte) (int, error) {
	w.c.b.mu.Lock()
	if !w.c.stopped && !w.c.closing {
		w.c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	w.c.b.mu.Unlock()
	return w.c.nc.Write(p)
}
