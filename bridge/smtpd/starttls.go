package smtpd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
)

// errHandshake reports a TLS handshake that failed.
var errHandshake = errors.New("TLS handshake")

// offersTLS reports whether STARTTLS can be used.
func (s *session) offersTLS() bool {
	return s.server.cfg.TLS != nil && s.tls == nil
}

// startTLS changes to TLS (RFC 3207). What the client has sent before the
// handshake, and what is known of it, is forgotten: an attacker may have put it there.
func (s *session) startTLS(c command) error {
	switch {
	case c.arg != "":
		return errNoArgument
	case s.tls != nil:
		return reply(503, 5, 5, 1, "TLS is in use")
	case s.server.cfg.TLS == nil:
		return reply(502, 5, 5, 1, "STARTTLS is not available")
	case s.mail != nil:
		return reply(503, 5, 5, 1, "not in a transaction")
	}
	s.reply(220, "2.0.0", "begin the handshake")
	if err := s.conn.flush(); err != nil {
		s.close(silently)
		return nil
	}
	s.conn.discard()
	if err := s.handshake(); err != nil {
		s.close(silently)
		return nil
	}
	s.helo, s.esmtp, s.user, s.proto = "", false, "", ""
	s.changed()
	return nil
}

// handshake puts TLS on the connection.
func (s *session) handshake() error {
	_ = s.conn.socket.SetDeadline(after(s.server.cfg.HandshakeTimeout)) // fails only on a closed connection, as the handshake will
	t := tls.Server(s.conn.rw, s.server.cfg.TLS)
	if err := t.HandshakeContext(s.ctx); err != nil {
		s.server.metrics.handshakes.WithLabelValues("failed").Inc()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.server.metrics.limit(limitHandshake)
		}
		s.log().Debug("TLS handshake failed", "error", err)
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	s.server.metrics.handshakes.WithLabelValues("done").Inc()
	s.conn.upgrade(t)
	state := t.ConnectionState()
	if s.tls = &state; !s.named { // else the certificate is that of a proxy
		s.certified = clientName(s.server.cfg.TLS, state)
	}
	return nil
}
