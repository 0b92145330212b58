package smtpd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"lsmtpd/bridge/failpoint"
)

const (
	// maxCommandLine is the longest command, octets without its end: what RFC 4954 §4 asks for AUTH.
	maxCommandLine = 12288
	// longBeginning is how much of a longer one is looked at, to see what it would have been.
	longBeginning = 16
	// maxSkipped is how long one may be so that its end is looked for.
	maxSkipped = 64 << 10

	// smallWindow is what a session that waits for a command or for the beginning of a message reads ahead: a group of
	// commands, and most mails that are small.
	smallWindow = 4 << 10
	// smallReplies is the room for replies that an idle session keeps.
	smallReplies = 1 << 10
	// window is what it reads ahead of a longer line, or of a message for a reader with a small buffer.
	window = 64 << 10
	// directRead is the least room into which the octets of a message are read without a window.
	directRead = 16 << 10
)

// Reasons why nothing more is read. Any other error of a read means that the client is gone.
var (
	errClosed      = errors.New("the client has closed the connection")
	errTimeout     = errors.New("timeout")
	errTooSlow     = errors.New("too slow")
	errDrained     = errors.New("drained for too long")
	errWoken       = errors.New("shutting down")
	errLineTooLong = errors.New("command line too long")
	errLineEndless = errors.New("command line without an end")
	errHTTP        = errors.New("a request of HTTP")
)

var windows = sync.Pool{New: func() any { return new([window]byte) }}

// conn reads commands and messages from a client, and gathers the replies
// until it has to wait for the client. Only wake, gone and close may be called
// by another goroutine than the session's.
type conn struct {
	socket net.Conn // as accepted
	rw     net.Conn // socket, or what stands above it
	cfg    *Config

	in    []byte // in[r:w] is read ahead
	r, w  int
	small [smallWindow]byte
	big   *[window]byte // what in is, where it is not small

	out      []byte
	promises []string // transactions whose 250 is in out
	broken   error    // of a write

	deadline      time.Time // set for reads
	writeDeadline time.Time // set for writes
	until         time.Time // no read of a message waits longer, where it is set
	pace          pace
	inMessage     atomic.Bool // wake does not end it
	woken         atomic.Bool
}

func newConn(nc net.Conn, cfg *Config) *conn {
	c := &conn{socket: nc, rw: nc, cfg: cfg}
	c.in = c.small[:]
	return c
}

// buffered is what is read ahead.
func (c *conn) buffered() int { return c.w - c.r }

// discard throws away what is read ahead.
func (c *conn) discard() { c.r, c.w = 0, 0 }

// unread puts octets back, of which there are at most window; nothing else may be read ahead.
func (c *conn) unread(p []byte) {
	c.discard()
	if len(p) > len(c.in) {
		c.grow()
	}
	c.w = copy(c.in, p)
}

// grow makes room for a window.
func (c *conn) grow() {
	c.big = windows.Get().(*[window]byte)
	c.w = copy(c.big[:], c.in[c.r:c.w])
	c.r, c.in = 0, c.big[:]
}

// shrink gives the window back where little is read ahead.
func (c *conn) shrink() {
	if c.big == nil || c.buffered() > smallWindow/2 {
		return
	}
	c.w = copy(c.small[:], c.in[c.r:c.w])
	c.r, c.in = 0, c.small[:]
	windows.Put(c.big)
	c.big = nil
}

// line returns the next command line without its end, which is CRLF, or LF, as
// some devices send it. It is valid until the next read. With errLineTooLong it
// is the beginning of the line, and the next one can be read.
func (c *conn) line() ([]byte, error) {
	deadline := after(c.cfg.CommandTimeout)
	c.shrink()
	for scanned := 0; ; {
		if i := bytes.IndexByte(c.in[c.r+scanned:c.w], '\n'); i >= 0 {
			line := c.in[c.r : c.r+scanned+i]
			c.r += len(line) + 1
			line = bytes.TrimSuffix(line, []byte{'\r'})
			if len(line) > maxCommandLine {
				return line, errLineTooLong
			}
			return line, nil
		}
		if scanned = c.buffered(); scanned > maxCommandLine+1 {
			beginning := bytes.Clone(c.in[c.r : c.r+longBeginning])
			return beginning, c.skipLine(deadline)
		}
		if err := c.fill(deadline); err != nil {
			return nil, err
		}
	}
}

// skipLine reads on to the end of a line that is too long.
func (c *conn) skipLine(deadline time.Time) error {
	for skipped := 0; ; {
		i := bytes.IndexByte(c.in[c.r:c.w], '\n')
		if i >= 0 && skipped+i <= maxSkipped {
			c.r += i + 1
			return errLineTooLong
		}
		if skipped += c.buffered(); i >= 0 || skipped > maxSkipped {
			return errLineEndless
		}
		c.discard()
		if err := c.fill(deadline); err != nil {
			return err
		}
	}
}

