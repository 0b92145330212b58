package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// command is a line from the client, taken apart.
type command struct {
	verb string // in upper case
	arg  string // without blanks at its ends
}

// errCharacter reports octets that a command may not contain: control
// characters (RFC 5321 §4.1.2 lets only printable ones be quoted), anything but
// ASCII in its verb, and blanks before that, or a tab behind it.
var errCharacter = errors.New("a command is printable ASCII")

// parseCommand takes a line without its end apart (RFC 5321 §4.1.1).
func parseCommand(line []byte) (command, error) {
	line = bytes.TrimRight(line, " \t")
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			return command{}, errCharacter
		}
	}
	verb, arg, _ := strings.Cut(string(line), " ")
	if !isASCII(verb) || strings.Contains(verb, "\t") || verb == "" && arg != "" {
		return command{}, errCharacter
	}
	return command{upper(verb), strings.TrimLeft(arg, " \t")}, nil
}

// upper is s with the letters of ASCII in upper case, and no others: strings.ToUpper takes the long s of UTF-8 for an S.
func upper(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'a' && b[i] <= 'z' {
					b[i] -= 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// equalFold reports whether two strings are the same but for the case of letters of ASCII.
func equalFold(a, b string) bool { return len(a) == len(b) && upper(a) == upper(b) }

// cutPrefixFold is strings.CutPrefix in any case of ASCII.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !equalFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// isASCII reports whether s has no octets with the high bit set.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// parameter is an ESMTP parameter of MAIL or RCPT (RFC 5321 §4.1.2, esmtp-param).
type parameter struct {
	keyword  string // in upper case
	value    string
	hasValue bool
}

// parseParameters reads what follows the path of MAIL or RCPT.
func parseParameters(s string) ([]parameter, error) {
	var list []parameter
	for _, field := range strings.FieldsFunc(s, isBlank) {
		keyword, value, hasValue := strings.Cut(field, "=")
		keyword = upper(keyword)
		if !isKeyword(keyword) || hasValue && value == "" {
			return nil, fmt.Errorf("%q is not a parameter", field)
		}
		for _, p := range list {
			if p.keyword == keyword {
				return nil, fmt.Errorf("%s is given twice", keyword)
			}
		}
		list = append(list, parameter{keyword, value, hasValue})
	}
	return list, nil
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

// isKeyword reports whether s is an esmtp-keyword in upper case.
func isKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

// parseXtext undoes the encoding of RFC 3461 §4, in which parameters carry arbitrary octets.
func parseXtext(s string) (string, error) {
	if !strings.Contains(s, "+") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%q is not xtext: a + wants two hexadecimal digits", s)
		}
		high, low := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		if high < 0 || low < 0 {
			return "", fmt.Errorf("%q is not xtext: a + wants two hexadecimal digits in upper case", s)
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), nil
}

const upperHex = "0123456789ABCDEF"
