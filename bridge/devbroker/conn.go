package devbroker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

// conn is one connection. run reads it, write.go's writeLoop writes it; both meet under Broker.mu.
type conn struct {
	b   *Broker
	raw net.Conn // below TLS
	nc  net.Conn
	br  *bufio.Reader
	log *slog.Logger

	wg   sync.WaitGroup // writeLoop and settlements that wait for their time
	done chan struct{}  // closed when reading has ended
	wake chan struct{}  // something to write; holds one
	room chan struct{}  // something was written; holds one

	// Set before the writer starts, not changed afterwards.
	user, container, hostname string
	maxFrame                  uint32        // largest frame to send
	heartbeat                 time.Duration // how long at most to be silent; 0: for ever

	// Guarded by Broker.mu.
	opened   bool // the open frames are exchanged
	closing  bool // our close frame is on its way: nothing but the peer's close matters
	stopped  bool // reading has ended: the writer writes what is pending and ends
	pending  []outFrame
	octets   int // of pending
	sessions map[uint16]*session
	senders  []*outgoing // links with something to send, maybe
	turn     int         // of senders
}

func newConn(b *Broker, nc net.Conn) *conn {
	return &conn{
		b: b, raw: nc, nc: nc,
		log:      b.cfg.Logger.With("remote", nc.RemoteAddr().String()),
		done:     make(chan struct{}),
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		sessions: make(map[uint16]*session),
	}
}

// run serves the connection until it has ended.
func (c *conn) run() {
	defer c.nc.Close()
	if err := c.handshake(); err != nil {
		c.log.Info("connection refused", "error", err)
		c.linger()
		return
	}
	c.log.Debug("connection open", "container", c.container, "user", c.user)
	c.wg.Go(c.writeLoop)
	err := c.readLoop()
	c.finish(err)
	c.wg.Wait()
	if e := (*connError)(nil); errors.As(err, &e) {
		c.linger()
	}
	c.log.Debug("connection ended", "error", err)
}

// linger lets the peer read what we have written last: to close while octets of the peer are unread would be a TCP reset,
// which may overtake it.
func (c *conn) linger() {
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		c.nc.SetReadDeadline(time.Now().Add(closeTimeout))
		_, _ = io.Copy(io.Discard, c.nc) // ends by the deadline at the latest, and then the connection is closed
	}
}

// readLoop handles frames until the peer's close frame (nil), or an error.
func (c *conn) readLoop() error {
	for {
		if err := c.awaitRoom(); err != nil {
			return err
		}
		frame, err := readFrame(c.br, c.b.cfg.MaxFrameSize)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return &connError{newError(performatives.ErrResourceLimitExceeded, "nothing came within the idle time-out")}
		}
		if err != nil {
			return err
		}
		if frame.Type != frames.FrameTypeAMQP {
			return &connError{newError(performatives.ErrFramingError, fmt.Sprintf("frame of type %d", frame.Type))}
		}
		if frame.IsEmpty() {
			continue // a heartbeat
		}
		perf, payload, err := decodePerformative(frame.Body)
		if err != nil {
			return &connError{newError(performatives.ErrDecodeError, err.Error())}
		}
		c.b.mu.Lock()
		ended, err := c.handle(frame.Channel, perf, payload)
		c.b.mu.Unlock()
		if ended || err != nil {
			return err
		}
	}
}

// awaitRoom stops reading while the peer takes no replies, then arms the idle time-out.
func (c *conn) awaitRoom() error {
	for {
		c.b.mu.Lock()
		if c.octets <= maxPending {
			if !c.closing && c.b.cfg.IdleTimeout > 0 {
				c.nc.SetReadDeadline(time.Now().Add(c.b.cfg.IdleTimeout))
			}
			c.b.mu.Unlock()
			return nil
		}
		stopped := c.stopped
		c.b.mu.Unlock()
		if stopped {
			return errors.New("the peer does not read")
		}
		<-c.room
	}
}

// handle does what a frame asks for. ended is set by the peer's close frame. Broker.mu is held.
func (c *conn) handle(channel uint16, perf any, payload []byte) (ended bool, err error) {
	if p, ok := perf.(*performatives.Close); ok {
		if p.Error != nil {
			c.log.Info("the client closed the connection", "error", errorText(p.Error))
		}
		if !c.closing {
			c.send(0, &performatives.Close{})
		}
		return true, nil
	}
	if c.closing {
		return false, nil
	}
	s := c.sessions[channel]
	if p, ok := perf.(*performatives.Begin); ok {
		if s != nil {
			return false, &connError{newError(performatives.ErrNotAllowed, fmt.Sprintf("begin on channel %d, which is in use", channel))}
		}
		return false, c.begin(channel, p)
	}
	if s == nil {
		return false, &connError{newError(performatives.ErrNotAllowed, fmt.Sprintf("%T on channel %d, where no session is", perf, channel))}
	}
	err = s.handle(perf, payload)
	if e := (*sessionError)(nil); errors.As(err, &e) {
		s.end(e.cause)
		err = nil
	}
	return false, err
}

// finish gives back what the connection holds and lets the writer end. err is what ended it; a connError is told the peer.
func (c *conn) finish(err error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if e := (*connError)(nil); errors.As(err, &e) && !c.closing {
		c.send(0, &performatives.Close{Error: e.cause})
	} else if err != nil && !errors.Is(err, io.EOF) {
		c.log.Info("connection lost", "error", err)
	}
	for _, s := range c.sessions {
		s.drop()
	}
	c.sessions, c.senders = nil, nil
	c.stopped = true
	close(c.done)
	c.nc.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.wakeWriter()
}

// close begins to end the connection from our side; err may be nil. Broker.mu is held.
func (c *conn) close(err *performatives.Error) {
	if c.closing || c.stopped {
		return
	}
	c.closing = true
	if !c.opened {
		c.raw.Close()
		return
	}
	c.send(0, &performatives.Close{Error: err})
	c.nc.SetDeadline(time.Now().Add(closeTimeout))
}

// reset ends the connection by a TCP reset: what the peer has not read yet is lost. Broker.mu is held.
func (c *conn) reset() {
	c.closing = true
	if l, ok := c.raw.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0) // fails only on a connection that is gone
	}
	c.raw.Close()
}
