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
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// maxCharset is the longest charset name looked up.
const maxCharset = 64

// mailCharsets are names seen in mail that neither the WHATWG Encoding Standard nor IANA has, or means otherwise.
var mailCharsets = map[string]encoding.Encoding{
	"cp932": japanese.ShiftJIS, "ms932": japanese.ShiftJIS, "windows-932": japanese.ShiftJIS, "cp943": japanese.ShiftJIS, "cp942": japanese.ShiftJIS,
	"ms-cp932": japanese.ShiftJIS, "csshiftjis": japanese.ShiftJIS, "shift-jis-2004": japanese.ShiftJIS, "shift_jisx0213": japanese.ShiftJIS,
	"eucjp": japanese.EUCJP, "euc_jp": japanese.EUCJP, "eucjp-win": japanese.EUCJP, "eucjp-ms": japanese.EUCJP, "cp51932": japanese.EUCJP, "ujis": japanese.EUCJP,
	"jis": japanese.ISO2022JP, "iso-2022-jp-1": japanese.ISO2022JP, "iso-2022-jp-2": japanese.ISO2022JP, "iso-2022-jp-3": japanese.ISO2022JP,
	"iso-2022-jp-2004": japanese.ISO2022JP, "iso-2022-jp-ms": japanese.ISO2022JP, "csiso2022jp2": japanese.ISO2022JP,
	"cp50220": japanese.ISO2022JP, "cp50221": japanese.ISO2022JP, "cp50222": japanese.ISO2022JP,
	"cp949": korean.EUCKR, "uhc": korean.EUCKR, "windows-949": korean.EUCKR, "ms949": korean.EUCKR, "ks_c_5601-1987": korean.EUCKR, "ks-c-5601": korean.EUCKR,
	"ksc5601": korean.EUCKR, "ks_c_5601": korean.EUCKR, "euckr": korean.EUCKR, "euc_kr": korean.EUCKR, "ksc_5601": korean.EUCKR,
	"iso-2022-kr": iso2022{koreanDesignator, korean.EUCKR}, "csiso2022kr": iso2022{koreanDesignator, korean.EUCKR},
	"iso-2022-cn": iso2022{chineseDesignator, simplifiedchinese.GBK}, "iso-2022-cn-ext": iso2022{chineseDesignator, simplifiedchinese.GBK}, "csiso2022cn": iso2022{chineseDesignator, simplifiedchinese.GBK},
	"hz-gb-2312": hz{}, "hz": hz{}, "hz-gb2312": hz{}, "hzgb2312": hz{},
	"cp936": simplifiedchinese.GBK, "ms936": simplifiedchinese.GBK, "windows-936": simplifiedchinese.GBK, "euc-cn": simplifiedchinese.GBK, "euccn": simplifiedchinese.GBK,
	"gb2312-80": simplifiedchinese.GBK, "gb_2312": simplifiedchinese.GBK, "gb2312-1980": simplifiedchinese.GBK, "gb-2312": simplifiedchinese.GBK,
	"cp54936": simplifiedchinese.GB18030, "gb18030-2000": simplifiedchinese.GB18030, "gb-18030": simplifiedchinese.GB18030, "gb18030-2005": simplifiedchinese.GB18030,
	"cp950": traditionalchinese.Big5, "ms950": traditionalchinese.Big5, "windows-950": traditionalchinese.Big5, "big-5": traditionalchinese.Big5, "big5-eten": traditionalchinese.Big5,
	"big5hkscs": traditionalchinese.Big5, "cp950hkscs": traditionalchinese.Big5,
	"cp850": charmap.CodePage850, "ibm850": charmap.CodePage850, "cp437": charmap.CodePage437, "ibm437": charmap.CodePage437,
	"cp858": charmap.CodePage858, "ibm858": charmap.CodePage858, "ibm00858": charmap.CodePage858,
	"ansi": charmap.Windows1252, "latin": charmap.Windows1252, "iso": charmap.Windows1252, "roman": charmap.Macintosh, "macroman": charmap.Macintosh,
	"latin7": charmap.ISO8859_13, "latin8": charmap.ISO8859_14, "latin9": charmap.ISO8859_15, "latin-9": charmap.ISO8859_15, "latin10": charmap.ISO8859_16,
	"koi8": charmap.KOI8R, "koi8r": charmap.KOI8R, "koi8u": charmap.KOI8U, "koi8-ru": charmap.KOI8U, "maccyrillic": charmap.MacintoshCyrillic,
	"tis620": charmap.Windows874, "cp874": charmap.Windows874, "ibm874": charmap.Windows874,
	"utf-7": utf7{}, "utf7": utf7{}, "unicode-1-1-utf-7": utf7{}, "csutf7": utf7{}, "unicode-2-0-utf-7": utf7{}, "utf-7-imap": nil,
	// RFC 2781 §4.3, where the WHATWG has little-endian.
	"utf-16": unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "utf16": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf16le": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "utf16be": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf_8": unicode.UTF8, "utf8mb4": unicode.UTF8, "utf-8n": unicode.UTF8, "cp65001": unicode.UTF8, "utf-8-mac": unicode.UTF8, "cesu-8": unicode.UTF8,
	// What stands for "not known", and an encoding of the WHATWG that is for the inside of browsers only.
	"unknown": nil, "unknown-8bit": nil, "x-unknown": nil, "x-user-defined": nil, "8bit": nil, "default": nil, "none": nil, "binary": nil, "default_charset": nil, "default-charset": nil,
}

