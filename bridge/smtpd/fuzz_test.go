package smtpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
)

// pieces is a connection whose client has sent all it will ever send. Each Read
// returns at most size octets; then the client is gone.
type pieces struct {
	net.Conn // nil: only what is below is called
	sent     *bytes.Reader
	size     int
	replies  bytes.Buffer
}

func (p *pieces) Read(b []byte) (int, error)       { return p.sent.Read(b[:min(len(b), p.size)]) }
func (p *pieces) Write(b []byte) (int, error)      { return p.replies.Write(b) }
func (p *pieces) Close() error                     { return nil }
func (p *pieces) SetDeadline(time.Time) error      { return nil }
func (p *pieces) SetReadDeadline(time.Time) error  { return nil }
func (p *pieces) SetWriteDeadline(time.Time) error { return nil }
func (p *pieces) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func newPieces(sent []byte, size int) *pieces {
	return &pieces{sent: bytes.NewReader(sent), size: size}
}

// readAll reads r to its end, into a buffer of size octets.
func readAll(r io.Reader, size int) (string, error) {
	var all strings.Builder
	_, err := io.CopyBuffer(struct{ io.Writer }{&all}, struct{ io.Reader }{r}, make([]byte, size))
	return all.String(), err
}

// unstuffed is the message in octets of DATA by RFC 5321 §4.5.2, read one octet
// at a time: its octets, what follows its end, whether it has an end, and
// whether there is a bare CR or LF before that.
func unstuffed(sent string) (message, rest string, ended, bare bool) {
	var out strings.Builder
	atStart := true
	for i := 0; i < len(sent); i++ {
		if atStart && sent[i] == '.' {
			if strings.HasPrefix(sent[i:], ".\r\n") {
				return out.String(), sent[i+3:], true, bare
			}
			atStart = false
			continue
		}
		atStart = i > 0 && sent[i] == '\n' && sent[i-1] == '\r'
		bareLF := sent[i] == '\n' && !atStart
		bareCR := sent[i] == '\r' && i+1 < len(sent) && sent[i+1] != '\n'
		bare = bare || bareLF || bareCR
		out.WriteByte(sent[i])
	}
	return out.String(), "", false, bare
}

// FuzzDots compares the reader of DATA with one that goes octet by octet.
func FuzzDots(f *testing.F) {
	for _, seed := range []string{"", ".\r\n", "\r\n.\r\n", "a\r\n..b\r\n.\r\nQUIT\r\n", "a\r\r\n.\r\n", "a\n.\nb\r\n.\rc\r\n.\r\n", ".\r\r\n.\r\n", "..\r\n...\r\n.", "\r", ".\n\r\n.\r\n", "a\r\n.b\r.\r\n\r\n.\r\n",
		"x\r\n" + strings.Repeat("aaaa\r\naaaa\r\n\r\n..\r\n", 9) + ".\r\n", strings.Repeat(strings.Repeat("A", 76)+"\r\n", 20) + "A\r" + strings.Repeat(strings.Repeat("A", 76)+"\r\n", 9) + ".\r\n"} {
		f.Add([]byte(seed), 1, 1)
		f.Add([]byte(seed), 7, 3)
		f.Add([]byte(seed), window, window)
	}
	f.Fuzz(func(t *testing.T, sent []byte, piece, room int) {
		if piece < 1 || room < 1 || room > 2*window {
			return
		}
		want, rest, ended, bare := unstuffed(string(sent))
		for _, accept := range []bool{true, false} {
			c := newConn(newPieces(sent, piece), &Config{})
			r := &dotReader{conn: c, acceptBare: accept}
			got, err := readAll(r, room)
			switch {
			case accept || !bare:
				if r.whole() != ended || (err == nil) != ended {
					t.Fatalf("%q: whole %v, error %v; want an end: %v", sent, r.whole(), err, ended)
				}
				if ended && got != want {
					t.Fatalf("%q: got %q, want %q", sent, got, want)
				}
			case !errors.Is(err, errBareNewline):
				if err == nil || ended {
					t.Fatalf("%q: error %v, want %v", sent, err, errBareNewline)
				}
			}
			if !ended {
				continue
			}
			r.drained()
			if _, err := readAll(r, room); err != nil {
				t.Fatalf("%q: drained: %v", sent, err)
			}
			if left := string(c.in[c.r:c.w]) + unread(c); left != rest {
				t.Fatalf("%q: %q is left for commands, want %q", sent, left, rest)
			}
		}
	})
}

// unread is what a connection has not read yet.
func unread(c *conn) string {
	left, err := io.ReadAll(c.socket.(*pieces).sent)
	if err != nil {
		return err.Error()
	}
	return string(left)
}

