package extract

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

// decodeAll decodes in pieces of the given sizes of input and output, and
// checks what body relies on: what is left undecoded stays small.
func decodeAll(t *testing.T, decode func(dst, src []byte, final bool) (int, int), feed func(dst, src []byte) int, encoded []byte, in, out int) []byte {
	t.Helper()
	var got, pending []byte
	dst := make([]byte, out)
	for final := false; ; {
		n, used := decode(dst, pending, final)
		if n < 0 || n > len(dst) || used < 0 || used > len(pending) {
			t.Fatalf("%q: wrote %d of %d octets, used %d of %d", encoded, n, len(dst), used, len(pending))
		}
		got, pending = append(got, dst[:n]...), pending[used:]
		if n > 0 {
			continue
		}
		if len(pending) > maxCarried || final && len(pending) > 0 {
			t.Fatalf("%q: %d octets are left undecoded, at the end: %v", encoded, len(pending), final)
		}
		if final {
			return got
		}
		if final = len(encoded) == 0; !final {
			k := min(in, len(encoded))
			room := make([]byte, len(pending)+k)
			kept := copy(room, pending)
			pending = room[:kept+feed(room[kept:], encoded[:k])]
			encoded = encoded[k:]
		}
	}
}

func copyFeed(dst, src []byte) int { return copy(dst, src) }

// checkBody reads encoded as the body of a message in ways that must give what
// the decoder gave: from a source of single octets, into a buffer of a single
// octet, and by WriteTo.
func checkBody(t *testing.T, encoding string, encoded, want []byte) {
	t.Helper()
	message := "Content-Transfer-Encoding: " + encoding + "\r\n\r\n" + string(encoded)
	for _, way := range []struct {
		name      string
		src, body func(io.Reader) io.Reader
	}{
		{"octet by octet", iotest.OneByteReader, asItIs},
		{"octet by octet by WriteTo", iotest.OneByteReader, nil},
		{"at once, into a small buffer", asItIs, iotest.OneByteReader},
		{"octet by octet, likewise", iotest.OneByteReader, iotest.OneByteReader},
		{"at once, by WriteTo", asItIs, nil},
		{"at once, into a buffer that fits", asItIs, asItIs},
	} {
		src := &counter{src: way.src(strings.NewReader(message))}
		r := NewReader(src, Limits{})
		p, err := r.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if way.body == nil {
			_, err = p.Body.(io.WriterTo).WriteTo(&got)
		} else {
			_, err = got.ReadFrom(way.body(p.Body))
		}
		if err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s of %q %s: got %q, %v, want %q", encoding, encoded, way.name, got.Bytes(), err, want)
		}
		if most := src.mostWork(); r.work > most {
			t.Errorf("%s of %q %s: %d octets searched or moved, want at most %d", encoding, encoded, way.name, r.work, most)
		}
		r.Close()
	}
}

// plainBase64 decodes an octet at a time what base64Decoder decodes by blocks.
func plainBase64(encoded []byte) []byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	decoded := []byte{}
	var bits, count int // of the group that is not complete
	end := func() {
		for ; count >= 8; count -= 8 {
			decoded = append(decoded, byte(bits>>(count-8)))
		}
		bits, count = 0, 0
	}
	for _, c := range encoded {
		value := strings.IndexByte(alphabet, c)
		switch {
		case value >= 0:
			bits, count = bits<<6|value, count+6
			if count == 24 {
				end()
			}
		case c == '=' && count >= 12:
			end()
		}
	}
	end()
	return decoded
}