// lookUpCharset returns the encoding of a charset by the labels of the WHATWG
// Encoding Standard (so that us-ascii and iso-8859-1 are windows-1252, as mail
// really means them), by IANA's names, and by those only mail uses. It returns nil for what is unknown.
func lookUpCharset(name string) encoding.Encoding {
	name = strings.ToLower(charsetName(name))
	if name == "" || len(name) > maxCharset {
		return nil
	}
	if e, ok := mailCharsets[name]; ok {
		return e
	}
	if e := indexed(name); e != nil {
		return e
	}
	plain := strings.TrimPrefix(name, "x-")
	for _, prefix := range [...]struct{ seen, meant string }{
		{"", ""}, {"cp-", "cp"}, {"cp", "windows-"}, {"cp-", "windows-"}, {"win-", "windows-"}, {"win", "windows-"}, {"windows", "windows-"}, {"windows_", "windows-"}, {"ansi-", "windows-"},
		{"ms-ansi", "windows-1252"}, {"iso", "iso-"}, {"iso_", "iso-"}, {"iso ", "iso-"}, {"8859_", "iso-8859-"}, {"8859-", "iso-8859-"}, {"latin-", "latin"}, {"latin ", "latin"}, {"ibm-", "ibm"}, {"dos-", "ibm"}, {"mac-", "x-mac-"},
	} {
		rest, found := strings.CutPrefix(plain, prefix.seen)
		if !found {
			continue
		}
		label := prefix.meant + rest
		if e, ok := mailCharsets[label]; ok && e != nil {
			return e
		}
		if label != name {
			if e := indexed(label); e != nil {
				return e
			}
		}
	}
	return nil
}

// indexed is the encoding of a label of the WHATWG or of IANA, or nil.
func indexed(label string) encoding.Encoding {
	if e, err := htmlindex.Get(label); err == nil && usable(e) {
		return e
	}
	for _, index := range [...]*ianaindex.Index{ianaindex.MIME, ianaindex.IANA} {
		if e, err := index.Encoding(label); err == nil && e != nil && usable(e) {
			return e
		}
	}
	return nil
}

// usable refuses the "replacement" encoding, which makes a whole text one U+FFFD.
func usable(e encoding.Encoding) bool { return e != encoding.Replacement }

// charsetName is a charset without what senders put around its name.
func charsetName(s string) string {
	s = strings.Trim(s, " \t\r\n\"'<>")
	if len(s) > len("charset=") && strings.EqualFold(s[:len("charset=")], "charset=") {
		s = strings.Trim(s[len("charset="):], " \t\"'")
	}
	if i := strings.IndexAny(s, ";,\"'"); i > 0 {
		s = strings.TrimSpace(s[:i])
	}
	return s
}

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
	return value, !bytes.Contains(value, replacement)
}

var replacement = []byte("\uFFFD")

func isUTF8(charset string) bool {
	switch strings.ToLower(charsetName(charset)) {
	case "utf-8", "utf8", "unicode-1-1-utf-8", "x-utf_8j", "csutf8", "utf_8", "utf8mb4", "utf-8n", "cp65001":
		return true
	}
	return false
}

// isASCII reports a name of US-ASCII, which says no more of octets that are not.
func isASCII(charset string) bool {
	switch strings.ToLower(charsetName(charset)) {
	case "", "us-ascii", "ascii", "ansi_x3.4-1968", "ansi_x3.4-1986", "iso646-us", "iso-ir-6", "us", "csascii", "us_ascii", "usascii", "7bit", "646", "iso_646.irv:1991", "x-us-ascii", "x-ascii":
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
