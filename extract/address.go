package extract

import (
	"strings"

	_ "github.com/emersion/go-message/charset" // names in charsets other than UTF-8
	"github.com/emersion/go-message/mail"

	"lsmtpd/schema"
)

// maxStrictAddresses is the longest address field given to the strict parser,
// whose cost grows with the square of a comment's length.
const maxStrictAddresses = 4 << 10

// addresses is the list of mailboxes in a field (RFC 8621 §4.1.2.3): names
// decoded, groups dissolved.
func (h *Header) addresses(p *problems, name string) []schema.EmailAddress {
	value, ok := h.last(p, name)
	if !ok {
		return nil
	}
	value = unfolded(value)
	if !isValid(value) {
		value = decodeUnknown([]byte(value))
	}
	if list, ok := strictAddresses(value); ok {
		return list
	}
	list, whole := lenientAddresses(strings.ReplaceAll(value, "\x00", ""))
	if !whole {
		p.add(nil, CodeAddressSyntax, name+":"+value)
	}
	return list
}

// strictAddresses parses a list of addresses that follows RFC 5322.
func strictAddresses(value string) ([]schema.EmailAddress, bool) {
	if len(value) > maxStrictAddresses || strings.Contains(value, "\x00") {
		return nil, false
	}
	parsed, err := mail.ParseAddressList(value)
	if err != nil {
		return nil, false
	}
	list := make([]schema.EmailAddress, 0, len(parsed))
	for _, a := range parsed {
		if !isValid(a.Name) || strings.Contains(a.Name, "\uFFFD") || strings.Contains(a.Name, "=?") || !isValid(a.Address) {
			return nil, false
		}
		list = append(list, newAddress(a.Name, a.Address))
	}
	return list, true
}

func newAddress(name, email string) schema.EmailAddress {
	a := schema.EmailAddress{Email: email}
	if name = strings.TrimSpace(name); name != "" {
		a.Name = &name
	}
	return a
}

// lenientAddresses reads a list of addresses that breaks RFC 5322 somewhere.
// Whole is false where something of it is no address. Its cost is linear.
func lenientAddresses(s string) (list []schema.EmailAddress, whole bool) {
	whole = true
	var item addressItem
	add := func() {
		a, ok := item.address()
		if ok {
			list = append(list, a)
		} else if !item.empty() {
			whole = false
		}
		item = addressItem{}
	}
	comments := strings.LastIndexByte(s, ')')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			value, n, closed := unquote(s[i:])
			if !closed {
				whole = false
				i++
				continue
			}
			item.quote(value, s[i:i+n])
			i += n
		case c == '(' && i < comments:
			n := commentLength(s[i:])
			item.comment = strings.Trim(s[i:i+n], "()")
			i += n
		case c == '<':
			n := strings.IndexAny(s[i+1:], "><")
			if n < 0 {
				n = len(s) - i - 1
				whole = false
			}
			item.angle(s[i+1 : i+1+n])
			i = min(i+1+n, len(s))
			if i < len(s) && s[i] == '>' {
				i++
			}
		case c == ':' && !item.bracketed && !strings.Contains(item.text(), "@"):
			item = addressItem{} // the name of a group
			i++
		case c == ',' || c == ';':
			add()
			i++
		default:
			n := strings.IndexAny(s[i+1:], "\"(<:,;")
			if n < 0 {
				n = len(s) - i - 1
			}
			item.write(s[i : i+1+n])
			i += 1 + n
		}
	}
	add()
	return list, whole
}

// addressItem is what stands between two commas of an address list.
type addressItem struct {
	words     strings.Builder // outside of angle brackets, quotes undone
	literal   strings.Builder // the same with quotes
	email     string          // in angle brackets
	bracketed bool
	comment   string
}

func (a *addressItem) text() string { return a.literal.String() }

func (a *addressItem) write(s string) {
	a.words.WriteString(s)
	a.literal.WriteString(s)
}

func (a *addressItem) quote(value, literal string) {
	a.words.WriteString(value)
	a.literal.WriteString(literal)
}

func (a *addressItem) angle(s string) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.HasPrefix(strings.TrimSpace(s), "@") {
		s = s[i+1:] // the route of RFC 5322 §4.4
	}
	if s = strings.TrimSpace(s); !a.bracketed || a.email == "" {
		a.email, a.bracketed = s, true
	}
}

func (a *addressItem) empty() bool {
	return !a.bracketed && strings.TrimSpace(a.text()) == ""
}

// address makes an address of the item; ok is false where there is none in it.
func (a *addressItem) address() (address schema.EmailAddress, ok bool) {
	if a.bracketed {
		if a.email == "" {
			return address, false
		}
		return newAddress(decodeText(a.words.String()), strings.Join(strings.Fields(a.email), "")), true
	}
	text := strings.TrimSpace(a.text())
	if text == "" {
		return address, false
	}
	if !strings.ContainsAny(text, " \t") {
		return newAddress(decodeText(a.comment), text), true
	}
	name, email := "", ""
	for _, word := range strings.Fields(text) {
		if strings.Contains(word, "@") && email == "" {
			email = word
		} else {
			name += " " + word
		}
	}
	if email == "" {
		return address, false
	}
	return newAddress(decodeText(name), email), true
}
