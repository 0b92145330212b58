package smtpd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Limits on paths, octets. RFC 5321 §4.5.3.1 asks for 64, 255 and 256 at least;
// addresses for bounces are longer than that in the wild.
const (
	maxLocalPart = 512
	maxDomain    = 255
)

var (
	errPathSyntax   = errors.New("not a path in angle brackets")
	errNoDomain     = errors.New("no domain")
	errUTF8Required = errors.New("an address in UTF-8 needs SMTPUTF8")
)

// parsePath reads a Path of RFC 5321 §4.1.2 at the beginning of s, and returns
// the mailbox and what follows. A source route is left out (§4.1.1.3), angle
// brackets may be missing, and a mailbox may be as odd as real ones are: dots at
// any place of its local part, underscores in its domain. Quoted local parts are
// returned as they are. The null path is "". A mailbox without a domain comes
// with errNoDomain.
func parsePath(s string) (mailbox, rest string, err error) {
	if rest, ok := strings.CutPrefix(s, "<>"); ok {
		return "", rest, checkEnd(rest)
	}
	s, bracket := strings.CutPrefix(s, "<")
	if strings.HasPrefix(s, "@") {
		if s, err = skipRoute(s); err != nil {
			return "", "", err
		}
	}
	local, after, err := parseLocalPart(s)
	if err != nil {
		return "", "", err
	}
	mailbox, rest = local, after
	if strings.HasPrefix(after, "@") {
		var domain string
		if domain, rest, err = parseDomain(after[1:]); err != nil {
			return "", "", err
		}
		mailbox = local + "@" + domain
	} else {
		err = errNoDomain
	}
	if bracket {
		if !strings.HasPrefix(rest, ">") {
			return "", "", fmt.Errorf("%w: no > after %q", errPathSyntax, mailbox)
		}
		rest = rest[1:]
	}
	if err := checkEnd(rest); err != nil {
		return "", "", err
	}
	return mailbox, rest, err
}

// checkEnd reports whether a path may end before rest.
func checkEnd(rest string) error {
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		return fmt.Errorf("%w: %q follows the address", errPathSyntax, rest)
	}
	return nil
}

// skipRoute passes a source route, A-d-l and its colon.
func skipRoute(s string) (rest string, err error) {
	for strings.HasPrefix(s, "@") {
		domain, after, err := parseDomain(s[1:])
		if err != nil {
			return "", err
		}
		if !isASCII(domain) {
			return "", fmt.Errorf("%w: a source route in UTF-8", errPathSyntax)
		}
		if s = strings.TrimPrefix(after, ","); s == after {
			break
		}
	}
	if !strings.HasPrefix(s, ":") {
		return "", fmt.Errorf("%w: a source route without a colon", errPathSyntax)
	}
	return s[1:], nil
}

// parseLocalPart reads a Dot-string or a Quoted-string.
func parseLocalPart(s string) (local, rest string, err error) {
	end := 0
	if strings.HasPrefix(s, `"`) {
		if end = quotedEnd(s); end < 0 {
			return "", "", fmt.Errorf("%w: a quoted local part without an end", errPathSyntax)
		}
	} else {
		for end < len(s) && isLocal(s[end]) {
			end++
		}
	}
	if end == 0 || end > maxLocalPart {
		return "", "", fmt.Errorf("%w: a local part of %d octets, want 1 to %d", errPathSyntax, end, maxLocalPart)
	}
	return s[:end], s[end:], nil
}

// quotedEnd is the length of the Quoted-string at the beginning of s, -1 where it has no end.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\t':
			return -1 // not printable
		}
	}
	return -1
}

// isLocal reports whether c is an octet of a Dot-string: atext (RFC 5322 §3.2.3), a dot, or part of UTF-8 (RFC 6531 §3.3).
func isLocal(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0
}

// parseDomain reads a Domain or an address-literal.
func parseDomain(s string) (domain, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	end := 0
	for end < len(s) && isDomain(s[end]) {
		end++
	}
	domain = s[:end]
	if end == 0 || end > maxDomain {
		return "", "", fmt.Errorf("%w: a domain of %d octets, want 1 to %d", errPathSyntax, end, maxDomain)
	}
	if domain[0] == '.' || domain[0] == '-' || strings.Contains(domain, "..") {
		return "", "", fmt.Errorf("%w: %q is not a domain", errPathSyntax, domain)
	}
	return domain, s[end:], nil
}

func isDomain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c >= 0x80
}

// parseLiteral reads an address-literal (RFC 5321 §4.1.3): [192.0.2.1] or [IPv6:2001:db8::1].
func parseLiteral(s string) (literal, rest string, err error) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return "", "", fmt.Errorf("%w: an address literal without ]", errPathSyntax)
	}
	text, tagged := cutPrefixFold(s[1:end], "IPv6:")
	if ip, err := netip.ParseAddr(text); err != nil || ip.Is6() != tagged || ip.Zone() != "" {
		return "", "", fmt.Errorf("%w: %q is not an address literal", errPathSyntax, s[:end+1])
	}
	return s[:end+1], s[end+1:], nil
}

// checkUTF8 reports whether a mailbox may be used as the transaction's SMTPUTF8 says (RFC 6531 §3.3).
func checkUTF8(mailbox string, smtputf8 bool) error {
	switch {
	case isASCII(mailbox):
		return nil
	case !smtputf8:
		return errUTF8Required
	case !utf8.ValidString(mailbox):
		return fmt.Errorf("%w: it is not valid UTF-8", errPathSyntax)
	}
	return nil
}
