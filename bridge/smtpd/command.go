package smtpd

import (
	"errors"
	"fmt"
	"strings"
)

// command is a line from the client, taken apart.
type command struct {
	verb string // in upper case
	arg  string // without blanks at its ends
}

// errControl reports octets that no command may contain (RFC 5321 §4.1.2: they are neither printable nor quoted pairs).
var errControl = errors.New("control character in a command")

// parseCommand takes a line without its end apart (RFC 5321 §4.1.1).
func parseCommand(line []byte) (command, error) {
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			return command{}, errControl
		}
	}
	verb, arg, _ := strings.Cut(string(line), " ")
	return command{strings.ToUpper(verb), strings.Trim(arg, " \t")}, nil
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
	for _, field := range strings.Fields(s) {
		keyword, value, hasValue := strings.Cut(field, "=")
		keyword = strings.ToUpper(keyword)
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
