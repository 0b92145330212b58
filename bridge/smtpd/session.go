package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"sync"

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

	// QUIRK: go-smtp calls Reset, Mail and Rcpt beside a Data or LMTPData of BDAT that has not returned.
	mu         sync.Mutex
	mail       *bridge.Session // nil without MAIL, and once its message is taken; guarded by mu
	rcpts      []string        // guarded by mu
	delivering sync.WaitGroup
}

// Replies to commands out of sequence (RFC 5321 §4.1.4) that go-smtp lets through.
var (
	errNested   = &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "nested MAIL command"}
	errSequence = &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "MAIL and RCPT first"}
)

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
	s.delivering.Wait() // the transaction before may still be cleaning up
	m := s.server.bridge.NewSession(s.ctx, peer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail != nil {
		return errNested
	}
	if err := m.Mail(from, o); err != nil {
		return err
	}
	s.mail, s.rcpts = m, nil
	return nil
}

// Rcpt adds a recipient.
func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return errSequence
	}
	if err := s.mail.Rcpt(to, o); err != nil {
		return err
	}
	s.rcpts = append(s.rcpts, to)
	return nil
}

// Data delivers a message for all recipients with one reply.
func (s *session) Data(r io.Reader) error {
	id, _, errs := s.deliver(r)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return accepted(id)
}

// LMTPData delivers a message with a reply for each recipient (RFC 2033 §4.2).
// What it returns goes to recipients without one, and to a chunk of BDAT that is not read any more.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	id, rcpts, errs := s.deliver(r)
	var refused error
	for i, err := range errs {
		if err != nil && refused == nil {
			refused = err
		}
		if i >= len(rcpts) {
			break
		}
		if err == nil {
			err = accepted(id)
		}
		status.SetStatus(rcpts[i], err)
	}
	return refused
}

// deliver takes the transaction, so that its message can be delivered once. It returns at least one error or nil for each recipient.
func (s *session) deliver(r io.Reader) (id string, rcpts []string, errs []error) {
	s.server.running.Add(1)
	defer s.server.running.Done()
	s.mu.Lock()
	s.delivering.Add(1)
	m, rcpts := s.mail, s.rcpts
	s.mail, s.rcpts = nil, nil
	s.mu.Unlock()
	defer s.delivering.Done()
	if m == nil {
		return "", nil, []error{errSequence}
	}
	s.conn.messages.Add(1)
	defer s.conn.messages.Add(-1)
	id, errs = m.Deliver(s.ctx, &body{r: r})
	return id, rcpts, errs
}

// Reset forgets the transaction.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail, s.rcpts = nil, nil
}

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
