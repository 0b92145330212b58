package extract

import (
	"strings"
	"unicode"
)

// maxName is the longest name of a part, in octets.
const maxName = 255

// nameOf is the first usable file name among the parameters: the forms of
// RFC 2231 of each before its plain one.
func nameOf(params ...*parameter) *string {
	for _, p := range params {
		if name := safeName(p.text()); name != "" {
			return &name
		}
	}
	return nil
}

// safeName takes from a file name what could mislead whoever saves or shows it:
// the path, control characters, marks that change the direction of writing.
func safeName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if s == "." || s == ".." {
		return ""
	}
	return strings.TrimSpace(cutString(s, maxName))
}
