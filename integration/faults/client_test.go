//go:build integration

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// replyTimeout bounds the wait for any reply: more than lsmtpd may take for one.
const replyTimeout = 40 * time.Second

// client is a connection of a sender.
type client struct {
	conn *net.TCPConn
	text *textproto.Conn
}

// dialSMTP connects, reads the greeting and says EHLO.
func dialSMTP(ctx context.Context, addr string) (*client, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn.(*net.TCPConn), text: textproto.NewConn(conn)}
	if err = c.want("220", c.reply()); err == nil {
		err = c.do("250", "EHLO client.example")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) close() { c.conn.Close() }

// errLost reports a connection that ended instead of a reply.
var errLost = errors.New("connection lost")

// refusal is a reply that refuses.
type refusal struct{ command, reply string }

func (r *refusal) Error() string { return fmt.Sprintf("%.40s: %s", r.command, r.reply) }

// reply reads a reply, "" for none.
func (c *client) reply() string {
	c.conn.SetReadDeadline(time.Now().Add(replyTimeout))
	code, text, err := c.text.ReadResponse(0)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %s", code, text)
}

func (c *client) want(prefix, reply string) error {
	switch {
	case reply == "":
		return errLost
	case !strings.HasPrefix(reply, prefix):
		return &refusal{reply: reply}
	}
	return nil
}

// do sends a command whose reply has to begin with want.
func (c *client) do(want, command string) error {
	if err := c.write([]byte(command + "\r\n")); err != nil {
		return err
	}
	err := c.want(want, c.reply())
	if r, ok := errors.AsType[*refusal](err); ok {
		r.command = command
	}
	return err
}

func (c *client) write(octets []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	if _, err := c.conn.Write(octets); err != nil {
		return errLost
	}
	return nil
}

// begin begins a transaction for a mail, up to DATA.
func (c *client) begin(m *mail, octets int) error {
	if err := c.do("250", fmt.Sprintf("MAIL FROM:<a@example.org> SIZE=%d", octets)); err != nil {
		return err
	}
	for _, d := range m.destinations {
		if err := c.do("250", "RCPT TO:<"+recipient(d)+">"); err != nil {
			return err
		}
	}
	return c.do("354", "DATA")
}

const queuedAs = "250 2.0.0 queued as "

// deliver tries once to deliver a mail. After a nil error it is acknowledged; after a refusal the connection is of use.
func (c *client) deliver(m *mail) (err error) {
	a := attempt{}
	defer func() {
		a.replied = time.Now()
		m.note(a)
	}()
	octets := m.message()
	if err = c.begin(m, len(octets)); err != nil {
		return err
	}
	if err = c.write(octets); err != nil {
		return err
	}
	a.sent = time.Now()
	if err = c.write([]byte(".\r\n")); err != nil {
		return err
	}
	a.reply = c.reply()
	if err = c.want(queuedAs, a.reply); err != nil {
		return err
	}
	m.mu.Lock()
	m.queued = strings.TrimPrefix(a.reply, queuedAs)
	m.mu.Unlock()
	return nil
}

// isPermanent reports whether the client would give the mail up.
func isPermanent(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && strings.HasPrefix(r.reply, "5")
}
