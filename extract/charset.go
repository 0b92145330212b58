package extract

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// maxCharset is the longest charset name looked up.
const maxCharset = 64

// lookUpCharset returns the encoding of a charset by the labels of the WHATWG
// Encoding Standard (so that us-ascii and iso-8859-1 are windows-1252, as mail
// really means them), by IANA's names, and by some only mail uses. It returns
// nil for what is unknown, UTF-7 among it.
func lookUpCharset(name string) encoding.Encoding {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	if name == "" || len(name) > maxCharset {
		return nil
	}
	switch name {
	case "cp932", "ms932", "windows-932", "x-ms-cp932", "csshiftjis":
		return japanese.ShiftJIS
	case "cp850", "cp-850":
		return charmap.CodePage850
	case "cp437", "cp-437":
		return charmap.CodePage437
	case "iso-2022-kr", "csiso2022kr":
		return iso2022KR{}
	case "utf-16", "utf16": // RFC 2781 §4.3, where the WHATWG has little-endian
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "cp949", "uhc", "windows-949", "ks_c_5601-1987":
		return korean.EUCKR
	}
	for _, label := range []string{name, strings.Replace(name, "cp-", "cp", 1), strings.Replace(name, "cp", "windows-", 1)} {
		if e, err := htmlindex.Get(label); err == nil && usable(e) {
			return e
		}
		for _, index := range []*ianaindex.Index{ianaindex.MIME, ianaindex.IANA} {
			if e, err := index.Encoding(label); err == nil && e != nil && usable(e) {
				return e
			}
		}
	}
	return nil
}

// usable refuses the "replacement" encoding, which makes a whole text one U+FFFD.
func usable(e encoding.Encoding) bool { return e != encoding.Replacement }

// decodeBytes decodes octets to UTF-8. Whole says that octets is all of a text;
// otherwise an incomplete last character is left out. Exact is false where
// octets do not fit the encoding; they are U+FFFD in the value then.
func decodeBytes(e encoding.Encoding, octets []byte, whole bool) (value []byte, exact bool) {
	dec := e.NewDecoder()
	value = make([]byte, 0, len(octets)+len(octets)/2+16)
	for {
		n, used, err := dec.Transform(value[len(value):cap(value)], octets, whole)
		value, octets = value[:len(value)+n], octets[used:]
		if err != transform.ErrShortDst {
			break
		}
		grown := make([]byte, len(value), 2*cap(value)+utf8.UTFMax)
		copy(grown, value)
		value = grown
	}
	return value, !bytes.Contains(value, []byte("\uFFFD"))
}

// decodeCharset decodes octets of a header field to UTF-8. Where the charset is
// not known, or not named, they are UTF-8 if they can be, else windows-1252.
func decodeCharset(charset string, octets []byte) string {
	if e := lookUpCharset(charset); e != nil && !isUTF8(charset) {
		if value, exact := decodeBytes(e, octets, true); exact || !utf8.Valid(octets) {
			return string(value)
		}
	} else if isUTF8(charset) {
		return toValid(string(octets))
	}
	return decodeUnknown(octets)
}

// decodeUnknown decodes octets no charset is known of.
func decodeUnknown(octets []byte) string {
	if utf8.Valid(octets) {
		return string(octets)
	}
	value, _ := decodeBytes(charmap.Windows1252, octets, true)
	return string(value)
}

func isUTF8(charset string) bool {
	switch strings.ToLower(strings.Trim(charset, " \t\"'")) {
	case "utf-8", "utf8", "unicode-1-1-utf-8", "x-utf_8j", "csutf8":
		return true
	}
	return false
}

func isValid(s string) bool { return utf8.ValidString(s) }

// toValid replaces each octet of s that is not UTF-8 by U+FFFD.
func toValid(s string) string {
	if isValid(s) {
		return s
	}
	return string([]rune(s))
}

// iso2022KR is ISO-2022-KR (RFC 1557): KS X 1001 with the eighth bit off, between SO and SI.
type iso2022KR struct{}

func (iso2022KR) NewEncoder() *encoding.Encoder { return encoding.Replacement.NewEncoder() }

func (iso2022KR) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: transform.Chain(new(shiftToEUC), korean.EUCKR.NewDecoder())}
}

// shiftToEUC turns ISO-2022-KR into EUC-KR.
type shiftToEUC struct {
	shifted bool
	escape  int // octets of the designator read
}

const koreanDesignator = "\x1b$)C"

func (t *shiftToEUC) Reset() { *t = shiftToEUC{} }

// Transform implements transform.Transformer.
func (t *shiftToEUC) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		c := src[nSrc]
		if c == koreanDesignator[t.escape] {
			t.escape = (t.escape + 1) % len(koreanDesignator)
			continue
		}
		t.escape = 0
		switch {
		case c == 0x0e:
			t.shifted = true
			continue
		case c == 0x0f:
			t.shifted = false
			continue
		case c == '\n':
			t.shifted = false
		case t.shifted && c > ' ' && c < 0x7f:
			c |= 0x80
		}
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		dst[nDst] = c
		nDst++
	}
	return nDst, nSrc, nil
}
