package extract

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gogs/chardet"
	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
)

const (
	maxLookUps     = 64      // charset names of one message that are looked up
	maxDetections  = 8       // texts of one message searched for what charset they are in
	detectOctets   = 2 << 10 // given to it of a text; its cost is that of some hundred octets copied for each
	leastCertainty = 20      // of 100 that it must be of a charset
)

// charsets decodes the texts of one message. It finds out in what charset
// octets are of which none, or a wrong one, is said.
type charsets struct {
	hint       string // the charset parameter of the message's own Content-Type
	known      map[string]encoding.Encoding
	last       string // found out for the text before
	detections int
}

// lookUp is lookUpCharset, which it calls once for each name, and for so many only.
func (c *charsets) lookUp(name string) encoding.Encoding {
	if e, ok := c.known[name]; ok {
		return e
	}
	if len(c.known) >= maxLookUps {
		return nil
	}
	if c.known == nil {
		c.known = make(map[string]encoding.Encoding)
	}
	e := lookUpCharset(name)
	c.known[name] = e
	return e
}

// decodeField decodes octets of a header field to UTF-8.
func (c *charsets) decodeField(charset string, octets []byte) string {
	if len(octets) == 0 {
		return ""
	}
	if isUTF8(charset) {
		cut := len(octets) - len(wholeRunes(octets)) // one octet may be a letter of a charset of eight bits
		if value := toValid(string(octets)); fits([]byte(value)) || cut > 1 && utf8.Valid(octets[:len(octets)-cut]) {
			return value
		}
	}
	if e := c.lookUp(charset); e != nil && !isUTF8(charset) {
		value, exact := decodeBytes(e, octets, true)
		if exact || !utf8.Valid(octets) && fits(value) {
			return string(value)
		}
	}
	return c.decodeUnknown(octets)
}

// decodeUnknown decodes octets of a header field no usable charset is said of.
func (c *charsets) decodeUnknown(octets []byte) string {
	if utf8.Valid(octets) {
		return string(octets)
	}
	value, _ := c.guess(octets, true, c.hint)
	return string(value)
}

// guess decodes octets that are not UTF-8 by the first of the hints they fit,
// by what the detector finds, by what was found out before, or as windows-1252,
// which fits everything. It returns the name of the charset, too.
func (c *charsets) guess(octets []byte, whole bool, hints ...string) (text []byte, name string) {
	// What was found out before comes last: most charsets of eight bits fit everything.
	for _, names := range []func() []string{
		func() []string { return append(hints, byteOrder(octets)) },
		func() []string { return c.detect(octets) },
		func() []string { return []string{c.last} },
	} {
		for _, name := range names() {
			if isASCII(name) || isUTF8(name) {
				continue
			}
			if e := c.lookUp(name); e != nil {
				if text, exact := decodeBytes(e, octets, whole); exact {
					c.last = name
					return text, name
				}
			}
		}
	}
	text, _ = decodeBytes(charmap.Windows1252, octets, whole)
	return text, "windows-1252"
}

// byteOrder is the charset a byte order mark tells, or "".
func byteOrder(octets []byte) string {
	if bytes.HasPrefix(octets, []byte("\xfe\xff")) || bytes.HasPrefix(octets, []byte("\xff\xfe")) {
		return "utf-16"
	}
	return ""
}

// detect returns what charsets the beginning of octets is likely in, the likeliest first.
func (c *charsets) detect(octets []byte) (names []string) {
	octets = octets[:min(len(octets), detectOctets)]
	if c.detections >= maxDetections || !tells(octets) {
		return nil
	}
	c.detections++
	found, err := chardet.NewTextDetector().DetectAll(octets)
	if err != nil {
		return nil
	}
	// It orders those that are equally likely by which of its goroutines came first.
	slices.SortFunc(found, func(a, b chardet.Result) int {
		return cmp.Or(b.Confidence-a.Confidence, boolOrder(isWestern(b.Charset), isWestern(a.Charset)), strings.Compare(a.Charset, b.Charset))
	})
	for _, f := range found[:min(len(found), 3)] {
		if f.Confidence >= leastCertainty {
			names = append(names, f.Charset)
		}
	}
	return names
}

func isWestern(charset string) bool { return charset == "windows-1252" || charset == "ISO-8859-1" }

// boolOrder is the order of false before true.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// tells reports that there is enough beside ASCII for a guess.
func tells(octets []byte) bool {
	const least = 4
	n := 0
	for _, c := range octets {
		if c >= utf8.RuneSelf {
			n++
		}
	}
	return n >= least
}

// escaped is the charset that the escape sequences of a text of seven bits
// tell, or "" (RFC 1468, 1554, 1557, 1843, 1922). Hint is the charset they are in if they are none of these.
func escaped(octets []byte, hint string) string {
	i := bytes.IndexByte(octets, 0x1b)
	if i < 0 {
		if strings.HasPrefix(strings.ToLower(hint), "hz") && bytes.Contains(octets, []byte("~{")) {
			return hint
		}
		return ""
	}
	for _, s := range [...]struct{ sequence, charset string }{
		{"$)C", "iso-2022-kr"}, {"$)A", "iso-2022-cn"}, {"$B", "iso-2022-jp"}, {"$@", "iso-2022-jp"}, {"(J", "iso-2022-jp"}, {"(I", "iso-2022-jp"},
	} {
		if bytes.HasPrefix(octets[i+1:], []byte(s.sequence)) {
			return s.charset
		}
	}
	return ""
}

// meta is the charset that the beginning of an HTML document says it is in, or "".
func (c *charsets) meta(document []byte) string {
	const scanned = 1024 // as the HTML standard has it
	if c.detections >= maxDetections {
		return ""
	}
	c.detections++
	_, name, _ := charset.DetermineEncoding(document[:min(len(document), scanned)], "")
	if name == "windows-1252" { // also what it takes where the document says nothing
		return ""
	}
	return name
}

// fits reports that much of what is not ASCII in a decoded text could be decoded: an octet that fits nothing may spoil those beside it.
func fits(text []byte) bool {
	bad := bytes.Count(text, replacement)
	if bad == 0 {
		return true
	}
	good := -bad
	for _, c := range text {
		if c >= 0xc0 { // begins a character of several octets
			good++
		}
	}
	return 2*good >= bad
}
