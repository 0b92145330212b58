package hostile

import (
	"fmt"
	"strings"
)

// inHeader is a kind of which all is header.
func inHeader(name, head, unit, tail string) Message {
	return Message{Name: name, Header: true, pieces: func(octets int64) []piece {
		end := tail + "\r\n\r\n"
		if strings.HasSuffix(unit+tail, "\r\n") {
			end = "\r\n"
		}
		return []piece{once(head), many(unit, octets-int64(len(head)+len(end))), once(end)}
	}}
}

// headers are hostile in their header blocks.
func headers() []Message {
	return []Message{
		{Name: "100,000 header fields", Header: true, pieces: func(int64) []piece {
			return []piece{times("X-a: y\r\n", 100_000), once("\r\n")}
		}},
		{Name: "100,000 header fields of many names", Header: true, pieces: func(int64) []piece { return []piece{once(numbered(100_000)), once("\r\n")} }},
		inHeader("header fields of five octets", "", "X:\r\n", ""),
		inHeader("header fields with NUL", "", "X: a\x00\r\n", ""),
		inHeader("header fields not in UTF-8", "", "X: \xe4\r\n", ""),
		inHeader("header fields with odd names", "", "a b: \xff\r\n", ""),
		inHeader("Subject again and again", "", "Subject: =?x?q?a?=\r\n", ""),
		inHeader("From again and again", "", "From: (a) b <c@d>\r\n", ""),
		inHeader("Content-Type again and again", "", "Content-Type: a/b\r\n", ""),
		inHeader("lines that are no fields", "", "x\r\n", "A: b"),
		inHeader("lines that are no fields behind one", "A: b\r\n", "x\r\n", "C: d"),
		inHeader("lines with a colon far behind", "A: b\r\n", strings.Repeat("x", 990)+"\x01:\r\n", "C: d"),
		inHeader("mbox lines", "From a\r\n", "From a\r\n", "C: d"),
		inHeader("empty lines before the header", "", "\r\n", "From: a"),
		inHeader("a folded field", "X: a", "\r\n b", ""),
		inHeader("a folded field of blanks", "Subject: a", "\r\n ", ""),
		kind("a header line of 50 MB", "X: ", "yyyyyyyy"),
		kind("a header line of 50 MB without colon", "", "yyyyyyyy"),
		kind("a header of 50 MB", "", "X: y\r\n"),
		kind("a folded field of 50 MB", "X: y", "\r\n z"),
		kind("a header of 50 MB of a part", mixed+"--x\r\n", "X: y\r\n"),
		kind("a header line of 50 MB of a part", mixed+"--x\r\nX: ", "y"),
	}
}

// numbered is header fields, no two of one name.
func numbered(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "X%x: y\r\n", i)
	}
	return b.String()
}

