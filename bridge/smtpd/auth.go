package smtpd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

var (
	errAuthSyntax = reply(501, 5, 5, 2, "not a response of the mechanism in base64")
	errAuthCancel = reply(501, 5, 0, 0, "authentication cancelled")

	errNoVerdict  = errors.New("the password could not be checked")
	errNoResponse = errors.New("no response")
)

// checkTimeout bounds the check of a password, which waits for its turn when many guess.
const checkTimeout = 30 * time.Second

// offersAuth reports whether AUTH can be used.
func (s *session) offersAuth() bool {
	return s.server.cfg.Users != nil && (s.tls != nil || s.server.cfg.AllowInsecureAuth)
}

// auth takes a user's name and password (RFC 4954).
func (s *session) auth(c command) error {
	switch {
	case s.server.cfg.Users == nil:
		return reply(502, 5, 5, 1, "AUTH is not available")
	case !s.esmtp:
		return reply(503, 5, 5, 1, "EHLO first")
	case s.user != "":
		return reply(503, 5, 5, 1, "already authenticated")
	case s.mail != nil:
		return reply(503, 5, 5, 1, "not in a transaction")
	case !s.offersAuth():
		return reply(538, 5, 7, 11, "encryption required for authentication")
	}
	if c.arg == "" {
		return reply(501, 5, 5, 4, "want AUTH PLAIN or AUTH LOGIN")
	}
	mechanism, initial, hasInitial := strings.Cut(c.arg, " ")
	var user string
	server := s.mechanism(upper(mechanism), &user)
	if server == nil {
		return reply(504, 5, 5, 4, "want AUTH PLAIN or AUTH LOGIN")
	}
	if err := s.converse(server, strings.TrimSpace(initial), hasInitial); err != nil {
		return s.authFailed(err)
	}
	s.server.metrics.auth.WithLabelValues("accepted").Inc()
	s.user = user
	s.changed()
	s.reply(235, "2.7.0", "authenticated")
	return nil
}

// mechanism is the server's side of a SASL mechanism, which sets user when it is done; nil for one that is not known.
func (s *session) mechanism(name string, user *string) sasl.Server {
	check := func(identity, name, password string) error {
		if identity != "" && identity != name {
			return ErrCredentials // nobody may act for others
		}
		*user = name
		ctx, cancel := context.WithTimeout(s.ctx, checkTimeout)
		defer cancel()
		err := s.server.cfg.Users.Check(ctx, name, password)
		if err != nil && !errors.Is(err, ErrCredentials) {
			err = fmt.Errorf("%w: %w", errNoVerdict, err)
		}
		return err
	}
	switch name {
	case sasl.Plain:
		return sasl.NewPlainServer(check)
	case sasl.Login:
		return &loginServer{check: check}
	}
	return nil
}

// converse exchanges challenges and responses until the mechanism is done.
func (s *session) converse(server sasl.Server, initial string, hasInitial bool) error {
	var response []byte // nil: none as yet
	if hasInitial {
		var err error
		if response, err = decodeResponse(initial); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := server.Next(response)
		if err != nil || done {
			return err
		}
		s.reply(334, "", base64.StdEncoding.EncodeToString(challenge))
		line, err := s.conn.line()
		switch {
		case errors.Is(err, errLineTooLong):
			return errTooLong
		case err != nil:
			return fmt.Errorf("%w: %w", errNoResponse, err)
		}
		if bytes.Equal(line, []byte{'*'}) {
			return errAuthCancel
		}
		if response, err = decodeResponse(string(line)); err != nil {
			return err
		}
	}
}

// decodeResponse reads a response: base64, or = for an empty one (RFC 4954 §4).
func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		s = ""
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder passes over
		return nil, errAuthSyntax
	}
	return append([]byte{}, b...), nil // nil would be no response
}

// authFailed is the reply to an AUTH that came to nothing. Guessing ends the session.
func (s *session) authFailed(err error) error {
	var refusal *smtp.SMTPError
	switch {
	case errors.Is(err, errNoResponse):
		s.lost(err)
		return nil
	case errors.Is(err, errNoVerdict):
		s.server.metrics.auth.WithLabelValues("failed").Inc()
		s.log().Error("authentication failed", "error", err)
		return reply(454, 4, 7, 0, "temporary authentication failure")
	case errors.Is(err, ErrCredentials):
		s.server.metrics.auth.WithLabelValues("refused").Inc()
		s.log().Warn("authentication refused")
		err = reply(535, 5, 7, 8, "authentication credentials invalid")
	case !errors.As(err, &refusal): // the mechanism cannot read the response
		err = errAuthSyntax
	}
	s.authFailures++
	if limit := s.server.cfg.MaxAuthAttempts; limit > 0 && s.authFailures >= limit {
		s.server.metrics.limit(limitAuthAttempts)
		s.hangUp("too many failed authentications")
		return nil
	}
	return err
}

// loginServer is the server's side of LOGIN, which go-sasl has for clients only
// (draft-murchison-sasl-login): a name, then a password.
type loginServer struct {
	check sasl.PlainAuthenticator
	user  *string
}

// Next asks for what is missing.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case l.user == nil:
		user := string(response)
		l.user = &user
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check("", *l.user, string(response))
}
