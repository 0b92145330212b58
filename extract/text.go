package extract

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

var byteOrderMark = []byte("\uFEFF")

// Text decodes the octets of a text part to UTF-8 with LF line ends. Charset is
// that of the part, nil for none. Without whole, octets are only the beginning
// of the text: an incomplete last character is left out and is no problem.
//
// Where there is no charset, or us-ascii, or octets do not fit the one named or
// it is not known, they are UTF-8 if they can be, else windows-1252; this is
// an encoding problem unless it was UTF-8 without any other claim. Octets that
// fit nothing are U+FFFD. A byte order mark at the beginning is a signature of
// the encoding and no part of the text (RFC 3629 §6): it is dropped.
func Text(octets []byte, charset *string, whole bool) (value string, encodingProblem bool) {
	name := ""
	if charset != nil {
		name = strings.ToLower(*charset)
	}
	text, exact := decodeBody(octets, name, whole)
	text = bytes.TrimPrefix(text, byteOrderMark)
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if k := len(text); !whole && k > 0 && text[k-1] == '\r' {
		text = text[:k-1] // of a CRLF that was cut
	}
	return string(text), !exact
}

func decodeBody(octets []byte, charset string, whole bool) (text []byte, exact bool) {
	candidate := octets
	if !whole {
		candidate = wholeRunes(octets)
	}
	valid := utf8.Valid(candidate)
	if charset == "" || charset == "us-ascii" || isUTF8(charset) {
		switch {
		case valid:
			return candidate, true
		case isUTF8(charset) && hasMultibyte(candidate):
			return []byte(toValid(string(candidate))), false
		}
		text, _ = decodeBytes(lookUpCharset("windows-1252"), octets, whole)
		return text, false
	}
	if e := lookUpCharset(charset); e != nil {
		if text, exact = decodeBytes(e, octets, whole); exact || !valid {
			return text, exact
		}
	}
	if valid {
		return candidate, false
	}
	text, _ = decodeBytes(lookUpCharset("windows-1252"), octets, whole)
	return text, false
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

// hasMultibyte reports that b has a character of several octets that is UTF-8.
func hasMultibyte(b []byte) bool {
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError || n > 1 {
			return true
		}
		b = b[n:]
	}
	return false
}
