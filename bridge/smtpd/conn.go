package smtpd

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// errPeerGone stands for the end of the stream in the middle of a message.
// go-smtp takes io.EOF in the last chunk of BDAT for the end of the message.
var errPeerGone = errors.New("the client closed the connection")

// conn is a client's connection. Each read and each write gets a deadline of
// its own, so that a session ends when nothing moves, and not while mail flows.
type conn struct {
	net.Conn
	idle    time.Duration
	onClose func()

	inMessage atomic.Bool // between the begin of a message and its reply
	expired   atomic.Bool // nothing more is read

	closing sync.Once
	err     error // of Close
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	if c.expired.Load() && !c.inMessage.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Read(p)
	if err == io.EOF && c.inMessage.Load() {
		err = errPeerGone
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// expire ends the session at its next read, or now if it waits for a command. A message under way is read on.
func (c *conn) expire() {
	c.expired.Store(true)
	if !c.inMessage.Load() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}

// Close closes the connection once; later calls return the first one's result.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.err = c.Conn.Close()
		c.onClose()
	})
	return c.err
}
