package extract

import (
	"strconv"
	"strings"

	"lsmtpd/schema"
)

// transferEncoding is how the octets of a part are encoded, RFC 2045 §6.
type transferEncoding int

const (
	identity transferEncoding = iota // 7bit, 8bit, binary, and what is unknown
	base64Encoding
	quotedPrintable
)

// contentFields are the raw values of the fields that describe a part; nil where there is none.
type contentFields struct {
	contentType, encoding, disposition, id, language, location *string
	repeated                                                   string // the name of one that occurs again
	tooLarge                                                   string // the name of one of which only the beginning is read
}

// cut takes the beginning of a value that is too large.
func (c *contentFields) cut(value **string, name string) {
	beginning := cutValue(**value, maxValue)
	*value, c.tooLarge = &beginning, name
}

// describe sets the properties of n from its header fields.
func (r *Reader) describe(n *node, fields []schema.Header) {
	c := findContentFields(fields)
	typed := r.describeType(n, c.contentType)
	if c.repeated != "" {
		r.problems.add(n.problemID(), CodeDuplicateField, c.repeated+" occurs again; the first counts")
	}
	if c.tooLarge != "" {
		r.problems.add(n.problemID(), CodeFieldTooLarge, c.tooLarge+" is read as far as "+strconv.Itoa(maxValue)+" octets")
	}
	if c.encoding != nil {
		var known, exact bool
		if n.encoding, known, exact = parseEncoding(*c.encoding); !known {
			r.problems.add(n.problemID(), CodeUnknownEncoding, "octets are kept as they are: "+*c.encoding)
		} else if !exact {
			r.problems.add(n.problemID(), CodeEncodingSyntax, "taken for what it is like: "+*c.encoding)
		}
	}
	var disposition parameters
	if c.disposition != nil {
		value, p := parseDisposition(*c.disposition)
		disposition = p
		r.noteFlaw(n, "Content-Disposition", p.flaw)
		if value = strings.ToLower(strings.Trim(printable(value, maxName), " \"'")); value != "" {
			n.Disposition = &value
		}
	}
	n.RawName, n.Name = nameOf(r.charsets, &disposition.filename, &typed.filename, &typed.name, &disposition.name, &typed.file, &disposition.file)
	if n.Name == nil {
		n.Name = customaryName(n.Type, &typed.smimeType, r.charsets)
	}
	if n.Type == "text/plain" {
		if format := strings.ToLower(printable(typed.format.text(r.charsets), maxName)); format != "" {
			n.Format = &format
		}
		n.DelSp = n.Format != nil && strings.EqualFold(typed.delSp.text(r.charsets), "yes")
	}
	n.CID = contentID(c.id)
	n.Language = languages(c.language)
	if c.location != nil {
		location := strings.Join(strings.Fields(cleaned(*c.location)), "")
		if location != "" {
			n.Location = &location
		}
	}
}

// findContentFields finds the fields that describe a part; of repeated ones the first counts.
func findContentFields(fields []schema.Header) (c contentFields) {
	for i := range fields {
		name := fields[i].Name
		if len(name) < len("Content-ID") || !strings.EqualFold(name[:len("Content-")], "Content-") {
			continue
		}
		to := c.field(name[len("Content-"):])
		if to == nil {
			continue
		}
		if *to == nil {
			*to = &fields[i].Value
			if len(fields[i].Value) > maxValue {
				c.cut(to, name)
			}
		} else {
			c.repeated = name
		}
	}
	return c
}

// field is where the value of the field "Content-" and name goes, nil for one that tells nothing.
func (c *contentFields) field(name string) **string {
	for _, f := range [...]struct {
		name string
		to   **string
	}{{"Type", &c.contentType}, {"Transfer-Encoding", &c.encoding}, {"Disposition", &c.disposition}, {"ID", &c.id}, {"Language", &c.language}, {"Location", &c.location}} {
		if len(name) == len(f.name) && strings.EqualFold(name, f.name) {
			return f.to
		}
	}
	return nil
}

// problemID is what a problem of n refers to: nil for a multipart, which has no part id.
func (n *node) problemID() *string {
	if n.isMultipart() {
		return nil
	}
	return n.id()
}

// describeType sets the media type of n and what its parameters say.
func (r *Reader) describeType(n *node, contentType *string) parameters {
	if contentType == nil {
		if n.inDigest {
			n.setType("message/rfc822")
		} else {
			n.setType("text/plain")
		}
		return parameters{}
	}
	value, p := parseParameters(*contentType)
	mediaType, ok := parseMediaType(value)
	if mediaType == "" {
		mediaType = mediaTypeLike(value, p.boundary.present())
	}
	n.setType(mediaType)
	if !ok {
		r.problems.add(n.problemID(), CodeContentTypeSyntax, "taken as "+mediaType+": "+*contentType)
	}
	r.noteFlaw(n, "Content-Type", p.flaw)
	n.boundary = p.boundary.octets()
	if charset := charsetName(printable(p.charset.text(r.charsets), maxName)); charset != "" {
		n.charset, n.charsetSaid = charset, true
		n.Charset = &n.charset
	}
	if n.depth == 0 {
		r.charsets.hint = n.charset
	}
	return p
}

