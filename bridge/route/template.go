package route

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on what templates become, octets.
const (
	// MaxAddress keeps addresses within the short strings of the brokers.
	MaxAddress = 255
	MaxSubject = 255
	// MaxGroupID is the limit of Azure Service Bus, whose session id the group-id is.
	MaxGroupID = 128
)

const placeholder = "{rcpt.domain}"

// Template is a text with placeholders for validated parts of a recipient. It is made by ParseTemplate; the zero value
// is the empty text. It is safe for concurrent use.
type Template struct {
	parts []string // what stands before, between and behind the placeholders
	most  int
}

// ParseTemplate reads a text in which {rcpt.domain} may stand, any number of times. What it becomes has at most most
// octets. Its errors say what was wrong with s and what would be right.
func ParseTemplate(s string, most int) (Template, error) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return Template{}, fmt.Errorf("%q has a control character, or octets that are not UTF-8; want printable text", s)
	}
	if err := checkBraces(s); err != nil {
		return Template{}, fmt.Errorf("%q %w; want %s, or no braces", s, err, placeholder)
	}
	t := Template{parts: strings.Split(s, placeholder), most: most}
	if least := len(strings.Join(t.parts, "x")); least > most {
		return Template{}, fmt.Errorf("%q has at least %d octets; want %d at most", s, least, most)
	}
	return t, nil
}

// checkBraces lets in the braces of the placeholder and no others.
func checkBraces(s string) error {
	for {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			return nil
		}
		if s[i] == '}' {
			return errors.New("has a } without a { before it")
		}
		s = s[i:]
		end := strings.IndexAny(s[1:], "{}") + 1
		if end == 0 || s[end] == '{' {
			return errors.New("has a { without a } behind it")
		}
		if s[:end+1] != placeholder {
			return fmt.Errorf("has the unknown placeholder %s", s[:end+1])
		}
		s = s[end+1:]
	}
}

// String is the template as it was written.
func (t Template) String() string { return strings.Join(t.parts, placeholder) }

// isStatic reports whether the template is the same text for every recipient.
func (t Template) isStatic() bool { return len(t.parts) <= 1 }

// expand is the template's text for a folded domain, false where that is none or makes it too long.
func (t Template) expand(domain string) (string, bool) {
	if t.isStatic() {
		return strings.Join(t.parts, ""), true
	}
	if !isDomain(domain) {
		return "", false
	}
	s := strings.Join(t.parts, domain)
	if len(s) > t.most {
		return "", false
	}
	return s, true
}
