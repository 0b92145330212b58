package hostile

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// encodings are hostile in bodies that are encoded.
func encodings() (list []Message) {
	const blanks = "                " // 16
	for _, e := range []struct{ encoding, name, unit string }{
		{"base64", "garbage of all octets", random(1 << 16)},
		{"base64", "garbage of one octet", "!"},
		{"base64", "an octet of garbage in each group", "aGV!s"},
		{"base64", "an octet of garbage after each octet", "a!"},
		{"base64", "an octet of garbage in each block", strings.Repeat("aGVs", 10_000) + "!"},
		{"base64", "a blank after each octet", "a "},
		{"base64", "lines of one octet", "a\r\n"},
		{"base64", "empty lines", "\r\n"},
		{"base64", "carriage returns", "\r"},
		{"base64", "padding", "="},
		{"base64", "padding in each group", "aA=="},
		{"base64", "padding after one octet", "a==="},
		{"base64", "padding across lines", "aA=\r\n=\r\n"},
		{"base64", "one line", "aGVs"},
		{"quoted-printable", "garbage of all octets", random(1 << 16)},
		{"quoted-printable", "equal signs", "="},
		{"quoted-printable", "equal signs and blanks", "= "},
		{"quoted-printable", "escapes", "=41"},
		{"quoted-printable", "escapes half", "=4"},
		{"quoted-printable", "escapes of carriage returns", "=\r"},
		{"quoted-printable", "soft line breaks", "=\r\n"},
		{"quoted-printable", "soft line breaks with blanks", "=" + strings.Repeat(" ", 70) + "\r\n"},
		{"quoted-printable", "equal signs before many blanks", "=" + strings.Repeat(blanks, 15) + "a"},
		{"quoted-printable", "blanks", " "},
		{"quoted-printable", "blanks that are content", "a "},
		{"quoted-printable", "many blanks that are content", strings.Repeat(blanks, 15) + "a"},
		{"quoted-printable", "blanks before line ends", " \r\n"},
		{"quoted-printable", "many blanks before line ends", strings.Repeat(blanks, 15) + "\r\n"},
		{"quoted-printable", "blanks before carriage returns", " \r"},
	} {
		list = append(list,
			kind(e.encoding+": "+e.name, "Content-Type: application/pdf\r\nContent-Transfer-Encoding: "+e.encoding+"\r\n\r\n", e.unit),
			counted("100,000 parts in "+e.encoding+": "+e.name, mixed, "--x\r\nContent-Transfer-Encoding: "+e.encoding+"\r\n\r\n"+e.unit[:min(len(e.unit), 10)]+"\r\n"))
	}
	return list
}

// random is octets without any order, the same each time, among them no delimiter.
func random(octets int) string {
	rng := rand.NewChaCha8([32]byte{})
	b := make([]byte, octets)
	_, _ = rng.Read(b) // never fails
	return strings.ReplaceAll(string(b), "\n--", "\n.-")
}

// texts are hostile in texts that are decoded and previewed.
func texts() (list []Message) {
	for _, x := range []struct{ name, mediaType, unit string }{
		{"without charset, garbage", "text/plain", random(60_000)},
		{"without charset, 8-bit", "text/plain", "\xe4"},
		{"without charset, 8-bit and escapes", "text/plain", "\x1b$B\xe4"},
		{"without charset, UTF-8 but the last octet", "text/plain", strings.Repeat("ä", 29_000) + "\xe4"},
		{"unknown charset, Japanese", "text/plain; charset=x-none", "\x83\x5c\x83\x5d"},
		{"unknown charset, Chinese", "text/plain; charset=unknown-8bit", "\xb2\xe2\xca\xd4"},
		{"unknown charset, Cyrillic", "text/plain; charset=unknown-8bit", "\xef\xf0\xe8\xe2\xe5\xf2 "},
		{"utf-8 that is none", "text/plain; charset=utf-8", "\xff"},
		{"us-ascii that is none", "text/plain; charset=us-ascii", "\xc3"},
		{"utf-7", "text/plain; charset=utf-7", "+AOQ-"},
		{"utf-7 not closed", "text/plain; charset=utf-7", "+"},
		{"utf-16", "text/plain; charset=utf-16", "\xd8\x00"},
		{"gb18030", "text/plain; charset=gb18030", "\x81\x30\x81\x30"},
		{"gb18030, garbage", "text/plain; charset=gb18030", "\xff"},
		{"iso-2022-jp, escapes", "text/plain; charset=iso-2022-jp", "\x1b$B\x1b(B"},
		{"iso-2022-jp, garbage", "text/plain; charset=iso-2022-jp", "\x1b"},
		{"iso-2022-kr", "text/plain; charset=iso-2022-kr", "\x0e0!\x0f"},
		{"iso-2022-kr, designators", "text/plain; charset=iso-2022-kr", "\x1b$)"},
		{"hz", "text/plain; charset=hz-gb-2312", "~{2b~}"},
		{"big5", "text/plain; charset=big5", "\x88\x62"},
		{"euc-jp", "text/plain; charset=euc-jp", "\x8f\xb0\xa1"},
		{"shift_jis", "text/plain; charset=shift_jis", "\x83\x5c"},
		{"windows-1252", "text/plain; charset=windows-1252", "\x80"},
		{"a quarter fits big5", "text/plain; charset=big5", "\xff"},
		{"line ends", "text/plain", "\r\n"},
		{"invisible characters", "text/plain; charset=utf-8", "\u200b\u00ad"},
		{"HTML: less-than signs", "text/html", "<"},
		{"HTML: tags", "text/html", "<a>"},
		{"HTML: tags not closed", "text/html", "<a "},
		{"HTML: attributes", "text/html", " b=c"},
		{"HTML: end tags", "text/html", "</a>"},
		{"HTML: comments", "text/html", "<!---->"},
		{"HTML: comments not closed", "text/html", "<!--"},
		{"HTML: declarations", "text/html", "<!"},
		{"HTML: processing instructions", "text/html", "<?"},
		{"HTML: CDATA", "text/html", "<![CDATA["},
		{"HTML: scripts", "text/html", "<script></script>"},
		{"HTML: scripts not closed", "text/html", "<script>"},
		{"HTML: scripts in comments", "text/html", "<script><!--<script>"},
		{"HTML: styles almost closed", "text/html", "<style></styl"},
		{"HTML: titles", "text/html", "<title>&lt"},
		{"HTML: character references", "text/html", "&shy;"},
		{"HTML: character references not closed", "text/html", "&"},
		{"HTML: numeric references", "text/html", "&#173"},
		{"HTML: NULs", "text/html", "\x00"},
		{"HTML: quotes in tags", "text/html", `<a b="`},
	} {
		const most = 60_000 // octets of a text that is kept in the envelope
		header := "--x\r\nContent-Type: " + x.mediaType + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		body := strings.Repeat(x.unit, max(1, most/len(x.unit)))
		if strings.HasPrefix(x.name, "HTML: attributes") {
			body = "<a" + body
		}
		list = append(list,
			kind("text: "+x.name, mixed, header+body+"\r\n"),
			counted("100,000 texts: "+x.name, mixed, header+body[:min(len(body), 40)]+"\r\n"))
	}
	return append(list, kind("text: one part", fmt.Sprintf("Content-Type: text/html; charset=%s\r\n\r\n", "gb18030"), "<a>\x81\x30\x81\x30"))
}
