package extract

import (
	"strings"
	"testing"
	"unicode/utf8"

	"lsmtpd/schema"
)

// textOf is the text of a part of this charset, none where it is "".
func textOf(octets []byte, charset, mediaType string, whole bool) schema.BodyValue {
	r := NewReader(strings.NewReader(""), Limits{})
	defer r.Close()
	n := &node{partID: "1"}
	n.setType(mediaType)
	if charset != "" {
		n.charset, n.charsetSaid = charset, true
	}
	return r.leaf(n).Text(octets, whole)
}

func TestText(t *testing.T) {
	tests := []struct {
		name, charset, octets string
		part                  bool // octets are only the beginning
		want                  string
		problem               bool
	}{
		{"UTF-8", "utf-8", "ä\r\nb\nc\rd", false, "ä\nb\nc\rd", false},
		{"capitals", "UTF-8", "ä", false, "ä", false},
		{"no charset, UTF-8", "", "ä", false, "ä", false},
		{"no charset, 8-bit", "", "\xe4\x80", false, "ä€", true},
		{"us-ascii, UTF-8", "us-ascii", "ä", false, "ä", true},
		{"us-ascii, 8-bit", "US-ASCII", "\xe4", false, "ä", true},
		{"UTF-8 that is none", "utf-8", "\xe4 b", false, "ä b", true},
		{"UTF-8 with one wrong octet", "utf-8", "ä\xe4b", false, "ä\uFFFDb", true},
		{"byte order mark", "utf-8", "\uFEFFa\uFEFF", false, "a\uFEFF", false},
		{"UTF-16", "utf-16", "\xfe\xff\x00a\x00\xe4", false, "aä", false},
		{"UTF-16LE", "utf-16le", "a\x00\xe4\x00", false, "aä", false},
		{"iso-8859-1 is windows-1252", "iso-8859-1", "\xe4\x80", false, "ä€", false},
		{"iso-8859-15", "iso-8859-15", "\xa4", false, "€", false},
		{"windows-1251", "windows-1251", "\xef", false, "п", false},
		{"cp1252", "cp1252", "\x80", false, "€", false},
		{"cp850", "cp850", "\x84", false, "ä", false},
		{"cp-850", "cp-850", "\x84", false, "ä", false},
		{"cp932", "cp932", "\x83\x5c", false, "ソ", false},
		{"shift_jis", "Shift_JIS", "\x83\x5c", false, "ソ", false},
		{"iso-2022-jp", "iso-2022-jp", "\x1b$B$\"\x1b(Ba", false, "あa", false},
		{"iso-2022-kr", "iso-2022-kr", "\x1b$)Ca\x0e0!\x0fb", false, "a가b", false},
		{"euc-kr", "ks_c_5601-1987", "\xb0\xa1", false, "가", false},
		{"gb2312", "gb2312", "\xb2\xe2", false, "测", false},
		{"gb18030", "gb18030", "\xb2\xe2", false, "测", false},
		{"big5", "big5", "\xa4\xa4", false, "中", false},
		{"hz-gb-2312", "hz-gb-2312", "~{2b~}", false, "测", false},
		{"unknown, UTF-8", "x-none", "ä", false, "ä", true},
		{"unknown, 8-bit", "unknown-8bit", "\xe4", false, "ä", true},
		{"unknown, ASCII", "x-none", "a", false, "a", true},
		{"utf-7", "utf-7", "a +AOQ-b+- +2D3eAA-/+IKw", false, "a äb+ 😀/€", false},
		{"replacement", "replacement", "abc", false, "abc", true},
		{"does not fit, UTF-8 does", "big5", "ä€", false, "ä€", true},
		{"does not fit", "euc-jp", "a\xff", false, "aÿ", true},
		{"quoted label", "'utf-8'", "ä", false, "ä", false},
		{"cut UTF-8", "utf-8", "a€"[:3], true, "a", false},
		{"cut UTF-8 without charset", "", "a\xe2\x82", true, "a", false},
		{"cut CRLF", "utf-8", "a\r", true, "a", false},
		{"cut shift_jis", "shift_jis", "a\x83", true, "a", false},
		{"cut UTF-16", "utf-16be", "\x00a\x00", true, "a", false},
		{"cut windows-1252", "", "a\xe4 \xe4", true, "aä ä", true},
		{"whole, incomplete", "utf-8", "ä\xe2\x82", false, "ä\uFFFD\uFFFD", true},
		{"empty", "", "", false, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			octets := []byte(tt.octets)
			v := textOf(octets, tt.charset, "text/plain", !tt.part)
			got, problem := v.Value, v.IsEncodingProblem
			if got != tt.want || problem != tt.problem {
				t.Errorf("%q as %s: got %q %v, want %q %v", tt.octets, tt.charset, got, problem, tt.want, tt.problem)
			}
			if string(octets) != tt.octets {
				t.Errorf("the octets were changed to %q", octets)
			}
		})
	}
}

// TestTextOfAnyLength decodes long texts, and every beginning of a text.
func TestTextOfAnyLength(t *testing.T) {
	got := textOf([]byte(strings.Repeat("\x83\x5c", 100000)), "shift_jis", "text/plain", true)
	if want := strings.Repeat("ソ", 100000); got.Value != want || got.IsEncodingProblem {
		t.Errorf("got %d octets, %v, want %d", len(got.Value), got.IsEncodingProblem, len(want))
	}
	text := "aä€😀\r\nb"
	for _, charset := range []string{"", "utf-8"} {
		for n := range len(text) + 1 {
			got := textOf([]byte(text[:n]), charset, "text/plain", false)
			if got.IsEncodingProblem || !strings.HasPrefix("aä€😀\nb", got.Value) {
				t.Errorf("the first %d octets: got %q %v", n, got.Value, got.IsEncodingProblem)
			}
		}
	}
}

func TestPreview(t *testing.T) {
	tests := []struct {
		name, text string
		html       bool
		want       string
	}{
		{"plain", "  Hello,\n\n\tworld  \u00a0!\n", false, "Hello, world !"},
		{"tags in plain text", "a <b> c", false, "a <b> c"},
		{"HTML", "<html><head><title>no</title><style>a{}</style><script>b()</script></head><body><h1>Hi</h1><p>a<b>b</b> &amp;&nbsp;c<br>d</p><!-- e --></body>", true, "Hi ab & c d"},
		{"HTML broken", "a <p b", true, "a"},
		{"style not closed", "a<style>b", true, "a"},
		{"cells", "<td>a</td><td>b</td>", true, "a b"},
		{"invisible", "a\u200b\u200c\u00ad\ufeff b\u0001", false, "a b"},
		{"empty", "", true, ""},
		{"cut", strings.Repeat("ä", 300), false, strings.Repeat("ä", 256)},
		{"no blank at the cut", strings.Repeat("a", 255) + " b", false, strings.Repeat("a", 255)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Preview(tt.text, tt.html)
			if got != tt.want || utf8.RuneCountInString(got) > maxPreview {
				t.Errorf("preview of %.200q: got %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}
