package extract

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	_ "github.com/emersion/go-message/charset" // names in charsets other than UTF-8
	"github.com/emersion/go-message/mail"

	"lsmtpd/schema"
)

// maxStrictAddresses is the longest address field given to the strict parser,
// whose cost grows with the square of a comment's length.
const maxStrictAddresses = 4 << 10

// addresses is the list of mailboxes in a field (RFC 8621 §4.1.2.3): names
// decoded, groups dissolved. It is nil without the field, or with a problem
// where nothing can be read.
func (d *describer) addresses(name string) []schema.EmailAddress {
	value, ok := d.value(name, maxList)
	if !ok {
		return nil
	}
	value = unfolded(value)
	if !isValid(value) {
		value = d.charsets.decodeUnknown([]byte(value))
	}
	if list, ok := d.strictAddresses(value); ok {
		return list
	}
	list, whole := lenientAddresses(d.charsets, strings.ReplaceAll(value, "\x00", ""))
	if !whole {
		d.problems.add(nil, CodeAddressSyntax, name+":"+value)
	} else if list == nil {
		list = []schema.EmailAddress{}
	}
	return list
}

// strictAddresses parses a list of addresses that follows RFC 5322.
func (d *describer) strictAddresses(value string) ([]schema.EmailAddress, bool) {
	if len(value) > maxStrictAddresses || strings.Contains(value, "\x00") {
		return nil, false
	}
	value, words := maskWords(value)
	parsed, err := mail.ParseAddressList(value)
	if err != nil {
		return nil, false
	}
	unmask := strings.NewReplacer(words...)
	list := make([]schema.EmailAddress, 0, len(parsed))
	for _, a := range parsed {
		name := a.Name
		if len(words) > 0 {
			name, a.Address = d.charsets.decodeText(unmask.Replace(name)), unmask.Replace(a.Address)
		}
		if !isValid(name) || !isValid(a.Address) {
			return nil, false
		}
		list = append(list, newAddress(name, addrSpec(a.Address)))
	}
	return list, true
}

// maskWords puts an atom in the place of each encoded word, which may hold what
// would divide the list: words are pairs of an atom and what it stands for.
func maskWords(value string) (masked string, words []string) {
	const atom = "lsmtpd-word-"
	if !strings.Contains(value, "=?") || strings.Contains(value, atom) {
		return value, nil
	}
	var b strings.Builder
	end := -1
	for i := 0; i < len(value); {
		if value[i] == '=' && strings.HasPrefix(value[i:], "=?") {
			if w, ok := parseWord(value[i:], &end, i); ok {
				mask := atom + strconv.Itoa(len(words)) + "-"
				words = append(words, mask, value[i:i+w.length])
				b.WriteString(mask)
				i += w.length
				continue
			}
		}
		b.WriteByte(value[i])
		i++
	}
	return b.String(), words
}

func newAddress(name, email string) schema.EmailAddress {
	a := schema.EmailAddress{Email: email}
	if name = strings.TrimSpace(name); name != "" {
		a.Name = &name
	}
	return a
}

// addrSpec gives the local part of an address its quotes back where it needs them (RFC 5322 §3.4.1).
func addrSpec(address string) string {
	local, domain := address[:max(strings.LastIndexByte(address, '@'), 0)], address[strings.LastIndexByte(address, '@')+1:]
	if !strings.ContainsAny(local, " \t()<>[]:;@\\,\"") {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"@` + domain
}

// lenientAddresses reads a list of addresses that breaks RFC 5322 somewhere.
// Whole is false where something of it is no address. Its cost is linear.
func lenientAddresses(c *charsets, s string) (list []schema.EmailAddress, whole bool) {
	l := addressList{whole: true, charsets: c}
	comments, groups, quotes, wordEnd := strings.LastIndexByte(s, ')'), strings.LastIndexByte(s, ';'), true, -1
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' && quotes:
			value, n, closed := unquotePhrase(s[i:])
			if !closed {
				l.whole, quotes = false, false
				n = 1
			}
			l.item.quote(value, s[i:i+n])
			i += n
		case c == '(' && i < comments:
			n, closed := commentLength(s[i:])
			if !closed { // so none behind it is
				l.whole, comments = false, -1
				l.item.write("(")
				i++
				continue
			}
			l.item.comment = strings.Trim(s[i:i+n], "()")
			i += n
		case c == '<':
			l.divide()
			n := angleLength(s[i+1:])
			if n < 0 {
				n = len(s) - i - 1
				l.whole = false
			}
			l.angle(s[i+1 : i+1+n])
			i += 1 + n
			if i < len(s) && s[i] == '>' {
				i++
			}
		case c == '=' && strings.HasPrefix(s[i:], "=?"): // what an encoded word must not hold divides nothing
			w, ok := parseWord(s[i:], &wordEnd, i)
			if !ok {
				w.length = len("=?")
			}
			l.item.write(s[i : i+w.length])
			i += w.length
		case c == '>':
			l.whole = false
			i++
		case c == ':' && !l.item.bracketed && !l.item.at && i < groups:
			l.item, l.group = addressItem{}, true // the name of a group
			i++
		case c == ':' && !l.item.bracketed && !l.item.at:
			l.whole = false // no group, as nothing ends it
			l.item.write(":")
			i++
		case c == ',' || c == ';':
			l.whole = l.whole && (c == ',' || l.group)
			l.group = l.group && c == ','
			l.add(c)
			i++
		default:
			n := strings.IndexAny(s[i+1:], "\"(<>:,;=")
			if n < 0 {
				n = len(s) - i - 1
			}
			l.item.write(s[i : i+1+n])
			i += 1 + n
		}
	}
	l.add(';')
	return l.list, l.whole
}

