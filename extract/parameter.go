package extract

import (
	"slices"
	"strconv"
	"strings"
)

// parameters are the ones of Content-Type and Content-Disposition that describe a part.
type parameters struct {
	boundary, charset, name, filename, file parameter
	format, delSp, smimeType                parameter
	flaw                                    string // the first thing that was repaired or skipped
	unclosed                                bool   // a comment is not closed, so none behind it is one
}

// parameter is one parameter in the forms it may come in.
type parameter struct {
	plain    *string   // name=value
	extended *string   // name*=charset'language'value, RFC 2231 §4
	sections []section // name*0=, name*1*= …, RFC 2231 §3
}

// section is a piece of a parameter value.
type section struct {
	number  int
	encoded bool // percent-encoded
	value   string
}

// maxSections bounds the pieces of one parameter.
const maxSections = 1000

// knownParameters are names that end an unquoted value with blanks when they follow it without a semicolon.
var knownParameters = []string{
	"boundary", "charset", "name", "filename", "file", "smime-type", "format", "delsp", "type", "start", "method", "protocol",
	"micalg", "report-type", "size", "creation-date", "modification-date", "read-date", "x-mac-type", "x-mac-creator", "x-unix-mode",
}

// parametersByLetter are the known parameters by their first letter.
var parametersByLetter = func() (list [256][]string) {
	for _, name := range knownParameters {
		list[name[0]] = append(list[name[0]], name)
	}
	return list
}()

// parseParameters splits a field value at its semicolons (RFC 2045 §5.1) into
// the value before the first and the parameters. It reads what it can:
// p.flaw says what it had to repair.
func parseParameters(s string) (value string, p parameters) {
	s = strings.ReplaceAll(unfolded(s), "\x00", "")
	n := valueLength(s)
	value, rest := strings.TrimSpace(stripComments(s[:n])), s[n:]
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		after := strings.TrimLeft(value[i:], " \t")
		if !strings.HasPrefix(after, "/") && !strings.HasSuffix(value[:i], "/") {
			value = value[:i]
			p.repaired("missing semicolon")
			rest = ";" + after + rest
		}
	}
	for rest != "" {
		rest = p.next(strings.TrimLeft(rest, "; \t"))
	}
	return value, p
}

func (p *parameters) repaired(what string) {
	if p.flaw == "" {
		p.flaw = what
	}
}

// valueLength is the length of s up to the first semicolon outside quotes and comments.
func valueLength(s string) int {
	quoted, comments := false, true
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '(' && !quoted && comments:
			if n, closed := commentLength(s[i:]); closed {
				i += n - 1
			} else {
				comments = false // this one is not closed, so none after it is
			}
		case s[i] == ';' && !quoted:
			return i
		}
	}
	if i := strings.IndexByte(s, ';'); quoted && i >= 0 {
		return i
	}
	return len(s)
}

// comment is the length of the comment s begins with, 0 where it begins with none that is closed.
func (p *parameters) comment(s string) int {
	if p.unclosed || !strings.HasPrefix(s, "(") {
		return 0
	}
	n, closed := commentLength(s)
	if !closed {
		p.unclosed = true
		return 0
	}
	return n
}

// next reads the parameter s begins with and returns what follows it.
func (p *parameters) next(s string) (rest string) {
	for n := p.comment(s); n > 0; n = p.comment(s) {
		s = strings.TrimLeft(s[n:], "; \t")
	}
	if s == "" {
		return ""
	}
	i := strings.IndexAny(s, "=;")
	if i < 0 {
		i = len(s)
	}
	if i == len(s) || s[i] == ';' {
		p.repaired("skipped " + s[:i])
		return s[i:]
	}
	name := strings.ToLower(strings.TrimSpace(stripComments(s[:i])))
	value, rest := p.value(name, strings.TrimLeft(s[i+1:], " \t"))
	p.set(name, value)
	return rest
}

// value reads the value of the parameter name that s begins with.
func (p *parameters) value(name, s string) (value, rest string) {
	if after := strings.TrimLeft(s[p.comment(s):], " \t"); strings.HasPrefix(after, `"`) {
		s = after
	}
	if !strings.HasPrefix(s, `"`) {
		return p.unquoted(name, s)
	}
	value, n, closed := unquote(s)
	if !closed {
		p.repaired("unclosed quote in " + name)
		n = len(s)
		if i := strings.IndexByte(s, ';'); i >= 0 {
			n = i
		}
		return strings.TrimSpace(strings.Trim(s[:n], `"`)), s[n:]
	}
	rest = strings.TrimLeft(s[n:], " \t")
	all := []string{value}
	for strings.HasPrefix(rest, `"`) { // encoded words in a quoted string each
		more, n, closed := unquote(rest)
		if !closed {
			break
		}
		p.repaired("several quoted strings in " + name)
		all = append(all, more)
		rest = strings.TrimLeft(rest[n:], " \t")
	}
	value = strings.Join(all, " ")
	for n := p.comment(rest); n > 0; n = p.comment(rest) {
		rest = strings.TrimLeft(rest[n:], " \t")
	}
	if rest == "" || rest[0] == ';' {
		return value, rest
	}
	p.repaired("missing semicolon after " + name)
	if beginsParameter(rest) {
		return value, rest
	}
	end := strings.IndexByte(rest, ';')
	if end < 0 {
		end = len(rest)
	}
	if inner := strings.TrimSpace(rest[:end]); value == "" || isFileName(name) && strings.HasSuffix(inner, `"`) {
		value = strings.Trim(value+`"`+inner, `"`) // quotes in a quoted string
	}
	return value, rest[end:]
}

