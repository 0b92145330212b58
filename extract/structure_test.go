package extract

import (
	"strings"
	"testing"
)

func mixed(l ...string) string {
	return lines(append([]string{"MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=x", ""}, l...)...)
}

// TestWindowEdges puts a delimiter at every position around the end of the window.
func TestWindowEdges(t *testing.T) {
	for _, end := range []string{"\r\n", "\n", "\r\r\n", "\n\n"} {
		for n := windowSize - 100; n < windowSize+10; n++ {
			one := strings.Repeat("-\r", n/2) + strings.Repeat("x", n%2)
			message := mixed("--x", "", one+end+"--x", "", "two", "--x--")
			got, err := read(strings.NewReader(message), Limits{})
			want := one + strings.TrimSuffix(strings.TrimSuffix(end, "\n"), "\r")
			if end == "\n" {
				want = strings.TrimSuffix(want, "\r")
			}
			if err != nil || len(got.Parts) != 2 || got.Parts[0] != want || got.Parts[1] != "two" {
				t.Fatalf("a part of %d octets before %q: got %d parts, the first of %d octets, %v, want one of %d",
					n, end, len(got.Parts), len(got.Parts[0]), err, len(want))
			}
		}
	}
}

func TestStructure(t *testing.T) {
	tests := []struct {
		name, message string
		limits        Limits
		outline       string
		codes         string
	}{
		{name: "no MIME", message: lines("Subject: hi", "", "body", ""), outline: `1 text/plain "body\r\n"`},
		{name: "empty", message: "", outline: `1 text/plain ""`},
		{name: "header only", message: "Subject: hi\r\n", outline: `1 text/plain ""`},
		{name: "two parts", message: mixed("preamble", "--x", "", "one", "--x", "Content-Type: text/html", "", "two", "", "--x--", ""),
			outline: `multipart/mixed(1 text/plain "one", 2 text/html "two\r\n")`},
		{name: "nested", message: mixed("--x", "Content-Type: multipart/alternative; boundary=\"y\"", "", "--y", "", "a", "--y", "", "b", "--y--", "", "--x", "", "c", "--x--"),
			outline: `multipart/mixed(multipart/alternative(1.1 text/plain "a", 1.2 text/plain "b"), 2 text/plain "c")`},
		{name: "all LF", message: strings.ReplaceAll(mixed("--x", "", "one", "", "--x", "", "two", "--x--", ""), "\r\n", "\n"),
			outline: `multipart/mixed(1 text/plain "one\n", 2 text/plain "two")`, codes: "bare-newline"},
		{name: "first delimiter CRLF, later LF", message: mixed("--x", "", "one\n--x\n\ntwo\n--x--\n"),
			outline: `multipart/mixed(1 text/plain "one", 2 text/plain "two")`, codes: "bare-newline"},
		{name: "missing close delimiter", message: mixed("--x", "", "one", "--x", "", "two", ""),
			outline: `multipart/mixed(1 text/plain "one", 2 text/plain "two\r\n")`, codes: "missing-close-delimiter"},
		{name: "inner multipart unclosed", message: mixed("--x", "Content-Type: multipart/related; boundary=y", "", "--y", "", "a", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(multipart/related(1.1 text/plain "a"), 2 text/plain "b")`, codes: "missing-close-delimiter"},
		{name: "boundary that is a prefix", message: mixed("--x", "Content-Type: multipart/related; boundary=x-1", "", "--x-1", "", "a", "--x-1--", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(multipart/related(1.1 text/plain "a"), 2 text/plain "b")`},
		{name: "boundary of dashes", message: mixed("--x", "Content-Type: multipart/related; boundary=\"x--\"", "", "--x--", "", "a", "--x----", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(multipart/related(1.1 text/plain "a"), 2 text/plain "b")`},
		{name: "same boundary nested", message: mixed("--x", "Content-Type: multipart/related; boundary=x", "", "--x", "", "a", "--x--", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(multipart/related(1.1 text/plain "a"), 2 text/plain "b")`, codes: "duplicate-boundary"},
		{name: "delimiters with trailing blanks", message: mixed("--x \t", "", "one", "--x  ", "", "two", "--x-- \t ", ""),
			outline: `multipart/mixed(1 text/plain "one", 2 text/plain "two")`},
		{name: "near misses", message: mixed("--x", "", "--x1", "--", "-- x", "--X", "-x", "--x-", "--x--y", "--x--"),
			outline: `multipart/mixed(1 text/plain "--x1\r\n--\r\n-- x\r\n--X\r\n-x\r\n--x-\r\n--x--y")`},
		{name: "empty parts", message: mixed("--x", "", "--x", "", "", "--x", "--x--"),
			outline: `multipart/mixed(1 text/plain "", 2 text/plain "", 3 text/plain "")`, codes: "3:missing-blank-line"},
		{name: "headers run into the boundary", message: mixed("--x", "Content-Type: text/html", "--x", "Content-Type: image/png", "", "two", "--x--"),
			outline: `multipart/mixed(1 text/html "", 2 image/png "two")`, codes: "1:missing-blank-line"},
		{name: "no blank line in a part", message: mixed("--x", "Content-Type: text/html", "no field", "--x--"),
			outline: `multipart/mixed(1 text/html "no field")`, codes: "1:missing-blank-line"},
		{name: "no blank line before the first delimiter", message: lines("Content-Type: multipart/mixed; boundary=x", "no blank line here", "--x", "Content-Type: text/html", "", "a", "--x--"),
			outline: `multipart/mixed(1 text/html "a")`, codes: "missing-blank-line"},
		{name: "first delimiter instead of a blank line", message: lines("Content-Type: multipart/mixed; boundary=x", "--x", "Content-Type: text/html", "", "a", "--x--"),
			outline: `multipart/mixed(1 text/html "a")`, codes: "missing-blank-line"},
		{name: "dashes in a header", message: lines("Content-Type: text/plain", "-----", "Content-Type: text/html", "", "a"),
			outline: `1 text/plain "a"`, codes: "header-syntax 1:duplicate-field"},
		{name: "part without header", message: mixed("--x", "no field", "", "more", "--x--"),
			outline: `multipart/mixed(1 text/plain "no field\r\n\r\nmore")`, codes: "1:missing-header"},
		{name: "line without colon in a part", message: mixed("--x", "Content-Type: text/html", "no field", "X: y", "", "body", "--x--"),
			outline: `multipart/mixed(1 text/html "body")`, codes: "1:header-syntax"},
		{name: "digest", message: lines("Content-Type: multipart/digest; boundary=x", "", "--x", "", "Subject: y", "", "--x", "Content-Type: text/plain", "", "z", "--x--"),
			outline: `multipart/digest(1 message/rfc822 "Subject: y\r\n", 2 text/plain "z")`},
		{name: "no header, and a line like a field", message: mixed("--x", "-----BEGIN PGP SIGNED MESSAGE-----", "Hash: SHA1", "", "text", "--x--"),
			outline: `multipart/mixed(1 text/plain "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA1\r\n\r\ntext")`, codes: "1:missing-header"},
		{name: "an attached message with a boundary that goes on", message: mixed("--x", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; boundary=\"x#2\"", "", "--x#2", "", "a", "--x#2--", "--x--"),
			outline: `multipart/mixed(1 message/rfc822 "Content-Type: multipart/mixed; boundary=\"x#2\"\r\n\r\n--x#2\r\n\r\na\r\n--x#2--")`},
		{name: "something behind a close delimiter", message: mixed("--x", "", "a", "--x>", "--x-->", "rest"),
			outline: `multipart/mixed(1 text/plain "a\r\n--x>")`, codes: "delimiter-syntax epilogue"},
		{name: "message/rfc822 is one part", message: mixed("--x", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; boundary=z", "", "--z", "", "--z--", "--x--"),
			outline: `multipart/mixed(1 message/rfc822 "Content-Type: multipart/mixed; boundary=z\r\n\r\n--z\r\n\r\n--z--")`},
		{name: "message/rfc822 in base64", message: mixed("--x", "Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "", "QTog\r\nYg==", "--x--"),
			outline: `multipart/mixed(1 message/rfc822 "A: b")`},
		{name: "epilogue", message: mixed("--x", "", "a", "--x--", "", "list footer"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "epilogue"},
		{name: "blank epilogue", message: mixed("--x", "", "a", "--x--", "", "  ", ""), outline: `multipart/mixed(1 text/plain "a")`},
		{name: "no boundary, guessed by a header", message: lines("Content-Type: multipart/mixed", "", "text", "--guess", "Content-Type: text/html", "", "a", "--guess--"),
			outline: `multipart/mixed(1 text/html "a")`, codes: "missing-boundary"},
		{name: "no boundary, guessed by recurrence", message: lines("Content-Type: multipart/mixed; boundary=\"\"", "", "--guess", "", "a", "--guess--"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "missing-boundary"},
		{name: "no boundary, nothing to guess", message: lines("Content-Type: multipart/mixed", "", "just", "-- ", "text"),
			outline: `multipart/mixed(1 text/plain "just\r\n-- \r\ntext")`, codes: "missing-boundary"},
		{name: "no boundary inside another", message: mixed("--x", "Content-Type: multipart/related", "", "text", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(multipart/related(1.1 text/plain "text"), 2 text/plain "b")`, codes: "missing-boundary"},
		{name: "overlong boundary", message: lines("Content-Type: multipart/mixed; boundary="+strings.Repeat("b", 999), "", "text"),
			outline: `multipart/mixed(1 text/plain "text")`, codes: "missing-boundary"},
		{name: "longest boundary", message: lines("Content-Type: multipart/mixed; boundary="+strings.Repeat("b", 998), "", "--"+strings.Repeat("b", 998), "", "text", "--"+strings.Repeat("b", 998)+"--"),
			outline: `multipart/mixed(1 text/plain "text")`},
		{name: "boundary that never comes", message: mixed("all the text", "--y", ""),
			outline: `multipart/mixed(1 text/plain "all the text\r\n--y\r\n")`, codes: "missing-delimiter"},
		{name: "only a close delimiter", message: mixed("text", "--x--"),
			outline: `multipart/mixed(1 text/plain "text")`, codes: "missing-delimiter"},
		{name: "inner boundary that never comes", message: mixed("--x", "Content-Type: multipart/related; boundary=y", "", "text", "--x--"),
			outline: `multipart/mixed(multipart/related(1.1 text/plain "text"))`, codes: "missing-delimiter"},
		{name: "unquoted boundary with =", message: lines("Content-Type: multipart/mixed; boundary=----=_Part_1", "", "------=_Part_1", "", "a", "------=_Part_1--"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "parameter-syntax"},
		{name: "unquoted type", message: lines("Content-Type: multipart/related; type=text/html; boundary=x;; start=a", "", "--x", "", "a", "--x--"),
			outline: `multipart/related(1 text/plain "a")`, codes: "parameter-syntax"},
		{name: "duplicate boundary", message: lines("Content-Type: multipart/mixed; boundary=x; boundary=y", "", "--x", "", "a", "--x--"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "parameter-syntax"},
		{name: "multipart in base64", message: lines("Content-Type: multipart/mixed; boundary=x", "Content-Transfer-Encoding: base64", "", "--x", "", "a", "--x--"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "multipart-encoding"},
		{name: "preamble of long lines", message: mixed(strings.Repeat("p", 20000), "--x", "", "a", "--x--"),
			outline: `multipart/mixed(1 text/plain "a")`},
		{name: "preamble beyond what is looked ahead", message: mixed(strings.Repeat("p", 40000), "--x", "", "a", "--x--"),
			outline: `multipart/mixed(1 text/plain "` + strings.Repeat("p", 40000) + `", 2 text/plain "a")`, codes: "missing-delimiter"},
		{name: "uuencode and TNEF pass", message: mixed("--x", "", "begin 644 a\r\n#86)C\r\nend", "--x", "Content-Type: application/ms-tnef; name=winmail.dat", "", "x\x9f\x3e\x22", "--x--"),
			outline: `multipart/mixed(1 text/plain "begin 644 a\r\n#86)C\r\nend", 2 application/ms-tnef "x\x9f>\"")`},
		{name: "parts behind a close delimiter", message: mixed("--x", "", "a", "--x--", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "epilogue"},
		{name: "text attachment is not converted", message: lines("Content-Type: text/csv; charset=iso-8859-1", "", "\xe4;\xf6"),
			outline: `1 text/csv "\xe4;\xf6"`},
		{name: "boundary in 8-bit", message: lines("Content-Type: multipart/mixed; boundary=\"\xe4\"", "", "--\xe4", "", "a", "--\xe4--"),
			outline: `multipart/mixed(1 text/plain "a")`, codes: "header-charset"},
		{name: "MaxParts of 1", limits: Limits{MaxParts: 1}, message: mixed("--x", "", "a", "--x--"),
			outline: `multipart/mixed(1 application/octet-stream "--x\r\n\r\na\r\n--x--")`, codes: "1:too-many-parts"},
		{name: "too many parts, inside another multipart", limits: Limits{MaxParts: 2}, message: mixed("--x", "", "a", "--x", "Content-Type: multipart/mixed; boundary=y", "", "--y", "", "b", "--y--", "--x--"),
			outline: `multipart/mixed(1 text/plain "a", 2 application/octet-stream "--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nb\r\n--y--\r\n--x--")`, codes: "2:too-many-parts"},
		{name: "too many parts", limits: Limits{MaxParts: 2}, message: mixed("--x", "", "a", "--x", "X: y", "", "b", "--x", "", "c", "--x--", "end"),
			outline: `multipart/mixed(1 text/plain "a", 2 application/octet-stream "--x\r\nX: y\r\n\r\nb\r\n--x\r\n\r\nc\r\n--x--\r\nend")`, codes: "2:too-many-parts"},
		{name: "too deep", limits: Limits{MaxDepth: 1}, message: mixed("--x", "Content-Type: multipart/related; boundary=y", "Content-Transfer-Encoding: base64", "", "--y", "", "a", "--y--", "--x--"),
			outline: `multipart/mixed(1 multipart/related "--y\r\n\r\na\r\n--y--")`, codes: "1:too-deep"},
		{name: "part header too large", limits: Limits{MaxHeaderBytes: 100}, message: mixed("--x", "Content-Type: text/html", "X: "+strings.Repeat("y", 100), "", "QQ==", "--x", "", "b", "--x--"),
			outline: `multipart/mixed(1 application/octet-stream "Content-Type: text/html\r\nX: ` + strings.Repeat("y", 100) + `\r\n\r\nQQ==", 2 text/plain "b")`, codes: "1:header-too-large"},
		{name: "unknown encoding", message: lines("Content-Transfer-Encoding: x-uuencode", "", "begin=3D"), outline: `1 text/plain "begin=3D"`, codes: "1:unknown-encoding"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, tt.message, tt.limits)
			if got.outline() != tt.outline || got.codes() != tt.codes {
				t.Errorf("reading %q:\ngot  %s  [%s]\nwant %s  [%s]", tt.message, got.outline(), got.codes(), tt.outline, tt.codes)
			}
		})
	}
}

// TestDelimiterInHeader ends the header of a multipart by the delimiter of the
// one around it, at every place in the window.
func TestDelimiterInHeader(t *testing.T) {
	for n := peekSize - 200; n < windowSize+200; n += 97 {
		text := strings.Repeat("x", n)
		got := mustRead(t, mixed("--x", "", text, "--x", "Content-Type: multipart/mixed; boundary=y", "--x", "", "b", "--x--"), Limits{})
		if len(got.Parts) != 3 || got.Parts[0] != text || got.Parts[1] != "" || got.Parts[2] != "b" {
			t.Fatalf("behind %d octets: got %d parts %.40q, want three", n, len(got.Parts), got.Parts[1:])
		}
	}
}
