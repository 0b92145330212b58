package route

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const wantPattern = `want an address (in@example.com), a domain (example.com), either with * for any run of characters (invoices+*@example.com), or a regular expression for whole addresses between slashes (/inv-[0-9]+@example\.com/)`

// Pattern tells addresses that it matches from others; see the package comment for what it can be. It is made by
// ParsePattern, and safe for concurrent use.
type Pattern struct {
	text          string
	local, domain glob
	expression    *regexp.Regexp // in their place
}

// ParsePattern reads a pattern. Its errors say what was wrong with s and what would be right.
func ParsePattern(s string) (Pattern, error) {
	fail := func(err error) (Pattern, error) { return Pattern{}, fmt.Errorf("%q %w; %s", s, err, wantPattern) }
	if len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/' {
		re, err := parseExpression(s)
		if err != nil {
			return fail(err)
		}
		return Pattern{text: s, expression: re}, nil
	}
	local, domain := splitAddress(s)
	if !strings.HasPrefix(s, "@") && strings.Contains(s, "@") {
		if err := checkLocalPart(local); err != nil {
			return fail(err)
		}
	} else {
		local = "*"
	}
	domain, err := patternDomain(domain)
	switch {
	case err != nil && strings.HasPrefix(s, "/"):
		return fail(errors.New("begins with a / and does not end in one")) // an address may begin so, too, as those of X.400 gateways do
	case err != nil:
		return fail(err)
	}
	return Pattern{text: s, local: parseGlob(foldLocalPart(local)), domain: parseGlob(domain)}, nil
}

// ParsePatterns reads patterns with commas between them. A comma within a regular expression or a quoted local part
// separates nothing, and neither does one without anything before or behind it.
func ParsePatterns(s string) ([]Pattern, error) {
	var list []Pattern
	for s = strings.TrimSpace(s); s != ""; {
		end := patternEnd(s)
		text := strings.TrimSpace(s[:end])
		s = strings.TrimSpace(strings.TrimPrefix(s[end:], ","))
		if text == "" {
			continue
		}
		p, err := ParsePattern(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// patternEnd is where the pattern ends that s begins with: at a comma, or at the end of s.
func patternEnd(s string) int {
	skip := 0
	switch s[0] {
	case '/':
		end := expressionEnd(s)
		if end > 0 && (strings.TrimSpace(s[end:]) == "" || strings.HasPrefix(strings.TrimSpace(s[end:]), ",")) {
			skip = end
		}
	case '"':
		skip = max(quotedEnd(s), 0)
	}
	if i := strings.IndexByte(s[skip:], ','); i >= 0 {
		return skip + i
	}
	return len(s)
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

func (p Pattern) matches(m mailbox) bool {
	if p.expression != nil {
		return p.expression.MatchString(m.text)
	}
	return p.local.matches(m.local) && p.domain.matches(m.domain)
}

// checkLocalPart takes a dot-string or a quoted string (RFC 5321 §4.1.2, with the UTF-8 of RFC 6531 §3.3). As a * may
// stand anywhere, the dots are not looked at closely.
func checkLocalPart(s string) error {
	switch {
	case s == "":
		return errors.New("has nothing before the @")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("has a control character, or octets that are not UTF-8, before the @")
	case s[0] == '"':
		return checkQuoted(s)
	}
	if i := strings.IndexAny(s, ` ()<>[]:;@\,"`); i >= 0 {
		return fmt.Errorf("has %q before the @, which must be quoted", s[i])
	}
	return nil
}

// checkQuoted takes a quoted string that ends where s does.
func checkQuoted(s string) error {
	switch end := quotedEnd(s); {
	case end < 0:
		return errors.New("has a quoted string without an end")
	case end < len(s):
		return errors.New("goes on after the quoted string")
	}
	return nil
}

// quotedEnd is the length of the quoted string that s begins with, -1 where it has no end.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// patternDomain checks a domain or a pattern for one, and returns it in lower case and A-labels.
func patternDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return patternLiteral(s)
	}
	labels := strings.Split(s, ".")
	for i, label := range labels {
		if strings.Contains(label, "*") && !isASCII(label) {
			return "", fmt.Errorf("has a * beside letters that are not ASCII in the label %q, whose A-label is another", label)
		}
		labels[i] = foldLabel(label)
		if !isLabel(labels[i]) {
			return "", fmt.Errorf("has %q where a label of a domain should be", label)
		}
	}
	return strings.Join(labels, "."), nil
}

// patternLiteral takes an address literal (RFC 5321 §4.1.3), which is compared as it is written.
func patternLiteral(s string) (string, error) {
	s = strings.ToLower(s)
	inner, closed := strings.CutSuffix(s[1:], "]")
	inner, six := strings.CutPrefix(inner, "ipv6:")
	if addr, err := netip.ParseAddr(inner); !closed || err != nil || addr.Is4() == six {
		return "", errors.New("has no IP address in the brackets, as [192.0.2.1] or [IPv6:2001:db8::1]")
	}
	return s, nil
}
