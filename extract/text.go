package extract

import (
	"bytes"
	"cmp"
	"strconv"
	"unicode/utf8"

	"lsmtpd/schema"
)

var byteOrderMark = []byte("\uFEFF")

// Text decodes the octets of the part, which is a text, to UTF-8 with LF line
// ends. Without whole, octets are only the beginning of the text, and
// IsTruncated is set: an incomplete last character is left out and is no problem.
// It can be called until Reader.Close.
//
// Where no charset is said, or only us-ascii, or the octets do not fit it, or it
// is not known, they are UTF-8 if they can be. Else they are what the text
// itself tells (a byte order mark, the escape sequences of ISO 2022, HTML's
// meta element), what an enclosing multipart says, what a detector finds, what
// the message's texts before were in, or windows-1252. This is listed in
// Problems, and an encoding problem but for UTF-8 where no charset is said.
// Octets that fit nothing are U+FFFD. A byte order mark at the beginning is a
// signature of the encoding and no part of the text (RFC 3629 §6): it is dropped.
func (p *Part) Text(octets []byte, whole bool) schema.BodyValue {
	r := p.body.r
	text, code, taken := r.charsets.decodeBody(p.node, octets, whole)
	if code != "" {
		said := "no charset"
		if p.node.charsetSaid {
			said = "charset " + strconv.Quote(p.node.charset)
		}
		r.problems.add(p.PartID, code, said+": read as "+taken)
	}
	text = bytes.TrimPrefix(text, byteOrderMark)
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if k := len(text); !whole && k > 0 && text[k-1] == '\r' {
		text = text[:k-1] // of a CRLF that was cut
	}
	problem := code != "" && (taken != "utf-8" || p.node.charsetSaid)
	return schema.BodyValue{Value: string(text), IsEncodingProblem: problem, IsTruncated: !whole}
}

// decodeBody decodes the text n to UTF-8. Code is that of what was wrong, and taken the charset that was taken then.
func (c *charsets) decodeBody(n *node, octets []byte, whole bool) (text []byte, code, taken string) {
	candidate := octets
	if !whole {
		candidate = wholeRunes(octets)
	}
	valid := utf8.Valid(candidate)
	text, code = c.decodeSaid(n.charset, octets, candidate, valid, whole)
	if text != nil {
		return text, code, n.charset
	}
	if name := escaped(octets, n.charsetHint); name != "" && isSevenBit(octets) {
		text, name = c.guess(octets, whole, name)
		return text, cmp.Or(code, CodeCharsetMismatch), name
	}
	if valid {
		if code == "" && !isSevenBit(candidate) {
			code = CodeCharsetMismatch
		}
		return candidate, code, "utf-8"
	}
	meta := ""
	if n.Type == "text/html" {
		meta = c.meta(octets)
	}
	text, taken = c.guess(octets, whole, meta, n.charsetHint)
	return text, cmp.Or(code, CodeCharsetMismatch), taken
}

// decodeSaid decodes a text by the charset that is said: without a code where
// all octets fit it, and to nil where most do not, or where nothing is said.
func (c *charsets) decodeSaid(said string, octets, candidate []byte, valid, whole bool) (text []byte, code string) {
	switch {
	case isASCII(said): // or as good as not said
		return nil, ""
	case isUTF8(said) && valid:
		return candidate, ""
	case isUTF8(said):
		text = []byte(toValid(string(candidate)))
	default:
		e := c.lookUp(said)
		if e == nil {
			return nil, CodeUnknownCharset
		}
		var exact bool
		if text, exact = decodeBytes(e, octets, whole); exact {
			return text, ""
		}
	}
	if valid || !fits(text) {
		text = nil
	}
	return text, CodeCharsetMismatch
}

func isSevenBit[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// wholeRunes is b without an incomplete character at its end.
func wholeRunes(b []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return b[:len(b)-n]
			}
			break
		}
	}
	return b
}
