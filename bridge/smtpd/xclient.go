package smtpd

import (
	"net/netip"
	"strings"
)

// unavailable are the values of an XCLIENT attribute that is not known.
func unavailable(value string) bool {
	return equalFold(value, "[UNAVAILABLE]") || equalFold(value, "[TEMPUNAVAIL]")
}

// xclient takes what a trusted proxy knows of its client, which this session
// is for from now on. It begins anew with a greeting (Postfix, XCLIENT_README).
// Other XCLIENTs may follow at once, and none after any other command: a proxy
// passes on what its client sends. It must send a command of its own between the two.
func (s *session) xclient(c command) error {
	switch {
	case !s.trusted:
		return reply(550, 5, 7, 0, "XCLIENT is not for you")
	case s.mail != nil:
		return reply(503, 5, 5, 1, "not in a transaction")
	case c.arg == "":
		return reply(501, 5, 5, 4, "want XCLIENT ATTRIBUTE=VALUE ...")
	}
	next := client{address: s.address}
	if s.named { // what it said before holds, and nothing that is known of the proxy itself
		next.user, next.proto = s.user, s.proto
	}
	for _, field := range strings.Fields(c.arg) {
		name, value, ok := strings.Cut(field, "=")
		value, err := parseXtext(value)
		if err != nil || !ok || !next.set(upper(name), value) {
			return reply(501, 5, 5, 4, "bad attribute "+field)
		}
	}
	s.address, s.user, s.proto, s.helo = next.address, next.user, next.proto, next.helo
	s.named, s.certified = true, ""
	s.esmtp = next.helo != "" && next.proto != "SMTP"
	s.changed()
	s.greet()
	return nil
}

// client is what XCLIENT says.
type client struct{ address, user, proto, helo string }

// set takes an attribute. It reports whether it could.
func (c *client) set(name, value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] == 0x7f {
			return false
		}
	}
	known := !unavailable(value)
	switch name {
	case "ADDR":
		c.address = ""
		if known {
			value, _ = cutPrefixFold(value, "IPV6:")
			ip, err := netip.ParseAddr(value)
			if err != nil {
				return false
			}
			c.address = ip.Unmap().WithZone("").String()
		}
	case "LOGIN":
		c.user = ""
		if known {
			c.user = value
		}
	case "HELO":
		if known {
			c.helo = value
		}
	case "PROTO":
		if value = upper(value); value != "SMTP" && value != "ESMTP" {
			return false
		}
		c.proto = value
	case "NAME", "PORT", "DESTADDR", "DESTPORT": // nothing here depends on them
	default:
		return false
	}
	return true
}
