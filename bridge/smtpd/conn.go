package smtpd

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// errPeerGone stands for every end of the stream. go-smtp takes io.EOF in the
// last chunk of BDAT for the end of the message, and tells the client of any
// error but its own type as a permanent 554.
var errPeerGone = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "connection lost"}

// conn is a client's connection. Each read and each write gets a deadline of
// its own, so that a session ends when nothing moves, and not while mail flows.
type conn struct {
	net.Conn
	idle    time.Duration
	onClose func()

	messages atomic.Int32 // under way: between the begin of a message and its reply
	expired  atomic.Bool  // no further command is read
	gone     atomic.Bool  // nothing more can be read

	closing sync.Once
	err     error // of Close
}

func (c *conn) Read(p []byte) (int, error) {
	if c.gone.Load() {
		return 0, errPeerGone
	}
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, errPeerGone
	}
	if c.expired.Load() && c.messages.Load() == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.messages.Load() == 0 {
		return n, err // between commands, go-smtp says so and ends the session
	}
	if err != nil {
		c.gone.Store(true)
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
	if c.messages.Load() == 0 {
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
