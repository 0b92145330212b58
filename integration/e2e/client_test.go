//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// smtpClient speaks SMTP as the test says, which no library would: it pauses, breaks off, and sends chunks.
type smtpClient struct {
	t    *testing.T
	conn *net.TCPConn
	text *textproto.Conn
}

// dial connects, reads the greeting and says EHLO. The connection is closed at the end of the test.
func dial(t *testing.T, addr string) *smtpClient {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := &smtpClient{t: t, conn: conn.(*net.TCPConn), text: textproto.NewConn(conn)}
	c.want("220", c.reply())
	c.do("250", "EHLO client.example")
	return c
}

// reply reads a reply: its code and its text, which begins with the enhanced code.
func (c *smtpClient) reply() string {
	c.t.Helper()
	code, text, err := c.text.ReadResponse(0)
	if err != nil {
		c.t.Fatalf("read a reply: %v", err)
	}
	return fmt.Sprintf("%d %s", code, text)
}

func (c *smtpClient) want(prefix, reply string) {
	c.t.Helper()
	if !strings.HasPrefix(reply, prefix) {
		c.t.Fatalf("the reply is %q, want %s", reply, prefix)
	}
}

// write sends octets as they are.
func (c *smtpClient) write(octets []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(octets); err != nil {
		c.t.Fatalf("send %d octets: %v", len(octets), err)
	}
}

// do sends a command whose reply has to begin with want.
func (c *smtpClient) do(want, command string) {
	c.t.Helper()
	c.write([]byte(command + "\r\n"))
	reply := c.reply()
	if !strings.HasPrefix(reply, want) {
		c.t.Fatalf("the reply to %.80q is %q, want %s", command, reply, want)
	}
}

// begin begins a transaction; mail is the argument of MAIL FROM.
func (c *smtpClient) begin(mail string, recipients ...string) {
	c.t.Helper()
	c.do("250", "MAIL FROM:"+mail)
	var commands strings.Builder
	for _, r := range recipients {
		fmt.Fprintf(&commands, "RCPT TO:<%s>\r\n", r)
	}
	c.write([]byte(commands.String()))
	for range recipients {
		c.want("250", c.reply())
	}
}

// data sends a message by DATA and returns the reply to its end.
func (c *smtpClient) data(message []byte) string {
	c.t.Helper()
	c.do("354", "DATA")
	c.write(stuffed(message))
	c.write([]byte(".\r\n"))
	return c.reply()
}

// bdat sends a message in chunks (RFC 3030), the last of which may be empty, and returns the reply to the last one.
func (c *smtpClient) bdat(chunks ...[]byte) string {
	c.t.Helper()
	for i, chunk := range chunks {
		last := i == len(chunks)-1
		c.write(bdatCommand(len(chunk), last))
		c.write(chunk)
		if last {
			break
		}
		c.want("250", c.reply())
	}
	return c.reply()
}

func bdatCommand(octets int, last bool) []byte {
	if last {
		return fmt.Appendf(nil, "BDAT %d LAST\r\n", octets)
	}
	return fmt.Appendf(nil, "BDAT %d\r\n", octets)
}

// send delivers a message to one recipient, which has to be accepted.
func (c *smtpClient) send(message []byte) {
	c.t.Helper()
	c.begin("<a@example.org>", "in@example.com")
	c.want("250 2.0.0 queued as ", c.data(message))
}

// stuffed is a message with a dot before every line that begins with one (RFC 5321 §4.5.2).
func stuffed(message []byte) []byte {
	s := bytes.ReplaceAll(message, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(s, []byte(".")) {
		s = append([]byte("."), s...)
	}
	return s
}

// crlf is a text whose lines end in LF as it is sent.
func crlf(text string) []byte { return []byte(strings.ReplaceAll(text, "\n", "\r\n")) }