// addressList collects the addresses of a field.
type addressList struct {
	charsets *charsets

	list  []schema.EmailAddress
	whole bool
	group bool // inside of one
	item  addressItem
	held  string // an item that is no address, before a comma: the family name in "Doe, Jo <j@example.org>"
}

// add ends the current item at a separator.
func (l *addressList) add(separator byte) {
	item := l.item
	l.item = addressItem{}
	if l.held != "" && item.bracketed {
		item.words = append([]byte(l.held+", "), bytes.TrimSpace(item.words)...)
		l.held, l.whole = "", false
	}
	if l.held != "" {
		l.append(addressItem{words: []byte(l.held), literal: []byte(l.held)})
		l.held = ""
	}
	if separator == ',' && !item.bracketed && !item.at {
		l.held = string(bytes.TrimSpace(item.literal))
		return
	}
	l.append(item)
}

// divide ends the current item before another address in angle brackets, where a comma is missing: what stands between
// the two is the name of the second.
func (l *addressList) divide() {
	if item := l.item; item.bracketed && item.email != "" {
		l.item.tail, l.item.tailLiteral = nil, nil
		l.add(';')
		l.item = addressItem{words: item.tail, literal: item.tailLiteral}
		l.whole = false
	}
}

func (l *addressList) append(item addressItem) {
	if bytes.IndexByte(item.tailLiteral, '@') >= 0 {
		l.whole = false
		defer l.append(addressItem{words: item.tail, literal: item.tailLiteral})
	} else {
		item.words = append(append(item.words, ' '), item.tail...)
	}
	if addresses := item.several(); addresses != nil {
		l.whole = false
		for _, email := range addresses {
			l.list = append(l.list, newAddress("", email))
		}
		return
	}
	if a, ok := item.address(l.charsets); ok {
		l.list = append(l.list, a)
		l.whole = l.whole && item.regular(a.Email)
	} else if !item.empty() {
		l.whole = false
	}
}

// addressItem is what stands between two commas of an address list.
type addressItem struct {
	words     []byte // outside of angle brackets, quotes undone
	literal   []byte // the same with quotes
	at        bool   // there is an "@" in it
	bareAt    bool   // and not in quotes
	odd       bool   // something was taken off the address
	email     string // in angle brackets
	bracketed bool
	comment   string

	tail, tailLiteral []byte // words and literal behind the angle brackets
}

// several are the addresses of an item that is made of nothing else, without commas; nil for one or none.
func (a *addressItem) several() []string {
	if a.bracketed || bytes.Count(a.literal, []byte("@")) < 2 || bytes.IndexByte(a.literal, '"') >= 0 {
		return nil
	}
	words := strings.Fields(string(a.literal))
	if len(words) < 2 || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(w, "@") }) {
		return nil
	}
	return words
}

func (a *addressItem) write(s string) {
	a.quote(s, s)
	a.bareAt = a.bareAt || strings.Contains(s, "@")
}

func (a *addressItem) quote(value, literal string) {
	if a.bracketed && a.email != "" {
		a.tail = append(a.tail, value...)
		a.tailLiteral = append(a.tailLiteral, literal...)
		return
	}
	a.words = append(a.words, value...)
	a.literal = append(a.literal, literal...)
	a.at = a.at || strings.Contains(literal, "@")
}

func (a *addressItem) angle(s string) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.HasPrefix(strings.TrimSpace(s), "@") {
		s = s[i+1:] // the route of RFC 5322 §4.4
	}
	if s = strings.TrimSpace(s); !a.bracketed || a.email == "" {
		a.email, a.bracketed = s, true
	}
}

