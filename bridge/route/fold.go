package route

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// mailbox is an address in the form in which addresses are compared. No domain contains an @, so
// text alone tells them apart.
type mailbox struct {
	local, domain string
	text          string // local@domain
}

// parseMailbox brings an address to that form; it has none without a domain. One that is in it already is not copied.
func parseMailbox(address string) (m mailbox, ok bool) {
	if !strings.Contains(address, "@") {
		return mailbox{}, false
	}
	local, domain := splitAddress(address)
	m = mailbox{local: foldLocalPart(local), domain: foldDomain(domain), text: address}
	if m.local != local || m.domain != domain {
		m.text = m.local + "@" + m.domain
	}
	return m, true
}

// splitAddress cuts at the last @, which no domain contains. Without one, all of it is the domain.
func splitAddress(s string) (local, domain string) {
	at := strings.LastIndexByte(s, '@')
	return s[:max(at, 0)], s[at+1:]
}

// foldLocalPart brings the spellings of a local part that mean the same to one form.
func foldLocalPart(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = unquote(s[1 : len(s)-1])
	}
	return strings.Map(lower, norm.NFC.String(s))
}

// unquote removes the backslashes of quoted pairs (RFC 5321 §4.1.2).
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// lower is r in lower case, except where that would make ASCII of what is not: U+0130, a capital I with a dot, is no i.
func lower(r rune) rune {
	if l := unicode.ToLower(r); l >= utf8.RuneSelf || r < utf8.RuneSelf {
		return l
	}
	return r
}

// foldDomain is a domain in lower case and A-labels, without the dot that some write behind it. What is no domain
// matches nothing that ParsePattern lets in, but a star and what a regular expression says of it.
func foldDomain(s string) string {
	s = strings.TrimSuffix(s, ".")
	if isASCII(s) {
		return strings.ToLower(s)
	}
	labels := strings.Split(s, ".")
	for i, label := range labels {
		labels[i] = foldLabel(label)
	}
	return strings.Join(labels, ".")
}

func foldLabel(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	if a, err := idna.Lookup.ToASCII(s); err == nil {
		return a
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Limits of RFC 1035 §2.3.4 on names and labels in text, octets.
const (
	maxDomain = 253
	maxLabel  = 63
)

// isDomain reports whether a folded domain is one, and no address literal, so that it may stand in a template.
func isDomain(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) > maxLabel || !isLabel(label) || strings.Contains(label, "*") {
			return false
		}
	}
	return true
}

// isLabel takes letters, digits, hyphens and, as they are met, underscores; also the * of patterns.
func isLabel(s string) bool {
	return s != "" && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '*'
	})
}
