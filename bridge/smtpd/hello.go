package smtpd

import (
	"fmt"
	"strconv"
	"strings"

	"lsmtpd/bridge"
)

// hello begins the session anew (RFC 5321 §4.1.1.1; LHLO: RFC 2033 §4.1).
func (s *session) hello(c command) error {
	if err := s.checkHello(c); err != nil {
		return err
	}
	s.helo, _, _ = strings.Cut(c.arg, " ")
	s.esmtp = c.verb != "HELO"
	s.changed()
	if !s.esmtp {
		s.reply(250, "", s.server.cfg.Hostname)
		return nil
	}
	s.reply(250, "", s.server.cfg.Hostname+"\n"+strings.Join(s.extensions(), "\n"))
	return nil
}

// checkHello reports what is wrong with a greeting.
func (s *session) checkHello(c command) error {
	if (c.verb == "LHLO") != (s.endpoint.Scheme == "lmtp") {
		return reply(500, 5, 5, 1, map[bool]string{true: "this is LMTP: say LHLO", false: "this is SMTP: say EHLO"}[s.endpoint.Scheme == "lmtp"])
	}
	switch {
	case c.arg == "":
		return reply(501, 5, 5, 4, c.verb+" needs the name of the client")
	case !isASCII(c.arg):
		return errSyntax
	}
	return nil
}

// extensions are the lines of the reply to EHLO after the first.
func (s *session) extensions() []string {
	cfg := &s.server.cfg
	list := []string{
		"PIPELINING",
		"8BITMIME",
		"SIZE " + strconv.FormatInt(cfg.MaxMessageBytes, 10), // 0 is "no fixed maximum" (RFC 1870 §4)
		"CHUNKING",
		"BINARYMIME",
		"SMTPUTF8",
		"ENHANCEDSTATUSCODES",
	}
	if s.offersTLS() {
		list = append(list, "STARTTLS")
	}
	if s.offersAuth() {
		list = append(list, "AUTH PLAIN LOGIN")
	}
	if limits := s.limits(); limits != "" {
		list = append(list, "LIMITS"+limits)
	}
	if s.trusted {
		list = append(list, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	}
	return list
}

// limits are the arguments of LIMITS (RFC 9422 §4), "" without any.
func (s *session) limits() (list string) {
	if n := s.server.cfg.MaxTransactions; n > 0 {
		list += fmt.Sprintf(" MAILMAX=%d", n)
	}
	if n := s.server.cfg.MaxRecipients; n > 0 {
		list += fmt.Sprintf(" RCPTMAX=%d", n)
	}
	return list
}

// courtesy answers the commands that change nothing (RFC 5321 §4.1.1.6 to §4.1.1.10).
func (s *session) courtesy(c command) error {
	switch c.verb {
	case "NOOP":
		s.reply(250, "2.0.0", "ok")
	case "QUIT":
		if c.arg != "" {
			return errNoArgument
		}
		s.reply(221, "2.0.0", "bye")
		s.close(orderly)
	case "VRFY":
		if c.arg == "" {
			return reply(501, 5, 5, 4, "VRFY needs an address")
		}
		s.reply(252, "2.5.0", "cannot verify, but will take mail for whom it is let in")
	case "HELP":
		s.reply(214, "2.0.0", "EHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS AUTH; see RFC 5321")
	case "EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML", "BURL":
		return reply(502, 5, 5, 1, c.verb+" is not implemented")
	case "":
		return reply(500, 5, 5, 2, "an empty line is no command")
	default:
		return errUnknown
	}
	return nil
}

// rset ends the transaction (RFC 5321 §4.1.1.5).
func (s *session) rset(c command) error {
	if c.arg != "" {
		return errNoArgument
	}
	s.reset()
	s.reply(250, "2.0.0", "ok")
	return nil
}

var _ Session = (*bridge.Session)(nil)
