package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
)

// session drives the bridge for one connection. Each MAIL begins a
// bridge.Session of its own: go-smtp may begin the next transaction while the
// Data of the one before still returns.
type session struct {
	server *Server
	smtp   *smtp.Conn
	conn   *conn
	scheme string
	ctx    context.Context // ends with the connection
	end    context.CancelFunc

	mail  *bridge.Session // nil without MAIL
	rcpts []string
}

var errShutdown = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "shutting down, try again later"}

func (s *Server) newSession(c *smtp.Conn, scheme string) *session {
	nc := c.Conn()
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	ctx, end := context.WithCancel(s.force)
	return &session{server: s, smtp: c, conn: nc.(*conn), scheme: scheme, ctx: ctx, end: end}
}

// Mail begins a transaction.
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	if s.server.draining.Load() {
		return errShutdown
	}
	state, isTLS := s.smtp.TLSConnectionState()
	if s.server.cfg.TLSRequired && !isTLS && s.scheme == "smtp" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "must issue a STARTTLS command first"}
	}
	peer := bridge.Peer{Helo: s.smtp.Hostname(), Address: addressOf(s.conn.RemoteAddr()), Protocol: "ESMTP"}
	if s.scheme == "lmtp" {
		peer.Protocol = "LMTP"
	}
	if isTLS {
		peer.TLS = &state
		peer.Protocol += "S"
	}
	m := s.server.bridge.NewSession(s.ctx, peer)
	if err := m.Mail(from, o); err != nil {
		return err
	}
	s.mail, s.rcpts = m, nil
	return nil
}

// Rcpt adds a recipient.
func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	if err := s.mail.Rcpt(to, o); err != nil {
		return err
	}
	s.rcpts = append(s.rcpts, to)
	return nil
}

// Data delivers a message for all recipients with one reply.
func (s *session) Data(r io.Reader) error {
	id, errs := s.deliver(r)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return accepted(id)
}

// LMTPData delivers a message with a reply for each recipient (RFC 2033 §4.2).
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	rcpts := s.rcpts
	id, errs := s.deliver(r)
	for i, err := range errs {
		if err == nil {
			err = accepted(id)
		}
		status.SetStatus(rcpts[i], err)
	}
	return nil
}

func (s *session) deliver(r io.Reader) (string, []error) {
	s.server.running.Add(1)
	defer s.server.running.Done()
	s.conn.inMessage.Store(true)
	defer s.conn.inMessage.Store(false)
	return s.mail.Deliver(s.ctx, &body{r: r})
}

// Reset and Logout may be called while Data of an earlier transaction runs: its state is in its bridge.Session.

// Reset forgets the transaction.
func (s *session) Reset() {}

// Logout ends what depends on the connection.
func (s *session) Logout() error {
	s.end()
	return nil
}

func accepted(id string) error {
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "queued as " + id}
}

// body is the message as go-smtp reads it, with bridge.ErrIncomplete for every end but the true one.
type body struct {
	r   io.Reader
	err error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", bridge.ErrIncomplete, err)
	}
	b.err = err
	return n, err
}

// go-smtp looks for LMTPSession by a type assertion.
var _ smtp.LMTPSession = (*session)(nil)