// FuzzChunks compares the message by BDAT with the octets that were sent, however they are cut into chunks and reads.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\n.\r\n"), []byte{3, 0, 200}, 1, 1, 0)
	f.Add([]byte("\r\n.\r\n\x00\xff"), []byte{}, 5, 2, 3)
	f.Add(bytes.Repeat([]byte("x"), 3000), []byte{255, 1}, window, window, 1)
	f.Fuzz(func(t *testing.T, message, sizes []byte, piece, room, cut int) {
		if piece < 1 || room < 1 || room > 2*window || cut < 0 || len(sizes) > 30 { // empty ones count for MaxCommands
			return
		}
		var sent []byte
		rest := message
		for _, size := range sizes {
			n := min(int(size), len(rest))
			sent = append(append(sent, "BDAT "+strconv.Itoa(n)+"\r\n"...), rest[:n]...)
			rest = rest[n:]
		}
		sent = append(append(sent, "bdat "+strconv.Itoa(len(rest))+" last\r\n"...), rest...)
		whole := cut == 0
		if !whole {
			sent = sent[:max(0, len(sent)-cut)]
		}
		s := testSession(newPieces(sent, piece), &discardSession{})
		c, err := s.command()
		if err != nil {
			return // cut in the first command
		}
		octets, last, err := parseChunk(c.arg)
		if err != nil {
			return // cut in its number
		}
		r := &chunkReader{s: s, remaining: octets, last: last}
		got, err := readAll(r, room)
		if (err == nil) != r.whole() || r.whole() && got != string(message) && whole {
			t.Fatalf("%q: whole %v, error %v, got %q, want %q", sent, r.whole(), err, got, message)
		}
		if whole && !r.whole() {
			t.Fatalf("%q: error %v, want the whole message", sent, err)
		}
		if !whole && len(rest) > 0 && r.whole() {
			t.Fatalf("%q: a message that was cut is whole", sent)
		}
	})
}

// FuzzCommand looks for what a command line, a path and parameters must never be read as.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		"MAIL FROM:<a@example.org> SIZE=1 BODY=8BITMIME", "RCPT TO:<@a,@b:\"x y\\\"\"@[IPv6:::1]>", "RCPT TO:<postmaster>", "EHLO x", "",
		"MAIL FROM:<> AUTH=a+3Db", "NOOP \x00", "RCPT TO:<\xc3\xa4@example.org>", "MAIL FROM:a..b@-x", "BDAT 12 LAST", "AUTH PLAIN =",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := parseCommand(line)
		if err != nil {
			return
		}
		if strings.ContainsAny(c.verb, " \r\n\x00") || strings.ContainsAny(c.arg, "\r\n\x00") {
			t.Fatalf("%q: the command %q %q", line, c.verb, c.arg)
		}
		mailbox, rest, err := parsePath(c.arg)
		if err == nil && mailbox != "" {
			if !strings.Contains(c.arg, mailbox) || !strings.HasSuffix(c.arg, rest) {
				t.Fatalf("%q: the mailbox %q, the rest %q", c.arg, mailbox, rest)
			}
			if again, rest, err := parsePath("<" + mailbox + ">"); again != mailbox || rest != "" || err != nil {
				t.Fatalf("%q: the mailbox %q is read again as %q, %q, %v", c.arg, mailbox, again, rest, err)
			}
		}
		if list, err := parseParameters(c.arg); err == nil {
			for _, p := range list {
				if p.hasValue != (p.value != "") || p.keyword != strings.ToUpper(p.keyword) {
					t.Fatalf("%q: the parameter %+v", c.arg, p)
				}
			}
		}
		if octets, _, err := parseChunk(c.arg); err == nil && octets < 0 {
			t.Fatalf("%q: %d octets", c.arg, octets)
		}
	})
}

// discardSession takes everything.
type discardSession struct{ log strings.Builder }

func (d *discardSession) Mail(from string, o *smtp.MailOptions) error {
	fmt.Fprintf(&d.log, "MAIL %q %+v\n", from, *o)
	if strings.HasPrefix(from, "refuse-mail") {
		return reply(451, 4, 3, 2, "refused")
	}
	return nil
}

func (d *discardSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	fmt.Fprintf(&d.log, "RCPT %q\n", to)
	if strings.HasPrefix(to, "refuse-rcpt") {
		return reply(550, 5, 1, 1, "refused")
	}
	if strings.HasPrefix(to, "refuse-message") {
		fmt.Fprintf(&d.log, "and refuse\n")
	}
	return nil
}

