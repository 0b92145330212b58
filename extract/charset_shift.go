package extract

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"
)

// The octets that designate the character set of a text, RFC 1557 and RFC 1922.
const (
	koreanDesignator  = "\x1b$)C"
	chineseDesignator = "\x1b$)A"
)

// iso2022 is a charset of seven bits whose double-octet characters, between SO
// and SI, are those of an eight-bit one with the eighth bit off.
type iso2022 struct {
	designator string
	eightBit   encoding.Encoding
}

// NewEncoder implements encoding.Encoding; nothing is encoded.
func (iso2022) NewEncoder() *encoding.Encoder { return encoding.Replacement.NewEncoder() }

// NewDecoder implements encoding.Encoding.
func (e iso2022) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: transform.Chain(&shifter{designator: e.designator}, e.eightBit.NewDecoder())}
}

// shifter gives what stands between SO and SI its eighth bit.
type shifter struct {
	designator string
	shifted    bool
	escape     int // octets of the designator read
}

// Reset implements transform.Transformer.
func (t *shifter) Reset() { t.shifted, t.escape = false, 0 }

// Transform implements transform.Transformer.
func (t *shifter) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		c := src[nSrc]
		if c == t.designator[t.escape] {
			t.escape = (t.escape + 1) % len(t.designator)
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

// utf7 is UTF-7 (RFC 2152).
type utf7 struct{}

// NewEncoder implements encoding.Encoding; nothing is encoded.
func (utf7) NewEncoder() *encoding.Encoder { return encoding.Replacement.NewEncoder() }

// NewDecoder implements encoding.Encoding.
func (utf7) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: new(utf7Decoder)}
}

// utf7Decoder reads UTF-16 in base64 between "+" and the first octet that is none of it.
type utf7Decoder struct {
	shifted bool
	empty   bool   // nothing has come since the "+"
	bits    uint32 // the last that came
	count   uint   // of those not used
	high    rune   // a surrogate that waits for its second half
}

// Reset implements transform.Transformer.
func (t *utf7Decoder) Reset() { *t = utf7Decoder{} }

// Transform implements transform.Transformer.
func (t *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	const room = 3 * utf8.UTFMax // of what one octet may write
	put := func(r rune) { nDst += utf8.EncodeRune(dst[nDst:], r) }
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < room {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		if t.shifted && base64Values[c] != noValue {
			t.empty = false
			t.bits, t.count = t.bits<<6|uint32(base64Values[c]), t.count+6
			if t.count >= 16 {
				t.count -= 16
				t.unit(rune(t.bits>>t.count&0xffff), put)
			}
			continue
		}
		ended, empty := t.shifted, t.empty
		if ended {
			t.end(put)
		}
		switch {
		case ended && c == '-' && empty:
			put('+')
		case ended && c == '-':
		case c == '+':
			t.shifted, t.empty = true, true
		case c >= utf8.RuneSelf:
			put(utf8.RuneError)
		default:
			put(rune(c))
		}
	}
	if atEOF && t.shifted {
		if len(dst)-nDst < room {
			return nDst, nSrc, transform.ErrShortDst
		}
		t.end(put)
	}
	return nDst, nSrc, nil
}

// unit takes a code unit of UTF-16.
func (t *utf7Decoder) unit(u rune, put func(rune)) {
	high := t.high
	t.high = 0
	switch {
	case high != 0 && u >= 0xdc00 && u < 0xe000:
		put(utf16.DecodeRune(high, u))
		return
	case high != 0:
		put(utf8.RuneError)
	}
	if u >= 0xd800 && u < 0xdc00 {
		t.high = u
		return
	}
	put(u) // a second half alone becomes U+FFFD
}

// end ends the base64.
func (t *utf7Decoder) end(put func(rune)) {
	if t.high != 0 {
		put(utf8.RuneError)
	}
	*t = utf7Decoder{}
}

// hz is HZ (RFC 1843) with the CRLF of mail in its soft line breaks.
type hz struct{}

// NewEncoder implements encoding.Encoding; nothing is encoded.
func (hz) NewEncoder() *encoding.Encoder { return encoding.Replacement.NewEncoder() }

// NewDecoder implements encoding.Encoding.
func (hz) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: transform.Chain(new(softBreaks), simplifiedchinese.HZGB2312.NewDecoder())}
}

// softBreaks takes the CR out of "~" CR LF.
type softBreaks struct{ tilde bool }

// Reset implements transform.Transformer.
func (t *softBreaks) Reset() { t.tilde = false }

// Transform implements transform.Transformer.
func (t *softBreaks) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		c := src[nSrc]
		if t.tilde && c == '\r' {
			if nSrc+1 == len(src) && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if nSrc+1 < len(src) && src[nSrc+1] == '\n' {
				continue
			}
		}
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		t.tilde = c == '~' && !t.tilde // "~~" is a tilde
		dst[nDst] = c
		nDst++
	}
	return nDst, nSrc, nil
}