// regular reports that the item is an address as RFC 5322 has them, obsolete forms included.
func (a *addressItem) regular(email string) bool {
	if !isAddrSpec(email) || a.odd {
		return false
	}
	if a.bracketed {
		return !a.bareAt
	}
	literal := strings.TrimSpace(string(a.literal))
	return literal == email || spreadAddress(literal) == email
}

func (a *addressItem) empty() bool {
	return !a.bracketed && len(bytes.TrimSpace(a.literal)) == 0
}

// address makes an address of the item; ok is false where there is none in it.
func (a *addressItem) address(c *charsets) (address schema.EmailAddress, ok bool) {
	if a.bracketed {
		if a.email == "" {
			return address, false
		}
		fields := strings.Fields(stripComments(a.email))
		email := a.email
		if hasBareBlank(a.email) || strings.IndexByte(a.email, '(') >= 0 {
			email = strings.Join(fields, "")
		}
		a.odd = len(fields) > 1 && strings.IndexByte(a.email, '(') < 0 && hasBareBlank(a.email) && spreadAddress(a.email) == ""
		plain, odd := withoutQuotes(email)
		email, a.odd = plain, a.odd || odd
		return newAddress(c.decodeText(string(a.words)), email), email != ""
	}
	text := strings.TrimSpace(string(a.literal))
	if text == "" {
		return address, false
	}
	if spread := spreadAddress(text); spread != "" {
		text = spread
	}
	if !hasBareBlank(text) {
		text, a.odd = withoutQuotes(text)
		return newAddress(c.decodeText(a.comment), text), true
	}
	words := strings.Fields(text)
	i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, "@") })
	if i < 0 {
		return address, false
	}
	email := words[i]
	name := strings.TrimSpace(strings.Replace(string(a.words), email, "", 1))
	if strings.HasSuffix(name, ":") { // of a group that nothing ends
		name = ""
	}
	return newAddress(c.decodeText(name), email), true
}

// spreadAddress is the address whose pieces stand apart (RFC 5322 §4.4), or "".
func spreadAddress(s string) string {
	if !strings.Contains(s, " @") && !strings.Contains(s, "@ ") && !strings.Contains(s, " .") {
		return ""
	}
	for _, sign := range []string{"@", "."} {
		parts := strings.Split(s, sign)
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		s = strings.Join(parts, sign)
	}
	if strings.ContainsAny(s, " \t\"") || strings.Count(s, "@") != 1 {
		return ""
	}
	return s
}

// angleLength is where an address in angle brackets ends: at the ">" outside of
// quotes, or at another "<"; -1 where nothing ends it. Quotes that nothing closes are none.
func angleLength(s string) int {
	const longest = 1 << 10 // octets searched for the end of quotes: each "<" asks again
	end := strings.IndexAny(s, "><")
	if end < 0 || strings.Count(s[:end], `"`)%2 == 0 {
		return end
	}
	quoted := false
	for i := range min(len(s), longest) {
		switch c := s[i]; {
		case c == '"' && (i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case !quoted && (c == '>' || c == '<'):
			return i
		}
	}
	return end
}

// angle takes what stands in angle brackets: an address, or several where only one belongs.
func (l *addressList) angle(s string) {
	if !strings.ContainsAny(s, ",;") || strings.IndexByte(s, '"') >= 0 || strings.HasPrefix(strings.TrimSpace(s), "@") {
		l.item.angle(s)
		return
	}
	l.whole = false
	for i, one := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' }) {
		if i > 0 {
			l.divide()
		}
		l.item.angle(one)
	}
}

// unquotePhrase reads the quoted string s begins with: any character behind a
// backslash stands for itself (RFC 5322 §3.2.4).
func unquotePhrase(s string) (value string, length int, closed bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i + 1, true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", len(s), false
}

// hasBareBlank reports blanks outside of quotes.
func hasBareBlank(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case isBlank(s[i]) && !quoted:
			return true
		}
	}
	return false
}

// isAddrSpec reports that an address has a local part and a domain, and nothing that stands around addresses.
func isAddrSpec(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return false
	}
	local := s[:at]
	return local[0] == '"' && local[len(local)-1] == '"' && len(local) > 1 || !strings.ContainsAny(local, `@<>,;:"`)
}

// withoutQuotes takes off an address what does not belong to it; odd says that there was something.
func withoutQuotes(s string) (address string, odd bool) {
	address = s
	if len(address) > len("mailto:") && strings.EqualFold(address[:len("mailto:")], "mailto:") {
		address = address[len("mailto:"):]
	}
	for _, quote := range []string{`"`, "'"} {
		if inner := strings.Trim(address, quote); strings.HasPrefix(address, quote) && strings.HasSuffix(address, quote) && isAddrSpec(inner) {
			address = inner
		}
	}
	return address, address != s
}