func (d *discardSession) Deliver(_ context.Context, body io.Reader) (string, []error) {
	if strings.HasSuffix(d.log.String(), "and refuse\n") {
		var some [3]byte
		_, _ = io.ReadFull(body, some[:])
		d.log.WriteString("refused\n") // how much could be read before a bare newline depends on how it came
		return "id", []error{reply(552, 5, 3, 4, "refused")}
	}
	message, err := readAll(body, window)
	end := "whole"
	if err != nil {
		end = "cut"
		if !errors.Is(err, bridge.ErrIncomplete) && !errors.Is(err, errBareNewline) {
			end = err.Error()
		}
		message = "" // how much of it was read depends on how it came
	}
	fmt.Fprintf(&d.log, "message %q, %s\n", message, end)
	return "id", []error{err}
}

func (d *discardSession) Reset() { d.log.WriteString("reset\n") }

// anyone lets in those whose password is their name.
type anyone struct{}

func (anyone) Check(_ context.Context, user, password string) error {
	if user != password {
		return ErrCredentials
	}
	return nil
}

// testSession is a session on a connection that is not in the set of a running server.
func testSession(nc net.Conn, backend Session) *session {
	srv := &Server{
		cfg: Config{
			Hostname: "mx.example.com", MaxMessageBytes: 1 << 20, MaxRecipients: 10, MaxTransactions: 20, MaxCommands: 30, MaxErrors: 20,
			Users: anyone{}, AllowInsecureAuth: true, MaxAuthAttempts: 3, DrainBytes: 1 << 16, Logger: slog.New(slog.DiscardHandler),
			XclientFrom: mustNetworks("192.0.2.0/24"),
		},
		backend: func(context.Context, bridge.Peer) Session { return backend },
		ctx:     context.Background(),
	}
	srv.set = newConnections(&srv.cfg)
	srv.metrics = newMetrics(nil, srv.set)
	s := newSession(srv, Endpoint{Scheme: "smtp", Network: "tcp"}, nc)
	s.ctx = srv.ctx
	return s
}

func mustNetworks(s string) Networks {
	n, err := ParseNetwork(s)
	if err != nil {
		panic(err)
	}
	return Networks{n}
}

// FuzzSession holds a whole dialogue, sent at once and an octet at a time: the
// replies and what the Session is told are the same, and no 250 follows a message that was cut.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"EHLO a\r\nMAIL FROM:<a@b> SIZE=3\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n..\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n",
		"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcNOOP\r\nBDAT 2 LAST\r\ndeRSET\r\n",
		"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<refuse-message@d>\r\nBDAT 9\r\n123456789BDAT 3 LAST\r\nabcQUIT\r\n",
		"HELO a\nMAIL FROM: a@b\nRCPT TO:<postmaster>\nDATA\nbare\n.\n\r\n.\r\nEHLO b\r\nAUTH PLAIN AGEAYQ==\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\n",
		"XCLIENT ADDR=192.0.2.9 LOGIN=u HELO=h PROTO=ESMTP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5 LAST\r\nhe",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "BDAT x\r\n", "\x00\r\n\xff\r\nSTARTTLS\r\nVRFY a\r\nEXPN b\r\nHELP\r\nRSET x\r\n",
		"EHLO a\r\nMAIL FROM:<refuse-mail@b>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<refuse-rcpt@b>\r\nDATA\r\nRCPT TO:<refuse-message@b>\r\nDATA\r\nlong\r\n.\r\nNOOP\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		dialogue := func(piece int) (replies, log string) {
			p, d := newPieces(sent, piece), &discardSession{}
			s := testSession(p, d)
			s.serve()
			if p.sent.Len() > 0 && s.closing == open {
				t.Fatalf("%q: the session has ended before the client", sent)
			}
			if n := s.conn.buffered(); n > window {
				t.Fatalf("%d octets are read ahead", n)
			}
			return p.replies.String(), d.log.String()
		}
		replies, log := dialogue(1 << 20)
		for _, piece := range []int{1, 3} {
			if r, l := dialogue(piece); r != replies || l != log {
				t.Fatalf("%q\nat once:\n%s%s\n%d octets at a time:\n%s%s", sent, replies, log, piece, r, l)
			}
		}
		if queued := strings.Count(replies, "queued as"); queued != strings.Count(log, ", whole\n") {
			t.Fatalf("%q: %d replies of 250 for the log\n%s", sent, queued, log)
		}
		for line := range strings.Lines(replies) {
			if !strings.HasSuffix(line, "\r\n") || len(line) > 512 {
				t.Fatalf("%q: the reply line %q", sent, line)
			}
		}
	})
}
