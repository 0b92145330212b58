package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
)

// closing is how a session ends.
type closing int

const (
	open      closing = iota
	orderly           // after its replies
	lingering         // after its replies, and a moment in which the client may read them
	silently          // at once
)

// session is the dialogue on one connection. Its goroutine is the only one that touches it.
type session struct {
	server   *Server
	endpoint Endpoint
	conn     *conn
	watch    watch
	ctx      context.Context // ends with the connection
	closing  closing
	pending  *command // to be carried out before the next one is read

	// What is known of the client. Whatever changes it ends taker.
	address string // IP address in text, "" on a unix socket
	trusted bool   // may use XCLIENT
	named   bool   // has used it
	helo    string // "" before the greeting
	esmtp   bool
	tls     *tls.ConnectionState
	user    string // by AUTH, or by XCLIENT
	// certified is the name in a certificate that the client has shown, "" without one that can be trusted.
	certified string
	proto     string // by XCLIENT: ESMTP or SMTP

	taker Session // nil until a transaction needs it

	mail  *smtp.MailOptions // of the transaction; nil without one
	rcpts []string          // accepted

	commands     int // since the last message, but accepted RCPT, DATA and BDAT
	errors       int // replies of 5xx since the last message
	transactions int
	authFailures int
}

func newSession(srv *Server, e Endpoint, nc net.Conn) *session {
	s := &session{server: srv, endpoint: e, conn: newConn(nc, &srv.cfg)}
	s.watch.conn, s.watch.timeout, s.watch.metrics = s.conn, srv.cfg.ReplyTimeout, srv.metrics
	return s
}

// serve is the life of a session.
func (s *session) serve() {
	var end context.CancelFunc
	s.ctx, end = context.WithCancel(s.server.ctx)
	defer end()
	defer func() {
		if p := recover(); p != nil {
			s.server.metrics.panics.Inc()
			s.server.cfg.Logger.Error("a session has panicked", "panic", p, "client", s.address, "stack", string(debug.Stack()))
			s.reply(421, "4.3.0", "internal error, try again later")
			s.close(lingering)
		}
		s.end()
	}()
	if err := s.begin(); err != nil {
		s.lost(err)
		return
	}
	for s.closing == open {
		c, err := s.next()
		if err != nil {
			s.lost(err)
			return
		}
		s.handle(c)
	}
}

// begin takes the session to its greeting.
func (s *session) begin() error {
	if err := s.identify(); err != nil {
		return err
	}
	if s.endpoint.Scheme == "smtps" {
		if err := s.handshake(); err != nil {
			return err
		}
	}
	s.greet()
	return nil
}

// greet sends the greeting (RFC 5321 §4.3.1).
func (s *session) greet() {
	if s.endpoint.Scheme == "lmtp" {
		s.reply(220, "", s.server.cfg.Hostname+" LMTP lsmtpd")
		return
	}
	s.reply(220, "", s.server.cfg.Hostname+" ESMTP lsmtpd")
}

// next is the command that was put off, or the next one.
func (s *session) next() (command, error) {
	if c := s.pending; c != nil {
		s.pending = nil
		return *c, nil
	}
	return s.command()
}

// command reads commands until there is one, and answers what is none.
func (s *session) command() (command, error) {
	for {
		if s.conn.interrupted() {
			return command{}, errWoken
		}
		line, err := s.conn.line()
		if err != nil && !errors.Is(err, errLineTooLong) {
			return command{}, err
		}
		if isHTTP(line) {
			return command{}, errHTTP
		}
		var c command
		if err == nil {
			if c, err = parseCommand(line); err == nil {
				return c, nil
			}
		}
		s.commands++
		s.refuseLine(line, err)
		if s.limit(); s.closing != open {
			return command{}, errAbandoned
		}
	}
}

// refuseLine answers a line that is no command.
func (s *session) refuseLine(line []byte, err error) {
	line = bytes.TrimLeft(line, " \t")
	switch verb := upper(string(line[:min(len(line), 4)])); {
	case verb == "BDAT":
		s.replyError(errBadChunk)
		s.hangUp(unknownRest)
	case errors.Is(err, errLineTooLong):
		s.replyError(errTooLong)
	case verb == "MAIL": // RFC 5321 §4.1.2: 501 for these characters in a path
		s.replyError(reply(501, 5, 1, 7, "bad reverse-path: "+err.Error()))
	case verb == "RCPT":
		s.replyError(reply(501, 5, 1, 3, "bad forward-path: "+err.Error()))
	default:
		s.replyError(errSyntax)
	}
}

// lost ends a session from which no command can be read.
func (s *session) lost(err error) {
	switch {
	case s.closing != open:
	case errors.Is(err, errWoken):
		s.reply(421, "4.3.2", "shutting down, try again later")
		s.close(orderly)
	case errors.Is(err, errTimeout):
		s.server.metrics.limit(limitCommandTimeout)
		s.reply(421, "4.4.2", "no command came in time")
		s.close(orderly)
	case errors.Is(err, errLineEndless):
		s.server.metrics.limit(limitCommandLine)
		s.hangUp("a command line has no end in sight")
	case errors.Is(err, errHTTP):
		s.server.metrics.limit(limitHTTP)
		s.hangUp("this is SMTP, not HTTP")
	default:
		if errors.Is(s.conn.broken, os.ErrDeadlineExceeded) {
			s.server.metrics.limit(limitWriteTimeout)
		}
		s.close(silently)
	}
}

