package extract

import (
	"strings"
	"unicode"
)

const (
	maxName    = 255  // octets of a name, the most that file systems take
	maxRawName = 1024 // octets of it as it came
	maxSuffix  = 16   // octets of its last suffix that are kept where it is cut
)

// nameOf is the first usable file name among the parameters, the forms of
// RFC 2231 of each before its plain one: as it came, decoded, and as it can be shown.
func nameOf(c *charsets, params ...*parameter) (raw, name *string) {
	for _, p := range params {
		text := p.text(c)
		if text == "" {
			continue
		}
		if raw == nil {
			cut := cutString(text, maxRawName)
			raw = &cut
		}
		if safe := safeName(text); safe != "" {
			cut := cutString(text, maxRawName)
			return &cut, &safe
		}
	}
	return raw, nil
}

// safeName takes from a file name what could mislead whoever saves or shows it:
// the path, control characters, marks that change the direction of writing.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = strings.TrimRight(s, `/\ `)
	s = strings.TrimSpace(s[strings.LastIndexAny(s, `/\`)+1:])
	if strings.IndexFunc(s, isVisible) < 0 {
		return ""
	}
	return cutName(s)
}

// isVisible reports what a name must have one of to be seen: not a dot, a blank, or a mark without a shape.
func isVisible(r rune) bool {
	return r != '.' && r != '\u2800' && r != '\u3164' && r != '\u115f' && r != '\u1160' && unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r)
}

// cutName cuts a name to maxName octets, and keeps the suffix by which files are known.
func cutName(s string) string {
	if len(s) <= maxName {
		return s
	}
	suffix := ""
	if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= maxSuffix {
		suffix = s[i:]
	}
	return strings.TrimSpace(cutString(s, maxName-len(suffix))) + suffix
}

// customaryNames are those by which programs know S/MIME and PGP parts: RFC 8551 §3.2.1, RFC 3156.
var customaryNames = map[string]*string{
	"application/pkcs7-mime": new("smime.p7m"), "application/x-pkcs7-mime": new("smime.p7m"),
	"application/pkcs7-signature": new("smime.p7s"), "application/x-pkcs7-signature": new("smime.p7s"),
	"application/pkcs10": new("smime.p10"), "application/x-pkcs10": new("smime.p10"),
	"application/pgp-signature": new("signature.asc"), "application/pgp-keys": new("key.asc"),
}

// smimeNames are those of S/MIME parts by their smime-type, where it is another.
var smimeNames = map[string]*string{"certs-only": new("smime.p7c"), "compressed-data": new("smime.p7z")}

// customaryName is the customary name of a part that has none, nil for most.
func customaryName(mediaType string, smimeType *parameter, c *charsets) *string {
	name := customaryNames[mediaType]
	if name != nil && *name == "smime.p7m" && smimeType.present() {
		if other := smimeNames[strings.ToLower(smimeType.text(c))]; other != nil {
			return other
		}
	}
	return name
}
