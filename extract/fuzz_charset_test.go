package extract

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// mailCharsetNames are names of every kind of charset there is a decoder for, and of some there is none for.
var mailCharsetNames = []string{
	"", "us-ascii", "utf-8", "utf-7", "utf-16", "utf-16le", "utf-16be", "utf-32", "iso-8859-1", "iso-8859-2", "iso-8859-6", "iso-8859-8-i", "iso-8859-15",
	"windows-1250", "windows-1251", "windows-1252", "windows-1255", "windows-874", "koi8-r", "koi8-u", "macintosh", "x-mac-cyrillic", "cp437", "cp850", "ibm866",
	"shift_jis", "cp932", "euc-jp", "iso-2022-jp", "iso-2022-jp-2", "euc-kr", "cp949", "iso-2022-kr", "ks_c_5601-1987", "gb2312", "gbk", "gb18030", "hz-gb-2312",
	"big5", "big5-hkscs", "iso-2022-cn", "unknown-8bit", "x-unknown", "x-user-defined", "replacement", "viscii", "tis-620", "cp1252", "x-gbk", "default",
}

// decodePieces decodes octets in pieces of the given sizes of input and output.
func decodePieces(e encoding.Encoding, octets []byte, in, out int) ([]byte, error) {
	var got, pending []byte
	dec, dst := e.NewDecoder(), make([]byte, out)
	for {
		k := min(in, len(octets))
		pending, octets = append(bytes.Clone(pending), octets[:k]...), octets[k:]
		for {
			n, used, err := dec.Transform(dst, pending, len(octets) == 0)
			got, pending = append(got, dst[:n]...), pending[used:]
			if err == transform.ErrShortDst && n == 0 && used == 0 {
				return got, io.ErrShortBuffer
			}
			if err == nil || err == transform.ErrShortSrc {
				break
			}
			if err != transform.ErrShortDst {
				return got, err
			}
		}
		if len(octets) == 0 {
			return got, nil
		}
	}
}

func FuzzCharset(f *testing.F) {
	for i, octets := range []string{
		"a\r\n\xe4\xc3\xa4\xff", "\x1b$)Ca\x0e0!\x0fb", "\x1b$B$\"\x1b(Ba\x1b$B\x1b", "+AOQ-b+2D3eAA-+-+", "\xfe\xff\x00a\xd8\x3d\xde\x00", "\xff\xfea\x00",
		"~{2b~}~~a~\n~{", "\x810\x810\xb2\xe2\x81", "\x88\x62\xa4\xa4\x87", "\x8f\xb0\xa1\xa4\xa2\x8e\xb1", "\u20ac\xe2\x82", "\x83\x5c\x81",
	} {
		for k := range 4 {
			f.Add([]byte(octets), mailCharsetNames[(i*7+k*13)%len(mailCharsetNames)], byte(i*5+k*11), i, byte(k))
		}
	}
	f.Fuzz(func(t *testing.T, octets []byte, charset string, known byte, cut int, in byte) {
		for _, name := range []string{charset, mailCharsetNames[int(known)%len(mailCharsetNames)]} {
			checkText(t, octets, name, int(uint(cut)%uint(len(octets)+1)))
			checkDecoder(t, octets, name, int(in)+1)
		}
	})
}

// checkText decodes a text, and its beginning: where all octets fit, so do those, and the one text begins with the other.
func checkText(t *testing.T, octets []byte, charset string, cut int) {
	t.Helper()
	before := bytes.Clone(octets)
	all, some := textOf(octets, charset, "text/html", true), textOf(octets[:cut], charset, "text/html", false)
	value, problem, start, startProblem := all.Value, all.IsEncodingProblem, some.Value, some.IsEncodingProblem
	for _, s := range []string{value, start} {
		if !utf8.ValidString(s) || len(s) > maxExpansion*len(octets) || strings.Contains(s, "\r\n") {
			t.Errorf("%q in %s: text %q", octets, charset, s)
		}
		for _, isHTML := range []bool{true, false} {
			if p := Preview(s, isHTML); utf8.RuneCountInString(p) > maxPreview || !utf8.ValidString(p) {
				t.Errorf("preview of %q: %q", s, p)
			}
		}
	}
	if !problem && (startProblem || !strings.HasPrefix(value, start)) {
		t.Errorf("%q in %s: text %q, but the first %d octets %q, a problem: %v", octets, charset, value, cut, start, startProblem)
	}
	if !bytes.Equal(octets, before) {
		t.Errorf("%q in %s: the octets were changed to %q", before, charset, octets)
	}
}

// checkDecoder decodes octets whole and in pieces, which must give the same.
func checkDecoder(t *testing.T, octets []byte, charset string, in int) {
	t.Helper()
	e := lookUpCharset(charset)
	if e == nil {
		return
	}
	whole, _ := decodeBytes(e, octets, true)
	for _, out := range []int{64, 4096} {
		got, err := decodePieces(e, octets, in, out)
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%q in %s, in pieces of %d to %d: got %q, %v, want %q", octets, charset, in, out, got, err, whole)
		}
	}
	streamed, err := io.ReadAll(transform.NewReader(iotest.OneByteReader(bytes.NewReader(octets)), e.NewDecoder()))
	if err != nil || !bytes.Equal(streamed, whole) {
		t.Errorf("%q in %s, an octet at a time: got %q, %v, want %q", octets, charset, streamed, err, whole)
	}
}
