package extract

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTransferEncodings(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct{ name, encoding, body, want, codes string }{
		{"base64", "base64", "aGVsbG8gd29ybGQ=\r\n", "hello world", ""},
		{"base64, LF, lines of any length", "base64", "aGVs\nbG8g\nd29ybGQ=", "hello world", ""},
		{"base64 with blanks", "base64", " aGVs\tbG8g d29ybGQ= \r\n", "hello world", ""},
		{"base64 bare CR", "base64", "aGVs\rbG8=\r\r\n", "hello", ""},
		{"base64 with garbage", "base64", "aG!Vs*bG8-gd29ybGQ=", "hello world", "1:base64-garbage"},
		{"base64 with 8-bit garbage", "base64", "aG\x80Vs\x00bG8=", "hello", "1:base64-garbage"},
		{"base64 without padding", "base64", "aGVsbG8gd29ybGQ\r\n", "hello world", "1:base64-truncated"},
		{"base64 with half its padding", "base64", "aA=\r\n", "h", "1:base64-truncated"},
		{"base64 with too much padding", "base64", "aA====", "h", "1:base64-garbage"},
		{"base64 padding across lines", "base64", "aA=\r\n=\r\n", "h", ""},
		{"base64 with one octet over", "base64", "aGVsb", "hel", "1:base64-truncated"},
		{"base64 padding alone", "base64", "====", "", "1:base64-garbage"},
		{"base64 padding after one octet", "base64", "a===Gk=", "hi", "1:base64-garbage"},
		{"base64 data after padding", "base64", "aA==aQ==\r\naGk=", "hihi", "1:base64-after-padding"},
		{"base64 data after padding in one block", "base64", strings.Repeat("aGVs", 20) + "aA==" + strings.Repeat("aGVs", 20), strings.Repeat("hel", 20) + "h" + strings.Repeat("hel", 20), "1:base64-after-padding"},
		{"base64 garbage, then a footer", "base64", "aGk=\r\n____\r\n", "hi", "1:base64-garbage"},
		{"base64 empty", "base64", "", "", ""},
		{"encoding in capitals, blanks", "  BASE64  ", "aGk=", "hi", ""},
		{"encoding in quotes", "\"base64\"", "aGk=", "hi", "1:encoding-syntax"},
		{"encoding with a semicolon", "base64;", "aGk=", "hi", "1:encoding-syntax"},
		{"encoding with a comment", "base64 (by hand)", "aGk=", "hi", ""},
		{"encoding with a parameter", "quoted-printable; charset=utf-8", "a=3Db", "a=b", "1:encoding-syntax"},
		{"7bit with a semicolon", "7bit;", "a=3D", "a=3D", "1:encoding-syntax"},
		{"unknown encoding", "utf-8", "a=3D", "a=3D", "1:unknown-encoding"},
		{"quoted-printable", "quoted-printable", "a=3Db =E2=82=AC\r\n", "a=b €\r\n", ""},
		{"quoted-printable lower case", "quoted-printable", "=e2=82=ac", "€", ""},
		{"quoted-printable soft breaks", "quoted-printable", "a=\r\nb=\nc= \t\r\nd=", "abcd", ""},
		{"quoted-printable trailing blanks", "quoted-printable", "a \t\r\nb  \nc  ", "a\r\nb\nc", ""},
		{"quoted-printable blanks kept", "quoted-printable", " a  b\t=20\r\nc =\r\n d \rx", " a  b\t \r\nc  d \rx", ""},
		{"quoted-printable bad escapes", "quoted-printable", "=ZZ a=b =4 == =\rx =  y", "=ZZ a=b =4 == =\rx =  y", "1:quoted-printable"},
		{"quoted-printable escape cut off", "quoted-printable", "x=4", "x=4", "1:quoted-printable"},
		{"quoted-printable long line", "quoted-printable", long + "=3D" + long, long + "=" + long, ""},
		{"quoted-printable control octets", "quoted-printable", "a\x00b\x01\xff", "a\x00b\x01\xff", ""},
		{"quoted-printable many blanks", "quoted-printable", "a" + strings.Repeat(" ", 300) + "b" + strings.Repeat(" ", 300) + "\r\nc",
			"a" + strings.Repeat(" ", 300) + "b" + strings.Repeat(" ", maxBlanks) + "\r\nc", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, lines("Content-Transfer-Encoding: "+tt.encoding, "", tt.body), Limits{})
			if got.Parts[0] != tt.want || got.codes() != tt.codes {
				t.Errorf("decoding %.200q: got %q [%s], want %q [%s]", tt.body, got.Parts[0], got.codes(), tt.want, tt.codes)
			}
			small := readSmall(t, lines("Content-Transfer-Encoding: "+tt.encoding, "", tt.body))
			if small != tt.want {
				t.Errorf("decoding %.200q into a buffer of 1: got %q, want %q", tt.body, small, tt.want)
			}
		})
	}
}

// readSmall reads the first part of a message into a buffer of one octet.
func readSmall(t *testing.T, message string) string {
	t.Helper()
	r := NewReader(strings.NewReader(message), Limits{})
	defer r.Close()
	p, err := r.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	octets, err := io.ReadAll(iotest.OneByteReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// wrapped is base64 in lines as mail has it.
func wrapped(octets []byte) []byte {
	s := base64.StdEncoding.EncodeToString(octets)
	var b bytes.Buffer
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	b.WriteString(s + "\r\n")
	return b.Bytes()
}

func randomOctets(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestBase64Lengths reads attachments around the sizes of the window and of reads.
func TestBase64Lengths(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 47, 48, 49, windowSize/4*3 - 1, windowSize / 4 * 3, windowSize, 200000} {
		want := randomOctets(n)
		message := mixed("--x", "Content-Transfer-Encoding: base64", "", string(wrapped(want))+"--x--")
		for _, size := range []int{1, 7, 512, 32 << 10, 256 << 10} {
			r := NewReader(strings.NewReader(message), Limits{})
			p, err := r.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			_, err = io.CopyBuffer(&got, readerOnly{p.Body}, make([]byte, size))
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d octets read by %d: got %d octets, %v", n, size, got.Len(), err)
			}
			if p := r.Problems(); len(p) > 0 {
				t.Errorf("%d octets: %v", n, p)
			}
			r.Close()
		}
	}
}

// TestBodyWriteTo compares io.Copy with reading.
func TestBodyWriteTo(t *testing.T) {
	for _, encoding := range []string{"binary", "base64", "quoted-printable"} {
		body := string(wrapped(randomOctets(150000)))
		message := mixed("--x", "Content-Transfer-Encoding: "+encoding, "", body, "--x--")
		want := mustRead(t, message, Limits{}).Parts[0]
		r := NewReader(strings.NewReader(message), Limits{})
		p, err := r.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if n, err := io.Copy(&got, p.Body); err != nil || n != int64(len(want)) || got.String() != want {
			t.Errorf("%s: copied %d octets, %v, want %d", encoding, n, err, len(want))
		}
		r.Close()
	}
}