func FuzzBase64(f *testing.F) {
	f.Add([]byte("aGVsbG8gd29ybGQ=\r\n"), byte(3), byte(9))
	f.Add([]byte("aA==aA=!=aGVs"), byte(1), byte(8))
	f.Add([]byte("aGVsbG8gd29ybGQhaGVsbG8gd29ybGQhaGVsbG8gd29y=GQhaGVsbG8gd29ybGQhaGVsbG8gd29ybGQh\r=\n=A==\x00=aA"), byte(255), byte(30))
	f.Add(bytes.Repeat([]byte("aGVsbG8gd29ybGQh\r\n"), 20), byte(200), byte(100))
	f.Fuzz(func(t *testing.T, encoded []byte, in, out byte) {
		var whole, pieces base64Decoder
		want := decodeAll(t, whole.decode, compactLines, encoded, len(encoded)+1, len(encoded)+8)
		got := decodeAll(t, pieces.decode, compactLines, encoded, int(in)+1, int(out)+8)
		if !bytes.Equal(got, want) {
			t.Errorf("%q in pieces of %d to %d: got %q, want %q", encoded, in, out, got, want)
		}
		if whole.garbage != pieces.garbage || whole.resumed != pieces.resumed || whole.truncated != pieces.truncated {
			t.Errorf("%q in pieces of %d to %d: flags %+v, want %+v", encoded, in, out, pieces, whole)
		}
		if plain := plainBase64(encoded); !bytes.Equal(plain, want) {
			t.Errorf("%q: got %q, octet by octet %q", encoded, want, plain)
		}
		if most := (len(encoded)*3 + 3) / 4; len(want) > most {
			t.Errorf("%q: got %d octets, want at most %d", encoded, len(want), most)
		}
		if strict, err := base64.StdEncoding.DecodeString(string(encoded)); err == nil && (!bytes.Equal(strict, want) || whole.garbage || whole.resumed || whole.truncated) {
			t.Errorf("%q: got %q %+v, want %q", encoded, want, whole, strict)
		}
		checkBody(t, "base64", encoded, want)
	})
}

// plainQuoted decodes with all of the data at hand what quotedDecoder decodes
// by pieces. It knows no maxBlanks.
func plainQuoted(s []byte) (decoded []byte, invalid bool) {
	// After is where the line end behind the blanks at i ends; ok says that there is one, or the end of s.
	after := func(i int) (blanks, after int, ok bool) {
		for i < len(s) && isBlank(s[i]) {
			i++
		}
		rest := string(s[i:])
		for _, end := range []string{"\r\n", "\n"} {
			if strings.HasPrefix(rest, end) {
				return i, i + len(end), true
			}
		}
		return i, len(s), rest == "" || rest == "\r"
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '=' && i+2 < len(s) && hexValue(s[i+1]) < 16 && hexValue(s[i+2]) < 16:
			decoded = append(decoded, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 3
		case c == '=':
			if _, end, ok := after(i + 1); ok {
				i = end
				continue
			}
			invalid = true
			decoded = append(decoded, c)
			i++
		case isBlank(c):
			blanks, _, ok := after(i)
			if !ok {
				decoded = append(decoded, s[i:blanks]...)
			}
			i = blanks
		default:
			decoded = append(decoded, c)
			i++
		}
	}
	return decoded, invalid
}

// hasManyBlanks reports a run of blanks that is content by its length alone.
func hasManyBlanks(s []byte) bool {
	run := 0
	for _, c := range s {
		if run++; !isBlank(c) {
			run = 0
		}
		if run >= maxBlanks {
			return true
		}
	}
	return false
}

func FuzzQuotedPrintable(f *testing.F) {
	f.Add([]byte("a=3Db =\r\n c  \r\n=e2=82=AC=\n= \r\n=x"), byte(3), byte(9))
	f.Add([]byte("= \t\r =4\x00=\r"), byte(0), byte(0))
	f.Add(append(append([]byte("= "), bytes.Repeat([]byte(" \t"), maxBlanks)...), "=\r\n =20"...), byte(3), byte(9))
	f.Fuzz(func(t *testing.T, encoded []byte, in, out byte) {
		var whole, pieces quotedDecoder
		want := decodeAll(t, whole.decode, copyFeed, encoded, len(encoded)+1, len(encoded)+8)
		got := decodeAll(t, pieces.decode, copyFeed, encoded, int(in)+1, int(out)+8)
		if !bytes.Equal(got, want) || whole.invalid != pieces.invalid {
			t.Errorf("%q in pieces of %d to %d: got %q %v, want %q %v", encoded, in, out, got, pieces.invalid, want, whole.invalid)
		}
		if len(want) > len(encoded) {
			t.Errorf("%q: got %d octets of %d", encoded, len(want), len(encoded))
		}
		if plain, invalid := plainQuoted(encoded); !hasManyBlanks(encoded) && (!bytes.Equal(plain, want) || invalid != whole.invalid) {
			t.Errorf("%q: got %q %v, with all at hand %q %v", encoded, want, whole.invalid, plain, invalid)
		}
		strict, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(encoded)))
		usual := bytes.IndexFunc(encoded, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f }) < 0
		if err == nil && usual && !whole.invalid && len(encoded) < maxBlanks && !bytes.Equal(strict, want) {
			t.Errorf("%q: got %q, the standard library %q", encoded, want, strict)
		}
		checkBody(t, "quoted-printable", encoded, want)
	})
}
