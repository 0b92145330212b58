package smtpd

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// mailFrom begins a transaction (RFC 5321 §4.1.1.2).
func (s *session) mailFrom(c command) error {
	switch {
	case s.helo == "":
		return reply(503, 5, 5, 1, map[bool]string{true: "LHLO first", false: "EHLO first"}[s.endpoint.Scheme == "lmtp"])
	case s.mail != nil:
		return reply(503, 5, 5, 1, "nested MAIL command")
	}
	if err := s.admitted(); err != nil {
		return err
	}
	from, o, err := s.parseMail(c.arg)
	if err != nil {
		return err
	}
	if err := s.backend().Mail(from, o); err != nil {
		s.server.metrics.countRefusal(err)
		return err
	}
	s.mail = o
	s.reply(250, "2.1.0", "sender ok")
	return nil
}

// admitted reports whether the client may begin a transaction. A unix socket is protected by its permissions.
func (s *session) admitted() error {
	cfg := &s.server.cfg
	remote := s.endpoint.Network != "unix"
	switch {
	case remote && cfg.TLSRequired && s.tls == nil:
		return reply(530, 5, 7, 0, "must issue a STARTTLS command first")
	case remote && cfg.AuthRequired && s.user == "" && s.certified == "":
		return reply(530, 5, 7, 0, "authentication required")
	case cfg.MaxTransactions > 0 && s.transactions >= cfg.MaxTransactions:
		s.server.metrics.limit(limitTransactions)
		s.close(lingering)
		return reply(421, 4, 7, 0, fmt.Sprintf("%d messages have come on this connection, make another", s.transactions))
	}
	return nil
}

// parseMail reads the arguments of MAIL.
func (s *session) parseMail(arg string) (from string, o *smtp.MailOptions, err error) {
	path, ok := cutPrefixFold(arg, "FROM:")
	if !ok {
		return "", nil, reply(501, 5, 5, 4, "want MAIL FROM:<address>")
	}
	from, rest, pathErr := parsePath(strings.TrimLeft(path, " "))
	if pathErr != nil {
		return "", nil, reply(501, 5, 1, 7, "bad reverse-path: "+pathErr.Error())
	}
	parameters, err := parseParameters(rest)
	if err != nil {
		return "", nil, reply(501, 5, 5, 4, err.Error())
	}
	o = &smtp.MailOptions{}
	for _, p := range parameters {
		if err := s.mailParameter(o, p); err != nil {
			return "", nil, err
		}
	}
	if err := checkUTF8(from, o.UTF8); err != nil {
		return "", nil, addressReply(err, 7)
	}
	return from, o, nil
}

// mailParameter takes a parameter of MAIL.
func (s *session) mailParameter(o *smtp.MailOptions, p parameter) error {
	switch p.keyword {
	case "SIZE": // RFC 1870 §6.1
		size, err := strconv.ParseInt(p.value, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			size, err = math.MaxInt64, nil // it has up to 20 digits
		}
		if err != nil || p.value[0] < '0' {
			return reply(501, 5, 5, 4, "SIZE="+p.value+" is not a number of octets")
		}
		o.Size = size
		return nil
	case "BODY": // RFC 6152 §2, RFC 3030 §3
		o.Body = smtp.BodyType(upper(p.value))
		if o.Body != smtp.Body7Bit && o.Body != smtp.Body8BitMIME && o.Body != smtp.BodyBinaryMIME {
			return reply(501, 5, 5, 4, "want BODY=7BIT, 8BITMIME or BINARYMIME")
		}
		return nil
	case "SMTPUTF8": // RFC 6531 §3.4
		if p.hasValue {
			return reply(501, 5, 5, 4, "SMTPUTF8 takes no value")
		}
		o.UTF8 = true
		return nil
	case "AUTH": // RFC 4954 §5
		if s.server.cfg.Users == nil {
			break
		}
		identity, err := parseXtext(p.value)
		if err != nil || !p.hasValue {
			return reply(501, 5, 5, 4, "AUTH wants a mailbox in xtext, or <>")
		}
		identity = strings.TrimSuffix(strings.TrimPrefix(identity, "<"), ">")
		o.Auth = &identity
		return nil
	}
	return reply(555, 5, 5, 4, p.keyword+" is not a parameter of MAIL here")
}

// rcptTo adds a recipient (RFC 5321 §4.1.1.3).
func (s *session) rcptTo(c command) error {
	switch {
	case s.mail == nil:
		return reply(503, 5, 5, 1, "MAIL first")
	case s.conn.inMessage.Load():
		return reply(503, 5, 5, 1, "the message has begun")
	}
	to, err := s.parseRcpt(c.arg)
	if err != nil {
		return err
	}
	if !s.allowed(to) {
		s.server.metrics.limit(limitAllow)
		return reply(550, 5, 1, 1, "no such recipient here")
	}
	if err := s.backend().Rcpt(to, &smtp.RcptOptions{}); err != nil {
		s.server.metrics.countRefusal(err)
		return err
	}
	s.rcpts = append(s.rcpts, to)
	s.reply(250, "2.1.5", "recipient ok")
	return nil
}

// allowed reports whether mail for the recipient is taken. The postmaster always is (RFC 5321 §4.5.1).
func (s *session) allowed(to string) bool {
	return s.server.cfg.Allow == nil || equalFold(to, "postmaster") ||
		equalFold(to, "postmaster@"+s.server.cfg.Hostname) || s.server.cfg.Allow.Allows(to)
}

// parseRcpt reads the arguments of RCPT.
func (s *session) parseRcpt(arg string) (to string, err error) {
	path, ok := cutPrefixFold(arg, "TO:")
	if !ok {
		return "", reply(501, 5, 5, 4, "want RCPT TO:<address>")
	}
	to, rest, pathErr := parsePath(strings.TrimLeft(path, " "))
	if errors.Is(pathErr, errNoDomain) && equalFold(to, "postmaster") {
		pathErr = nil // the one mailbox without a domain
	}
	if pathErr == nil && to == "" {
		pathErr = errPathSyntax
	}
	if pathErr != nil {
		return "", reply(501, 5, 1, 3, "bad forward-path: "+pathErr.Error())
	}
	parameters, err := parseParameters(rest)
	if err != nil {
		return "", reply(501, 5, 5, 4, err.Error())
	}
	if len(parameters) > 0 {
		return "", reply(555, 5, 5, 4, parameters[0].keyword+" is not a parameter of RCPT here")
	}
	if err := checkUTF8(to, s.mail.UTF8); err != nil {
		return "", addressReply(err, 3)
	}
	return to, nil
}

// addressReply is the reply to an address that is not ASCII; detail is RFC 3463's for a bad one.
func addressReply(err error, detail int) error {
	if errors.Is(err, errUTF8Required) {
		return reply(553, 5, 6, 7, err.Error())
	}
	return reply(501, 5, 1, detail, err.Error())
}
