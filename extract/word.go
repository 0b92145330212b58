package extract

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// decodeText is a header value in the Text form of RFC 8621 §4.1.2.2: unfolded,
// encoded words decoded, without the control characters that come out of them, NFC.
func (c *charsets) decodeText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, c.decodeValue(s))
}

// decodeValue is decodeText with the control characters but NUL.
func (c *charsets) decodeValue(s string) string {
	s = unfolded(s)
	if !isValid(s) {
		s = c.decodeUnknown([]byte(s))
	}
	s = strings.TrimLeft(c.decodeWords(s), " \t")
	s = strings.ReplaceAll(toValid(s), "\x00", "")
	return norm.NFC.String(s)
}

// unfolded takes the line ends out of s, RFC 5322 §2.2.3.
func unfolded(s string) string {
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(s)
}

// decodeWords decodes the encoded words of RFC 2047 in s, wherever they stand,
// blanks inside them or none between them. Octets of words in one charset that
// stand side by side are decoded together, so that a character may be split between them.
func (c *charsets) decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	var out strings.Builder
	var run struct {
		charset string
		octets  []byte
	}
	flush := func() {
		if len(run.octets) > 0 {
			out.WriteString(c.decodeField(run.charset, run.octets))
		}
		run.octets = nil
	}
	end := -1 // of a "?=" found before, so that none is looked for twice
	afterWord := false
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, ok := parseWord(s[i:], &end, i)
		if !ok {
			flush()
			out.WriteString(s[:i+2])
			s, afterWord = s[i+2:], false
			end -= i + 2
			continue
		}
		between := s[:i]
		if !afterWord || strings.Trim(between, " \t") != "" {
			flush()
			out.WriteString(between)
		}
		if !strings.EqualFold(w.charset, run.charset) {
			flush()
			run.charset = w.charset
		}
		run.octets = append(run.octets, w.octets...)
		s, afterWord = s[i+w.length:], true
		end -= i + w.length
	}
	flush()
	out.WriteString(s)
	return out.String()
}

// word is an encoded word.
type word struct {
	charset string
	octets  []byte
	length  int // in the text
}

// parseWord reads the encoded word s begins with. End is where, counted from
// offset octets before s, the next "?=" is: a value before what is needed means
// that it must be looked for.
func parseWord(s string, end *int, offset int) (w word, ok bool) {
	charset, rest, found := strings.Cut(s[2:min(len(s), 2+maxCharset+32)], "?")
	if !found || charset == "" || strings.ContainsAny(charset, " \t=") || len(rest) < 2 || rest[1] != '?' {
		return w, false
	}
	start := len("=?") + len(charset) + len("?q?")
	if *end < offset+start {
		i := strings.Index(s[start:], "?=")
		if i < 0 {
			*end = int(^uint(0) >> 2) // there is none
			return w, false
		}
		*end = offset + start + i
	}
	if *end-offset > len(s) {
		return w, false
	}
	text := s[start : *end-offset]
	if strings.Contains(text, "=?") {
		return w, false
	}
	switch rest[0] {
	case 'b', 'B':
		w.octets = decodeBase64Word(text)
	case 'q', 'Q':
		w.octets = decodeQWord(text)
	default:
		return w, false
	}
	w.charset, _, _ = strings.Cut(charset, "*") // a language, RFC 2231 §5
	w.length = *end - offset + len("?=")
	return w, true
}

// decodeQWord decodes the Q encoding of RFC 2047 §4.2; an "=" that begins no escape is kept.
func decodeQWord(text string) []byte {
	octets := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '_' {
			c = ' '
		} else if c == '=' && i+2 < len(text) {
			if hi, lo := hexValue(text[i+1]), hexValue(text[i+2]); hi|lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		octets = append(octets, c)
	}
	return octets
}

// decodeBase64Word decodes the base64 of an encoded word, as leniently as that of a body.
func decodeBase64Word(text string) []byte {
	var d base64Decoder
	src := []byte(text)
	octets := make([]byte, len(src)+8)
	n := 0
	for {
		k, used := d.decode(octets[n:], src, true)
		if n, src = n+k, src[used:]; k == 0 {
			return octets[:n]
		}
	}
}
