package smtpd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
	"lsmtpd/bridge/smtpd"
)

// gosmtpLine is go-smtp's limit on lines. It holds it for those of a message, too, so it has to lie far above the
// longest command.
const gosmtpLine = 1 << 20

// gosmtp is go-smtp's server in front of a Backend. Nothing in it mends what go-smtp lets through.
type gosmtp struct {
	backend smtpd.Backend
	ctx     context.Context
}

// startGosmtp serves until stop is called. A message by BDAT that was given up may end later than that.
func startGosmtp(t *testing.T, o options, backend smtpd.Backend, tlsConfig *tls.Config) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := &gosmtp{backend: backend, ctx: ctx}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s := &gosmtpSession{gosmtp: g, conn: c}
		if o.auth {
			return gosmtpAuth{s}, nil
		}
		return s, nil
	}))
	srv.Domain = "mx.example"
	srv.LMTP = o.lmtp
	srv.MaxLineLength = gosmtpLine
	srv.MaxRecipients = o.recipients
	srv.EnableSMTPUTF8 = true
	srv.EnableBINARYMIME = true
	srv.AllowInsecureAuth = true
	srv.TLSConfig = tlsConfig
	srv.ReadTimeout, srv.WriteTimeout = patience, patience
	srv.ErrorLog = log.New(io.Discard, "", 0)
	if o.bytes > 0 {
		srv.MaxMessageBytes = int64(o.bytes) + 1 // in DATA, it refuses a message of exactly its limit
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	return ln.Addr().String(), sync.OnceFunc(func() {
		cancel()
		if err := srv.Close(); err != nil {
			t.Errorf("go-smtp: %v", err)
		}
		<-served
	})
}

// gosmtpSession drives a Session of the backend for each MAIL: go-smtp may begin the next transaction while the Data
// of the one before, if it came by BDAT, still returns.
type gosmtpSession struct {
	gosmtp *gosmtp
	conn   *smtp.Conn

	mu    sync.Mutex
	mail  smtpd.Session // nil without MAIL, and once its message is taken
	rcpts []string
}

var errNoTransaction = &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "no transaction"}

func (s *gosmtpSession) Mail(from string, o *smtp.MailOptions) error {
	p := bridge.Peer{Helo: s.conn.Hostname()}
	if state, ok := s.conn.TLSConnectionState(); ok {
		p.TLS = &state
	}
	mail := s.gosmtp.backend(s.gosmtp.ctx, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail, s.rcpts = nil, nil
	if err := mail.Mail(from, o); err != nil {
		return err
	}
	s.mail = mail
	return nil
}

func (s *gosmtpSession) Rcpt(to string, o *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return errNoTransaction
	}
	if err := s.mail.Rcpt(to, o); err != nil {
		return err
	}
	s.rcpts = append(s.rcpts, to)
	return nil
}

// Data delivers a message with one reply for all recipients.
func (s *gosmtpSession) Data(r io.Reader) error {
	_, errs := s.deliver(r)
	return firstError(errs)
}

// LMTPData delivers a message with a reply for each recipient.
func (s *gosmtpSession) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	rcpts, errs := s.deliver(r)
	for i, to := range rcpts {
		status.SetStatus(to, errs[i])
	}
	return firstError(errs)
}

func (s *gosmtpSession) deliver(r io.Reader) (rcpts []string, errs []error) {
	s.mu.Lock()
	mail, rcpts := s.mail, s.rcpts
	s.mail, s.rcpts = nil, nil
	s.mu.Unlock()
	if mail == nil {
		return nil, []error{errNoTransaction}
	}
	_, errs = mail.Deliver(s.gosmtp.ctx, r)
	return rcpts, errs
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *gosmtpSession) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail, s.rcpts = nil, nil
}

func (s *gosmtpSession) Logout() error { return nil }

// gosmtpAuth is a session that offers AUTH.
type gosmtpAuth struct{ *gosmtpSession }

func (gosmtpAuth) AuthMechanisms() []string { return []string{sasl.Plain} }

func (gosmtpAuth) Auth(mechanism string) (sasl.Server, error) {
	if mechanism != sasl.Plain {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return sasl.NewPlainServer(func(identity, user, password string) error {
		switch err := (alice{}).Check(context.Background(), user, password); {
		case errors.Is(err, smtpd.ErrCredentials) || identity != "" && identity != user:
			return smtp.ErrAuthFailed
		default:
			return err // go-smtp makes 454 of it
		}
	}), nil
}

// alice is the one user of the dialogues.
type alice struct{}

func (alice) Check(_ context.Context, user, password string) error {
	switch {
	case user == "broken":
		return errors.New("the users cannot be read")
	case user != "alice" || password != "secret":
		return smtpd.ErrCredentials
	}
	return nil
}

// go-smtp looks for these by type assertions.
var (
	_ smtp.LMTPSession = (*gosmtpSession)(nil)
	_ smtp.AuthSession = gosmtpAuth{}
)
