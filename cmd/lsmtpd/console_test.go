package main

import (
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// long bounds what is expected to happen at once.
	long = 60 * time.Second
	// secretText and userText may stand in no output, wherever they come from.
	secretText = "s3cr3t-hunter2"
	userText   = "u5er-name"
)

// output keeps what is written to it, and can be waited on.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced with each write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a command line that runs.
type process struct {
	t        *testing.T
	out, err *output
	signals  chan os.Signal
	ended    chan struct{}
	code     int // valid once ended is closed
}

// start runs a command line until it ends or the test does. At the end its outputs are searched for secrets.
func start(t *testing.T, environ []string, stdin string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: newOutput(), err: newOutput(), signals: make(chan os.Signal, 2), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.code = run(args, &console{in: strings.NewReader(stdin), out: p.out, err: p.err, environ: environ, signals: p.signals})
	}()
	t.Cleanup(func() {
		for range 2 {
			select {
			case p.signals <- syscall.SIGTERM:
			default:
			}
		}
		select {
		case <-p.ended:
		case <-time.After(long):
			t.Errorf("lsmtpd %q did not end", args)
		}
		for _, hidden := range []string{secretText, userText} {
			if all := p.out.String() + p.err.String(); strings.Contains(all, hidden) {
				t.Errorf("lsmtpd %q shows %s:\n%s", args, hidden, all)
			}
		}
	})
	return p
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(long):
		p.t.Fatalf("did not end; it wrote\n%s%s", p.out, p.err)
		return -1
	}
}

// await waits until the log has a match and returns its last group, or all of it without groups.
func (p *process) await(pattern string) string {
	p.t.Helper()
	re, deadline := regexp.MustCompile(pattern), time.After(long)
	for {
		p.err.mu.Lock()
		found, changed := re.FindSubmatch(p.err.text.Bytes()), p.err.changed
		var match string
		if found != nil {
			match = string(found[len(found)-1])
		}
		p.err.mu.Unlock()
		if found != nil {
			return match
		}
		select {
		case <-changed:
		case <-p.ended:
			p.t.Fatalf("ended with %d, never logged %q; it wrote\n%s%s", p.code, pattern, p.out, p.err)
		case <-deadline:
			p.t.Fatalf("never logged %q; it wrote\n%s%s", pattern, p.out, p.err)
		}
	}
}

// listens waits until an endpoint of the scheme is served and returns its address.
func (p *process) listens(scheme string) string {
	p.t.Helper()
	return p.await(`msg=listening endpoint=` + scheme + `://(\S+)`)
}

// runs runs a command line to its end.
func runs(t *testing.T, environ []string, args ...string) (code int, out, err string) {
	t.Helper()
	p := start(t, environ, "", args...)
	code = p.exit()
	return code, p.out.String(), p.err.String()
}

// contains reports every text that is not in got.
func contains(t *testing.T, what, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("%s:\n%s\nwant in it: %s", what, got, want)
		}
	}
}

// write writes a file of the test and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// client is an SMTP session, line by line.
type client struct {
	t *testing.T
	*textproto.Conn
	net net.Conn
}

// greeted begins a session on conn with EHLO or LHLO.
func greeted(t *testing.T, conn net.Conn, hello string) *client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(long)); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, Conn: textproto.NewConn(conn), net: conn}
	c.reply("greeting", "220 ")
	c.do("250 ", hello+" client.example")
	return c
}

// dialSMTP begins a session.
func dialSMTP(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, long)
	if err != nil {
		t.Fatal(err)
	}
	return greeted(t, conn, "EHLO")
}

// do sends a line and returns the reply, which must begin as wanted.
func (c *client) do(want, line string) string {
	c.t.Helper()
	if err := c.PrintfLine("%s", line); err != nil {
		c.t.Fatalf("%.80s: %v", line, err)
	}
	return c.reply(line, want)
}

func (c *client) reply(after, want string) string {
	c.t.Helper()
	code, text, err := c.ReadResponse(0)
	if err != nil {
		c.t.Fatalf("reply to %.80s: %v", after, err)
	}
	got := fmt.Sprintf("%d %s", code, text)
	if !strings.HasPrefix(got, want) {
		c.t.Fatalf("reply to %.80s: got %q, want %q", after, got, want)
	}
	return got
}

// send sends a message, whose lines end in CRLF, and wants the reply after its end.
func (c *client) send(want, message string) string {
	c.t.Helper()
	c.do("250 ", "MAIL FROM:<a@example.org>")
	c.do("250 ", "RCPT TO:<b@example.com>")
	c.do("354 ", "DATA")
	return c.do(want, strings.ReplaceAll("\r\n"+message, "\r\n.", "\r\n..")[2:]+".")
}

// small is a message that needs no store.
const small = "Subject: small\r\n\r\nsome text\r\n"