func (r *Reader) noteFlaw(n *node, field, flaw string) {
	if flaw != "" {
		r.problems.add(n.problemID(), CodeParameterSyntax, field+": "+flaw)
	}
}

// setType sets the media type of n, and the implicit charset of a text.
func (n *node) setType(mediaType string) {
	n.Type, n.Charset = mediaType, nil
	if strings.HasPrefix(mediaType, "text/") {
		n.charset = "us-ascii"
		n.Charset = &n.charset
	}
}

// parseDisposition reads a Content-Disposition (RFC 2183 §2). What follows its
// word without a semicolon is a parameter, and so is what should be its word and is "name=value".
func parseDisposition(s string) (value string, p parameters) {
	value, p = parseParameters(s)
	value = strings.Trim(value, " \"'")
	n := tokenLength(value)
	if n == len(value) {
		return value, p
	}
	s = strings.ReplaceAll(unfolded(s), "\x00", "")
	at := strings.Index(s, value)
	switch {
	case value[n] == '=':
		value, p = parseParameters(";" + s)
	case at >= 0: // else comments divide it
		value, p = parseParameters(s[:at+n] + ";" + s[at+n+1:])
	}
	p.repaired("missing semicolon")
	return value[:tokenLength(value)], p
}

// parseMediaType reads "type/subtype", in quotes or not. Ok is false where
// something else stands behind it; then, or without one, mediaType is "".
func parseMediaType(s string) (mediaType string, ok bool) {
	s = strings.ToLower(strings.Trim(s, " \t\r\n\"'"))
	top, sub, found := strings.Cut(s, "/")
	top, sub = strings.TrimSpace(top), strings.TrimSpace(sub)
	n := tokenLength(sub)
	if !found || !isToken(top) || n == 0 || len(top)+n > maxName {
		return "", false
	}
	return top + "/" + sub[:n], n == len(sub)
}

// mediaTypeLike is what to take where there is no media type (RFC 2045 §5.2),
// or half of one (RFC 2046 §4).
func mediaTypeLike(value string, hasBoundary bool) string {
	top, _, found := strings.Cut(strings.ToLower(strings.TrimSpace(value)), "/")
	switch strings.TrimSpace(top) {
	case "application", "image", "audio", "video", "font", "model":
		if found {
			return "application/octet-stream"
		}
	}
	if strings.HasPrefix(top, "multipart") && hasBoundary {
		return "multipart/mixed"
	}
	return "text/plain"
}

// parseEncoding reads a Content-Transfer-Encoding with what may stand around
// its word: blanks, quotes, comments, semicolons. Exact says that nothing but comments does.
func parseEncoding(s string) (e transferEncoding, known, exact bool) {
	s = strings.ToLower(strings.TrimSpace(stripComments(s)))
	word := strings.Trim(s, " \t\r\n\"';,.:=")
	word, _, _ = strings.Cut(word, ";")
	switch word = strings.Trim(word, " \t\r\n\"'"); word {
	case "base64":
		return base64Encoding, true, s == word
	case "base-64", "base 64", "base_64":
		return base64Encoding, true, false
	case "quoted-printable":
		return quotedPrintable, true, s == word
	case "quoted printable", "quoted_printable", "quotedprintable":
		return quotedPrintable, true, false
	case "7bit", "8bit", "binary":
		return identity, true, s == word
	case "7-bit", "8-bit", "7 bit", "8 bit", "":
		return identity, true, false
	}
	return identity, false, false
}

// contentID is a Content-ID without its angle brackets.
func contentID(value *string) *string {
	if value == nil {
		return nil
	}
	s := strings.TrimSpace(cleaned(*value))
	if i := strings.IndexByte(s, '<'); i >= 0 {
		s = s[i+1:]
		if j := strings.IndexByte(s, '>'); j >= 0 {
			s = s[:j]
		}
	}
	s = strings.Join(strings.Fields(s), "")
	if s == "" {
		return nil
	}
	return &s
}

// languages is the list in a Content-Language field (RFC 3282).
func languages(value *string) []string {
	if value == nil {
		return nil
	}
	var list []string
	for tag := range strings.SplitSeq(stripComments(cleaned(*value)), ",") {
		if tag = strings.TrimSpace(printable(tag, maxName)); tag != "" {
			list = append(list, tag)
		}
	}
	return list
}

// isToken is the token of RFC 2045 §5.1.
func isToken(s string) bool { return s != "" && tokenLength(s) == len(s) }

// tokenLength is the length of the token s begins with.
func tokenLength(s string) int {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?=", c) >= 0 {
			return i
		}
	}
	return len(s)
}

// stripComments takes the comments of RFC 5322 §3.2.2 out of s. A parenthesis
// nothing closes is left in.
func stripComments(s string) string {
	if strings.IndexByte(s, '(') < 0 {
		return s
	}
	var b strings.Builder
	quoted := false
	closed := strings.LastIndexByte(s, ')')
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '(' && !quoted && i < closed:
			n, ok := commentLength(s[i:])
			if !ok { // so none behind it is
				closed = -1
				break
			}
			i += n - 1
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// commentLength is the length of the comment s begins with; all of s when it is not closed.
func commentLength(s string) (length int, closed bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(s), false
}
