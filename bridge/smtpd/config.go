package smtpd

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge"
)

// Backend begins a session for a client; ctx ends with its connection. What is
// known of a client does not change within a session: after EHLO, STARTTLS,
// AUTH or XCLIENT there is another one.
type Backend func(ctx context.Context, p bridge.Peer) Session

// Session is what takes the mail of a client: a *bridge.Session. Its methods are
// called one at a time. Their errors are *smtp.SMTPError, which are sent as they
// are; any other becomes 451 4.3.0.
type Session interface {
	Mail(from string, o *smtp.MailOptions) error
	Rcpt(to string, o *smtp.RcptOptions) error
	// Deliver reads a message and takes responsibility for it: see
	// bridge.Session.Deliver, whose contract this is.
	Deliver(ctx context.Context, body io.Reader) (id string, errs []error)
	Reset()
}

// Config steers a Server. Sizes are octets. A limit or a timeout of 0 is none.
type Config struct {
	Listen   []Endpoint
	Hostname string // in the greeting

	MaxMessageBytes     int64 // announced with SIZE (RFC 1870); the Session holds it
	MaxRecipients       int   // announced with LIMITS RCPTMAX (RFC 9422); the Session holds it
	MaxConnections      int   // at a time
	MaxConnectionsPerIP int   // at a time
	MaxTransactions     int   // of a connection, announced with LIMITS MAILMAX (RFC 9422)
	MaxCommands         int   // since the last message; accepted RCPT, DATA and BDAT do not count
	MaxErrors           int   // commands refused with 5xx since the last message

	// AcceptBareNewlines keeps a CR or LF that is not part of a CRLF in DATA, where
	// else the message is refused after its end. Neither is ever part of an end of data.
	AcceptBareNewlines bool

	CommandTimeout   time.Duration // for a whole command line (RFC 5321 §4.5.3.2.7)
	HandshakeTimeout time.Duration // for a TLS handshake, and for a PROXY header
	DataTimeout      time.Duration // in which nothing arrives of a message
	MinRate          int64         // octets a second of a message, averaged over a minute of waiting for the client
	WriteTimeout     time.Duration // in which nothing is taken of a reply
	ReplyTimeout     time.Duration // from the last octet of a message to its reply (RFC 5321 §4.5.3.2.6)
	DrainTimeout     time.Duration // for what still arrives of a message after it was refused
	DrainBytes       int64         // of it; what is past either limit is not read, and the connection closed
	ShutdownTimeout  time.Duration // for running transactions to finish, once Run's context has ended

	TLS         *tls.Config // nil: no STARTTLS, and no smtps endpoint
	TLSRequired bool        // MAIL is refused without TLS, but on a unix socket

	Users             Authenticator // nil: no AUTH
	AuthRequired      bool          // MAIL is refused without AUTH or a verified client certificate, but on a unix socket
	AllowInsecureAuth bool          // AUTH is offered without TLS, too
	MaxAuthAttempts   int           // failed ones of a connection

	Allow       *Recipients // recipients taken beside <postmaster>; nil for all
	ProxyFrom   Networks    // peers whose connections must begin with a PROXY header
	XclientFrom Networks    // peers that may use XCLIENT

	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: no metrics
}

// Authenticator checks passwords. Users is one.
type Authenticator interface {
	// Check returns nil where the password is that of the user, ErrCredentials
	// where it is not, and any other error where that could not be found out.
	Check(ctx context.Context, user, password string) error
}
