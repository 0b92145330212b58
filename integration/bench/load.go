package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"sync"
	"time"
)

// writeBuffer is what a client gathers before it writes to its connection, in octets.
const writeBuffer = 64 << 10

// replyTimeout bounds the wait for the reply to a command, endTimeout that for the reply to the end of data
// (RFC 5321 §4.5.3.2.6), and bodyTimeout the whole of a message.
const (
	replyTimeout = time.Minute
	endTimeout   = 10 * time.Minute
	bodyTimeout  = 10 * time.Minute
)

// client is an SMTP client that costs little: it writes a message straight to a TCP connection, from octets made
// beforehand. It is for one goroutine.
type client struct {
	conn    net.Conn
	replies *textproto.Reader
	out     *bufio.Writer
	forget  func() bool // the context
}

// dial connects to an SMTP server and says EHLO. The connection is closed when ctx ends.
func dial(ctx context.Context, addr string) (*client, error) {
	conn, err := (&net.Dialer{Timeout: replyTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return newClient(ctx, conn)
}

// newClient says EHLO on a connection, which it owns from now on.
func newClient(ctx context.Context, conn net.Conn) (*client, error) {
	c := &client{conn: conn, replies: textproto.NewReader(bufio.NewReader(conn)), out: bufio.NewWriterSize(conn, writeBuffer)}
	c.forget = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := c.greet(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *client) greet() error {
	if _, err := c.reply(220, replyTimeout); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	fmt.Fprint(c.out, "EHLO bench.example.org\r\n")
	if _, err := c.reply(250, replyTimeout); err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	return nil
}

// reply sends what is in the buffer and reads a reply, which must have the code.
func (c *client) reply(code int, timeout time.Duration) (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	writeErr := c.out.Flush()
	_, text, err := c.replies.ReadResponse(code)
	if writeErr != nil && err != nil {
		err = fmt.Errorf("%w (after %w)", err, writeErr)
	}
	return text, err
}

// send sends a message of size octets and returns the text of the reply to the end of data. Any other reply than 250
// is an error, which has its text.
func (c *client) send(m message, size int64) (string, error) {
	fmt.Fprintf(c.out, "MAIL FROM:<a@example.org> SIZE=%d\r\nRCPT TO:<in@example.com>\r\nDATA\r\n", size)
	for _, step := range []struct {
		name string
		code int
	}{{"MAIL", 250}, {"RCPT", 250}, {"DATA", 354}} {
		if _, err := c.reply(step.code, replyTimeout); err != nil {
			return "", fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return "", err
	}
	m(c.out)
	fmt.Fprint(c.out, ".\r\n")
	text, err := c.reply(250, endTimeout)
	if err != nil {
		return "", fmt.Errorf("end of data: %w", err)
	}
	return text, nil
}

// chunkOctets is the size of the chunks that sendChunks sends.
const chunkOctets = 1 << 20

// sendChunks is send by BDAT (RFC 3030), a chunk after the other without waiting for replies. The message must write
// less than a chunk at a time.
func (c *client) sendChunks(m message, size int64) (string, error) {
	fmt.Fprintf(c.out, "MAIL FROM:<a@example.org> SIZE=%d\r\nRCPT TO:<in@example.com>\r\n", size)
	for _, command := range []string{"MAIL", "RCPT"} {
		if _, err := c.reply(250, replyTimeout); err != nil {
			return "", fmt.Errorf("%s: %w", command, err)
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return "", err
	}
	chunks := (size + chunkOctets - 1) / chunkOctets
	heard := make(chan error, 1)
	go func() {
		for range chunks {
			if _, _, err := c.replies.ReadResponse(250); err != nil {
				_ = c.conn.SetDeadline(time.Now()) // there is no use in going on
				heard <- fmt.Errorf("BDAT: %w", err)
				return
			}
		}
		heard <- nil
	}()
	w := bufio.NewWriterSize(chunker{c.conn}, chunkOctets)
	m(w)
	if err := errors.Join(w.Flush(), <-heard); err != nil {
		return "", err
	}
	fmt.Fprint(c.out, "BDAT 0 LAST\r\n")
	text, err := c.reply(250, endTimeout)
	if err != nil {
		return "", fmt.Errorf("end of BDAT: %w", err)
	}
	return text, nil
}

// chunker makes a chunk of each write.
type chunker struct{ w io.Writer }

func (c chunker) Write(p []byte) (int, error) {
	if _, err := fmt.Fprintf(c.w, "BDAT %d\r\n", len(p)); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

func (c *client) close() error {
	if !c.forget() {
		return nil // the end of the context closes it
	}
	return c.conn.Close()
}

// quit ends the session in good order.
func (c *client) quit() error {
	fmt.Fprint(c.out, "QUIT\r\n")
	_, err := c.reply(221, replyTimeout)
	return errors.Join(err, c.close())
}

// sendAll sends the message rounds times on each of so many connections, which all begin at once, and returns the time
// from there to the last reply. Its error tells those of all connections.
func sendAll(ctx context.Context, addr string, connections, rounds int, m message) (time.Duration, error) {
	size := m.size()
	return together(ctx, addr, connections, func(c *client) error {
		for range rounds {
			if _, err := c.send(m, size); err != nil {
				return err
			}
		}
		return nil
	})
}

// together calls f for each of so many connections at once, and returns the time from there to the last return. Its
// error tells those of all connections.
func together(ctx context.Context, addr string, connections int, f func(*client) error) (time.Duration, error) {
	return togetherBy(ctx, func(ctx context.Context) (*client, error) { return dial(ctx, addr) }, connections, f)
}

// togetherBy is together with connections of another kind.
func togetherBy(ctx context.Context, dial func(context.Context) (*client, error), connections int, f func(*client) error) (time.Duration, error) {
	clients := make([]*client, 0, connections)
	defer func() {
		for _, c := range clients {
			_ = c.close()
		}
	}()
	for i := range connections {
		c, err := dial(ctx)
		if err != nil {
			return 0, fmt.Errorf("connection %d of %d: %w", i+1, connections, err)
		}
		clients = append(clients, c)
	}
	errs := make([]error, connections)
	begun := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { errs[i] = f(c) })
	}
	wg.Wait()
	took := time.Since(begun)
	if ctx.Err() != nil {
		return took, context.Cause(ctx)
	}
	for i, c := range clients {
		if errs[i] == nil {
			errs[i] = c.quit()
		}
	}
	return took, summary(errs)
}

// summary joins errors, those with the same text as one, which says on how many connections it came up.
func summary(errs []error) error {
	var distinct []error
	times := map[string]int{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		if times[err.Error()]++; times[err.Error()] == 1 {
			distinct = append(distinct, err)
		}
	}
	for i, err := range distinct {
		distinct[i] = fmt.Errorf("%d of %d connections: %w", times[err.Error()], len(errs), err)
	}
	return errors.Join(distinct...)
}

// size is the length of the message in octets.
func (m message) size() int64 {
	var n counter
	w := bufio.NewWriterSize(&n, writeBuffer)
	m(w)
	_ = w.Flush() // a counter does not fail
	return int64(n)
}

// counter counts what is written to it.
type counter int64

var _ io.Writer = (*counter)(nil)

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}