// isFileName reports that the parameter name, whatever section of it, is a file name.
func isFileName(name string) bool {
	base, _, _ := strings.Cut(name, "*")
	return base == "name" || base == "filename" || base == "file"
}

// unquoted reads a value without quotes: up to the semicolon, or to a known
// parameter after a blank.
func (p *parameters) unquoted(name, s string) (value, rest string) {
	n := 0
	for n < len(s) && s[n] != ';' {
		if isBlank(s[n]) && beginsParameter(s[n+1:]) {
			p.repaired("missing semicolon after " + name)
			break
		}
		n++
	}
	value = s[:n]
	if !isFileName(name) {
		if i := strings.Index(value, " ("); i >= 0 {
			value = value[:i]
		}
	}
	value = strings.TrimSpace(value)
	if strings.Contains(value, `\"`) { // quoted once too often
		if value = strings.ReplaceAll(value, `\"`, `"`); len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
	}
	if value != "" && !isToken(value) && !strings.HasSuffix(name, "*") {
		p.repaired("value of " + name + " without quotes")
	}
	return value, s[n:]
}

// maxParameterName is more than a known parameter takes up to its "=".
const maxParameterName = 64

// beginsParameter reports that s begins with a known parameter name and "=".
func beginsParameter(s string) bool {
	if s == "" {
		return false
	}
	for _, known := range parametersByLetter[s[0]|0x20] {
		if len(s) <= len(known) || !strings.EqualFold(s[:len(known)], known) {
			continue
		}
		rest := strings.TrimLeft(s[len(known):min(len(s), len(known)+16)], "*0123456789 \t")
		if strings.HasPrefix(rest, "=") {
			return true
		}
	}
	return false
}

// unquote reads the quoted string s begins with. QUIRK: RFC 5322 §3.2.4 makes
// any character after a backslash stand for itself, but real file names come
// with the backslashes of a path: only "\"" and "\\" lose theirs.
func unquote(s string) (value string, length int, closed bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i + 1, true
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", len(s), false
}

// set keeps a value where the parameter is one of ours; the first of equal ones counts.
func (p *parameters) set(name, value string) {
	base, suffix, starred := strings.Cut(name, "*")
	var to *parameter
	switch base {
	case "boundary":
		to = &p.boundary
	case "charset":
		to = &p.charset
	case "name":
		to = &p.name
	case "filename":
		to = &p.filename
	case "file":
		to = &p.file
	case "format":
		to = &p.format
	case "delsp":
		to = &p.delSp
	case "smime-type":
		to = &p.smimeType
	default:
		return
	}
	form := &to.plain
	if starred && suffix != "" {
		number, encoded := strings.CutSuffix(suffix, "*")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || len(to.sections) >= maxSections {
			p.repaired("skipped a section of " + base)
			return
		}
		to.sections = append(to.sections, section{n, encoded, value})
		return
	} else if starred {
		form = &to.extended
	}
	if *form != nil {
		p.repaired("duplicate " + name)
		return
	}
	*form = &value
}

func (p *parameter) present() bool {
	return p.plain != nil || p.extended != nil || len(p.sections) > 0
}

// octets is the value without any charset undone, for comparing with octets of the message.
func (p *parameter) octets() string {
	if p.plain != nil {
		return *p.plain
	}
	value, _ := p.extendedValue()
	return value
}

// text is the value in UTF-8; the forms of RFC 2231 go before the plain one.
func (p *parameter) text(c *charsets) string {
	if !p.present() {
		return ""
	}
	if p.plain != nil && p.extended == nil && p.sections == nil && isToken(*p.plain) { // nothing to decode
		return *p.plain
	}
	value, charset := p.extendedValue()
	switch {
	case charset != "":
		return cleaned(c.decodeField(charset, []byte(value)))
	case value != "":
		return c.decodeValue(value) // QUIRK: encoded words where RFC 2231 §4 has none
	case p.plain != nil:
		return c.decodeValue(*p.plain)
	}
	return ""
}

// extendedValue is the value given in a form of RFC 2231, in its charset.
func (p *parameter) extendedValue() (value, charset string) {
	if p.extended != nil {
		charset, value = splitCharset(*p.extended)
		return percentDecoded(value), charset
	}
	slices.SortStableFunc(p.sections, func(a, b section) int { return a.number - b.number })
	var b strings.Builder
	next := 0
	for _, s := range p.sections {
		if s.number < next {
			continue // a duplicate
		}
		if s.number > next {
			break
		}
		value := s.value
		if s.encoded && next == 0 {
			charset, value = splitCharset(value)
		}
		if s.encoded {
			value = percentDecoded(value)
		}
		b.WriteString(value)
		next++
	}
	return b.String(), charset
}

// splitCharset splits charset'language'value; without the quotes all is value.
func splitCharset(s string) (charset, value string) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	if _, value, ok = strings.Cut(rest, "'"); !ok {
		return "", s
	}
	return charset, value
}

// percentDecoded undoes percent-encoding; a "%" that begins none is kept.
func percentDecoded(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := hexValue(s[i+1]), hexValue(s[i+2]); hi|lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