// handle carries a command out, and holds the client to its limits.
func (s *session) handle(c command) {
	s.commands++
	if err := s.dispatch(c); err != nil {
		s.replyError(err)
	} else if s.commands > 0 && (c.verb == "DATA" || c.verb == "BDAT" || c.verb == "RCPT") {
		s.commands--
	}
	s.limit()
}

// limit ends a session that goes on without mail.
func (s *session) limit() {
	cfg := &s.server.cfg
	switch {
	case s.closing != open:
	case cfg.MaxErrors > 0 && s.errors > cfg.MaxErrors:
		s.server.metrics.limit(limitErrors)
		s.hangUp("too many errors")
	case cfg.MaxCommands > 0 && s.commands > cfg.MaxCommands:
		s.server.metrics.limit(limitCommands)
		s.hangUp("too many commands without a message")
	}
}

// dispatch carries out a command. Its error is the reply; without one, the command has replied.
func (s *session) dispatch(c command) error {
	if s.named && c.verb != "XCLIENT" {
		s.trusted = false // it may come from the client that was named, by a proxy that passes on what it gets
	}
	switch c.verb {
	case "MAIL", "RCPT", "VRFY", "BDAT": // they look at what is not ASCII themselves
	default:
		if !isASCII(c.arg) {
			return errSyntax
		}
	}
	switch c.verb {
	case "EHLO", "HELO", "LHLO":
		return s.hello(c)
	case "MAIL":
		return s.mailFrom(c)
	case "RCPT":
		return s.rcptTo(c)
	case "DATA":
		return s.data(c)
	case "BDAT":
		return s.bdat(c)
	case "RSET":
		return s.rset(c)
	case "STARTTLS":
		return s.startTLS(c)
	case "AUTH":
		return s.auth(c)
	case "XCLIENT":
		return s.xclient(c)
	}
	return s.courtesy(c)
}

// hangUp tells the client that its connection is closed, and why (RFC 5321 §3.8), and closes it.
func (s *session) hangUp(why string) {
	s.reply(421, "4.7.0", why)
	s.close(lingering)
}

// unknownRest is why a connection is closed on which octets of a message cannot be told from commands.
const unknownRest = "what follows cannot be told from commands, make another connection"

// close ends the session after the command.
func (s *session) close(how closing) {
	if s.closing == open {
		s.closing = how
	}
}

// end sends what is to be sent, and closes the connection.
func (s *session) end() {
	switch s.closing {
	case lingering:
		s.conn.linger()
	case silently:
	default:
		_ = s.conn.flush() // whoever is gone has lost the reply: see below
	}
	if len(s.conn.promises) > 0 {
		s.server.metrics.repliesLost.Add(float64(len(s.conn.promises)))
		s.server.cfg.Logger.Warn("a reply of 250 was lost: the client may send the message again", "client", s.address, "transactions", s.conn.promises, "error", s.conn.broken)
	}
	if t, ok := s.conn.rw.(*tls.Conn); ok && s.closing != silently {
		_ = t.SetWriteDeadline(after(s.server.cfg.WriteTimeout))
		_ = t.CloseWrite() // close_notify; the client may be gone
	}
	s.conn.release()
}

// backend is the Session for the client as it is known now.
func (s *session) backend() Session {
	if s.taker == nil {
		s.taker = s.server.backend(s.ctx, s.peer())
	}
	return s.taker
}

// peer is what the Session is told of the client.
func (s *session) peer() bridge.Peer {
	p := bridge.Peer{Helo: s.helo, Address: s.address, TLS: s.tls, AuthenticatedAs: s.user, Protocol: "SMTP"}
	switch {
	case s.endpoint.Scheme == "lmtp":
		p.Protocol = "LMTP"
	case s.proto != "":
		p.Protocol = s.proto
	case s.esmtp:
		p.Protocol = "ESMTP"
	}
	if p.Protocol != "SMTP" { // RFC 3848 has no other names
		if s.tls != nil {
			p.Protocol += "S"
		}
		if s.user != "" {
			p.Protocol += "A"
		}
	}
	if p.AuthenticatedAs == "" {
		p.AuthenticatedAs = s.certified
	}
	return p
}

// changed forgets what was made for the client as it was known before.
func (s *session) changed() {
	s.reset()
	s.taker = nil
}

// reset ends the transaction.
func (s *session) reset() {
	s.mail, s.rcpts = nil, nil
	if s.taker != nil {
		s.taker.Reset()
	}
}

// log is the logger for what concerns the client.
func (s *session) log() *slog.Logger { return s.server.cfg.Logger.With("client", s.address) }

// addressOf is the IP address of a peer in text, "" on a unix socket.
func addressOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("").String()
	}
	return ""
}