// fields are hostile in the value of a header field.
func fields() (list []Message) {
	for _, f := range []struct{ name, value, tail string }{
		{"comments opened", "(", ""},
		{"comments opened and closed at the end", "(", ")"},
		{"comments", "()", ""},
		{"comments nested", strings.Repeat("(", 500) + strings.Repeat(")", 500), ""},
		{"backslashes", `\`, ""},
		{"quotes", `"`, ""},
		{"escaped quotes", `"\`, ""},
		{"quoted strings", `"" `, ""},
		{"quoted strings of words", `"=?utf-8?q?a?=" `, ""},
		{"brackets opened", "<", ""},
		{"brackets", "<>", ""},
		{"addresses", "a@b,", ""},
		{"addresses in brackets", "a<b@c>", ""},
		{"addresses in brackets and commas", "a b, c <d@e>,", ""},
		{"addresses with comments", "a@b (c),", ""},
		{"addresses of few octets", "@,", ""},
		{"routes", "<@a,@b:", ""},
		{"colons", "a:", ""},
		{"semicolons", ";", ""},
		{"commas", "a,", ""},
		{"groups", "g:a@b;", ""},
		{"blanks", "a ", ""},
		{"only blanks", " ", ""},
		{"at signs", "@", ""},
		{"percent signs", "%", ""},
		{"dates", "1 Jan 2006 10:10 +0000 ", ""},
		{"octets that are not UTF-8", "\xe4", ""},
		{"letters to be composed", "a\u0323\u0302", ""},
		{"combining marks", "\u0323\u0302", ""},
		{"NULs", "\x00", ""},
		{"words", "=?utf-8?q?a?= ", ""},
		{"words in base64", "=?utf-8?b?YWI=?= ", ""},
		{"words of nothing", "=?a?q??=", ""},
		{"words not closed", "=?a?q?", ""},
		{"words not closed but the last", "=?a?q?", "?="},
		{"words half closed", "=?a?q?b?", "="},
		{"beginnings of words", "=?", ""},
		{"words with long charsets", "=?" + strings.Repeat("a", 60) + "?q?a?= ", ""},
		{"words of unknown charsets", "=?x-none?q?a?= =?y-none?q?a?= ", ""},
		{"words in two charsets", "=?koi8-r?q?=C1?= =?windows-1251?q?=E1?= ", ""},
		{"words in iso-2022-jp", "=?iso-2022-jp?b?GyRCJCIbKEI=?= =?utf-8?q?a?= ", ""},
		{"words in utf-7", "=?utf-7?q?+AOQ-?= =?utf-8?q?a?= ", ""},
		{"words in gb18030", "=?gb18030?b?gTCBMIEwgTA=?= =?utf-8?q?a?= ", ""},
		{"words in big5", "=?big5?q?=88=62?= =?utf-8?q?a?= ", ""},
		{"words in euc-jp", "=?euc-jp?q?=8F=B0=A1?= ", ""},
		{"words in iso-2022-kr", "=?iso-2022-kr?q?=1B=24)C=0E0!=0F?= =?utf-8?q?a?= ", ""},
		{"words in utf-16", "=?utf-16?b?/v8AYQ==?= ", ""},
		{"words in hz", "=?hz-gb-2312?q?~{2b~}?= =?utf-8?q?a?= ", ""},
		{"words between text", "a=?utf-8?q?b?=", ""},
	} {
		for _, field := range []string{"From", "Subject", "References", "Date", "Content-Language", "Content-ID"} {
			if interesting(field, f.name) {
				list = append(list, inHeader(field+": "+f.name, field+": ", f.value, f.tail))
			}
		}
		list = append(list, inHeader("file name: "+f.name, "Content-Type: text/plain; name=", f.value, f.tail),
			inHeader("file name in quotes: "+f.name, "Content-Type: text/plain; name=\"", strings.ReplaceAll(f.value, `"`, `\"`), f.tail+`"`))
	}
	return append(list, parameterBombs()...)
}

// interesting says that a field means something to the octets of a bomb.
func interesting(field, bomb string) bool {
	switch field {
	case "Subject":
		return strings.Contains(bomb, "word") || strings.Contains(bomb, "octets") || strings.Contains(bomb, "letters") || strings.Contains(bomb, "marks") || bomb == "NULs" || bomb == "only blanks"
	case "References", "Content-ID":
		return strings.Contains(bomb, "bracket") || strings.Contains(bomb, "blanks") || strings.Contains(bomb, "comment")
	case "Date":
		return strings.Contains(bomb, "comment") || bomb == "dates" || bomb == "only blanks"
	case "Content-Language":
		return bomb == "commas" || strings.Contains(bomb, "comment")
	}
	return true
}

// parameterBombs are hostile in the parameters of a field.
func parameterBombs() []Message {
	const head = "Content-Type: text/plain"
	var rising, falling strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&rising, ";name*%d=a", i)
		fmt.Fprintf(&falling, ";name*%d*=%%41", 20_000-i)
	}
	return []Message{
		inHeader("parameters", head, ";name=a", ""),
		inHeader("parameters unknown", head, ";x=a", ""),
		inHeader("parameters without value", head, ";x", ""),
		inHeader("parameters without semicolon", head+"; x=a", " charset=a", ""),
		inHeader("parameters that are almost known", head+"; x=a", " charset", ""),
		inHeader("parameters of blanks", head+"; name=a", " b", ""),
		inHeader("parameters in quotes", head, `;name="a"`, ""),
		inHeader("parameters with comments", head, ";(a)name(b)=(c)d", ""),
		inHeader("parameters of comments not closed", head, ";(a)name=(", ""),
		inHeader("sections of one number", head, ";name*1=a", ""),
		inHeader("sections encoded", head, ";name*0*=utf-8''%41", ""),
		inHeader("sections with large numbers", head, ";name*99999999999999999999=a", ""),
		{Name: "sections in order", Header: true, pieces: func(int64) []piece { return []piece{once(head + rising.String() + "\r\n\r\n")} }},
		{Name: "sections in disorder", Header: true, pieces: func(int64) []piece { return []piece{once(head + falling.String() + "\r\n\r\n")} }},
		inHeader("percent encoding", head+";name*=utf-8''", "%41", ""),
		inHeader("percent encoding in gb18030", head+";name*=gb18030''", "%81%30%81%30", ""),
		inHeader("percent encoding in iso-2022-jp", head+";name*=iso-2022-jp''", "%1b$B%1b(B", ""),
		inHeader("a path", head+";name=", "a/", ""),
		inHeader("control characters in a name", head+";name=", "\x01", ""),
		inHeader("a long media type", "Content-Type: text/", "a", ""),
		inHeader("a long transfer encoding", "Content-Transfer-Encoding: ", "a", ""),
		inHeader("a long boundary", "Content-Type: multipart/mixed; boundary=", "a", ""),
	}
}