// fill reads ahead once.
func (c *conn) fill(deadline time.Time) error {
	if c.r == c.w {
		c.discard()
	}
	if c.w == len(c.in) && c.big == nil {
		c.grow()
	} else if c.w == len(c.in) {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	n, err := c.read(c.in[c.w:], deadline)
	c.w += n
	return err
}

// await waits until octets of a message are read ahead.
func (c *conn) await() (err error) {
	if c.buffered() > 0 {
		return nil
	}
	c.discard()
	c.w, err = c.readPaced(c.in)
	return err
}

// readMessage reads octets of a message into p: what is read ahead first, else
// what the client sends, and not all too slowly. The octets beyond the message
// that it may return with them are for unread.
func (c *conn) readMessage(p []byte) (n int, fresh bool, err error) {
	if c.buffered() == 0 {
		if len(p) >= directRead {
			n, err = c.readPaced(p[:min(len(p), window)])
			return n, true, err
		}
		if c.discard(); c.big == nil {
			c.grow()
		}
		if err := c.await(); err != nil {
			return 0, false, err
		}
	}
	n = copy(p, c.in[c.r:c.w])
	c.r += n
	return n, false, nil
}

// readPaced reads once, and times the wait.
func (c *conn) readPaced(p []byte) (int, error) {
	begun := time.Now()
	deadline := deadlineAt(begun, c.cfg.DataTimeout)
	draining := !c.until.IsZero() && (deadline.IsZero() || c.until.Before(deadline))
	if draining {
		deadline = c.until
	}
	n, err := c.read(p, deadline)
	switch {
	case draining && errors.Is(err, errTimeout):
		return 0, errDrained
	case err != nil:
		return 0, err
	case c.pace.add(c.cfg.MinRate, n, time.Since(begun)):
		return 0, errTooSlow
	}
	return n, nil
}

// read reads once from the client, after all replies have gone out. It returns
// octets or an error, not both.
func (c *conn) read(p []byte, deadline time.Time) (int, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	for {
		c.setDeadline(deadline)
		if c.interrupted() {
			return 0, errWoken
		}
		n, err := c.rw.Read(p)
		switch {
		case n > 0:
			return n, nil // an error comes again
		case err == nil:
		case err == io.EOF:
			return 0, errClosed // io.EOF is the end of a message to those who read one
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case c.interrupted():
			return 0, errWoken
		case !deadline.IsZero() && !time.Now().Before(deadline):
			return 0, errTimeout
		}
		c.deadline = time.Time{} // woken in vain: set it again
	}
}

// setDeadline sets the deadline for reads, or leaves one that is up to a second
// earlier: read sets another when it is woken by it.
func (c *conn) setDeadline(deadline time.Time) {
	if ahead := deadline.Sub(c.deadline); !c.deadline.IsZero() && ahead >= 0 && ahead < time.Second {
		return
	}
	c.deadline = deadline
	_ = c.rw.SetReadDeadline(deadline) // fails only on a closed connection, as the read will
}

// interrupted reports whether the session has to end before the next command.
func (c *conn) interrupted() bool { return c.woken.Load() && !c.inMessage.Load() }

// wake ends the wait for a command with errWoken, now and in future. A message under way is read on.
func (c *conn) wake() {
	c.woken.Store(true)
	if !c.inMessage.Load() {
		_ = c.socket.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}

// flush writes the replies gathered. Once it has failed it goes on failing.
func (c *conn) flush() error {
	switch {
	case c.broken != nil:
		c.out = nil
		return c.broken
	case len(c.out) == 0:
		return nil
	}
	if deadline := after(c.cfg.WriteTimeout); deadline.Sub(c.writeDeadline) > c.cfg.WriteTimeout/16 { // else the one before will do
		c.writeDeadline = deadline
		_ = c.rw.SetWriteDeadline(deadline) // fails only on a closed connection, as the write will
	}
	if len(c.promises) > 0 {
		failpoint.Hit("reply.before")
	}
	if _, c.broken = c.rw.Write(c.out); c.broken == nil {
		if len(c.promises) > 0 {
			failpoint.Hit("reply.after")
		}
		c.promises = c.promises[:0]
	}
	if c.out = c.out[:0]; cap(c.out) > smallReplies {
		c.out = nil
	}
	return c.broken
}

// lingerTimeout and lingerBytes bound what is read of a client before its connection is closed.
const (
	lingerTimeout = 2 * time.Second
	lingerBytes   = 16 << 20
)

// linger tells the client that nothing more will come, and reads what it still
// sends for a moment: closing before that would reset the connection, and the
// client might never see the last reply.
func (c *conn) linger() {
	if c.flush() != nil {
		return
	}
	if half, ok := c.rw.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	c.discard()
	if c.big == nil {
		c.grow()
	}
	_ = c.rw.SetReadDeadline(after(lingerTimeout))
	for read := 0; read < lingerBytes; {
		n, err := c.rw.Read(c.in)
		if err != nil {
			return
		}
		read += n
	}
}

// after is the time d from now, or no time where d is 0.
func after(d time.Duration) time.Time { return deadlineAt(time.Now(), d) }

func deadlineAt(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// upgrade goes on above TLS, with nothing read ahead.
func (c *conn) upgrade(t net.Conn) {
	_ = c.socket.SetDeadline(time.Time{}) // fails only on a closed connection, as the next read will
	c.rw, c.deadline, c.writeDeadline = t, time.Time{}, time.Time{}
	c.discard()
}

// release gives back what the connection holds of pools. It is not used any more.
func (c *conn) release() {
	if c.big != nil {
		windows.Put(c.big)
		c.big, c.in = nil, nil
	}
}
