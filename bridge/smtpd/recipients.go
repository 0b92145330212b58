package smtpd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

const wantRecipient = "want an address (in@example.com), a domain (example.com), or either with * for any run of characters (invoices+*@example.com)"

// Recipient is an entry in the list of recipients that mail is taken for: an address, a domain, or a pattern.
type Recipient struct {
	text          string
	local, domain pattern
}

// ParseRecipient reads an address (in@example.com), a domain (example.com or @example.com: that domain, not those
// below it), or one of them as a pattern, where * stands for any run of characters, also for none, on its side of
// the @ (invoices+*@example.com, *@*.example.com, *.example.com). Patterns see domains in A-labels.
func ParseRecipient(s string) (Recipient, error) {
	local, domain := splitAddress(s)
	if !strings.HasPrefix(s, "@") && strings.Contains(s, "@") {
		if err := checkLocalPart(local); err != nil {
			return Recipient{}, fmt.Errorf("%q %w; %s", s, err, wantRecipient)
		}
	} else {
		local = "*"
	}
	domain, err := recipientDomain(domain)
	if err != nil {
		return Recipient{}, fmt.Errorf("%q %w; %s", s, err, wantRecipient)
	}
	return Recipient{text: s, local: parsePattern(foldLocalPart(local)), domain: parsePattern(domain)}, nil
}

// String is the recipient as it was written.
func (r Recipient) String() string { return r.text }

// Recipients tells whose mail is taken. It is safe for concurrent use.
type Recipients struct {
	exact    map[[2]string]struct{} // local part and domain
	domains  map[string]struct{}    // with any local part
	patterns []Recipient
}

// NewRecipients puts a list together for looking up.
func NewRecipients(list []Recipient) *Recipients {
	rs := &Recipients{exact: map[[2]string]struct{}{}, domains: map[string]struct{}{}}
	for _, r := range list {
		local, domain := r.local, r.domain
		switch {
		case domain.isLiteral() && local.isLiteral():
			rs.exact[[2]string{local[0], domain[0]}] = struct{}{}
		case domain.isLiteral() && local.isAny():
			rs.domains[domain[0]] = struct{}{}
		default:
			rs.patterns = append(rs.patterns, r)
		}
	}
	return rs
}

// Allows reports whether mail to address, a mailbox without angle brackets, is taken. An empty list takes all mail,
// and so does a nil one.
//
// Upper and lower case are the same. In domains they always are; in local parts it is up to the host that receives
// (RFC 5321 §2.4), which is us, and no sender is known to mean two people by Info@ and info@. A quoted local part is
// what it says without the quoting, and a domain is the same in U-labels and in A-labels (RFC 5890 §2.3.2.1).
func (rs *Recipients) Allows(address string) bool {
	if rs == nil || len(rs.exact)+len(rs.domains)+len(rs.patterns) == 0 {
		return true
	}
	if !strings.Contains(address, "@") {
		return false
	}
	local, domain := splitAddress(address)
	local, domain = foldLocalPart(local), foldDomain(domain)
	if _, ok := rs.exact[[2]string{local, domain}]; ok {
		return true
	}
	if _, ok := rs.domains[domain]; ok {
		return true
	}
	return slices.ContainsFunc(rs.patterns, func(r Recipient) bool { return r.local.matches(local) && r.domain.matches(domain) })
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
// matches nothing that ParseRecipient lets in, but a star.
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
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"' && i == len(s)-1:
			return nil
		case s[i] == '"':
			return errors.New("goes on after the quoted string")
		}
	}
	return errors.New("has a quoted string without an end")
}

// recipientDomain checks a domain or a pattern for one, and returns it in lower case and A-labels.
func recipientDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return recipientLiteral(s)
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

// isLabel takes letters, digits, hyphens and, as they are met, underscores.
func isLabel(s string) bool {
	return s != "" && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '*'
	})
}

// recipientLiteral takes an address literal (RFC 5321 §4.1.3), which is compared as it is written.
func recipientLiteral(s string) (string, error) {
	s = strings.ToLower(s)
	inner, closed := strings.CutSuffix(s[1:], "]")
	inner, six := strings.CutPrefix(inner, "ipv6:")
	if addr, err := netip.ParseAddr(inner); !closed || err != nil || addr.Is4() == six {
		return "", errors.New("has no IP address in the brackets, as [192.0.2.1] or [IPv6:2001:db8::1]")
	}
	return s, nil
}

// pattern is what stands before, between and behind the stars.
type pattern []string

func parsePattern(s string) pattern { return strings.Split(s, "*") }

func (p pattern) isLiteral() bool { return len(p) == 1 }

// isAny reports whether p is nothing but stars.
func (p pattern) isAny() bool {
	return len(p) > 1 && !slices.ContainsFunc(p, func(run string) bool { return run != "" })
}

// matches never goes back: the first place where a run fits leaves the most room for the next ones.
func (p pattern) matches(s string) bool {
	first, last := p[0], p[len(p)-1]
	if p.isLiteral() {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, run := range p[1 : len(p)-1] {
		i := strings.Index(s, run)
		if i < 0 {
			return false
		}
		s = s[i+len(run):]
	}
	return true
}
