package extract

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var errSource = errors.New("connection reset")

const small = "Received: x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\npre\r\n--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n" +
	"--y\r\n\r\none\r\n--y\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--y--\r\n\r\n--x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nthree =\r\nx\r\n--x--\r\nend\r\n"

// large is small behind a header and a part longer than what is looked ahead,
// so that the source fails inside the parts and not before them.
var large = "X: " + strings.Repeat("x", headerPeek) + "\r\nContent-Type: multipart/mixed; boundary=z\r\n\r\n--z\r\n\r\n" +
	strings.Repeat("long\r\n", peekSize/5) + "--z\r\n\r\none\r\n--z\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n" +
	"--z\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nthree =\r\nx\r\n--z\r\nno field\r\n\r\n" +
	"--z\r\nContent-Type: multipart/mixed\r\n\r\n--y\r\n\r\na\r\n--y--\r\n" +
	"--z\r\n" + small + "\r\n--z--\r\nend\r\n"

// failures returns the messages above, each with where from on it is to be cut.
func failures() map[string]int {
	return map[string]int{small: 0, large: strings.Index(large, "one") - 20}
}

// TestSourceError lets the source fail behind every octet of a message: the
// error must come out, from everything, and no part must look complete that is not.
func TestSourceError(t *testing.T) {
	for message, from := range failures() {
		want, err := read(strings.NewReader(message), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for n := from; n <= len(message); n++ {
			for _, failure := range []error{errSource, io.ErrUnexpectedEOF} {
				src := io.MultiReader(strings.NewReader(message[:n]), iotest.ErrReader(failure))
				if n%5 == 0 {
					src = iotest.OneByteReader(src)
				}
				got, err := read(src, Limits{})
				if err != failure {
					t.Fatalf("source fails after %q: got %v, want %v", message[from:n], err, failure)
				}
				for i := range got.IDs {
					if got.Parts[i] != want.Parts[i] || got.IDs[i] != want.IDs[i] {
						t.Errorf("source fails after %q: part %s is complete with %.100q, want %.100q", message[from:n], got.IDs[i], got.Parts[i], want.Parts[i])
					}
				}
			}
		}
	}
}

func TestSourceErrorIsSticky(t *testing.T) {
	for message, from := range failures() {
		for n := from; n <= len(message); n++ {
			r := NewReader(io.MultiReader(strings.NewReader(message[:n]), iotest.ErrReader(errSource)), Limits{})
			var p *Part
			var err error
			for err == nil {
				if p, err = r.NextPart(); err == nil && n%2 == 0 {
					_, err = io.Copy(io.Discard, p.Body)
				}
				if err != nil && p != nil {
					if _, again := p.Body.Read(make([]byte, 10)); again != errSource {
						t.Errorf("after %q Body.Read: got %v again, want %v", message[from:n], again, errSource)
					}
				}
			}
			for range 3 {
				if _, err = r.NextPart(); err != errSource {
					t.Errorf("after %q NextPart: got %v, want %v", message[from:n], err, errSource)
				}
				if _, err := r.Header(); err != nil && err != errSource {
					t.Errorf("after %q Header: got %v, want %v", message[from:n], err, errSource)
				}
			}
			r.Close()
		}
	}
}

func TestMisuse(t *testing.T) {
	r := NewReader(strings.NewReader(mixed("--x", "", "one", "--x", "", "two", "--x--")), Limits{})
	one, err := r.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.NextPart(); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Body.Read(make([]byte, 1)); err != errStale {
		t.Errorf("reading the body of a part before: got %v, want %v", err, errStale)
	}
	for range 2 {
		if _, err := r.NextPart(); err != io.EOF {
			t.Errorf("NextPart after the last: got %v, want io.EOF", err)
		}
	}
	r.Close()
	r.Close()
	if _, err := r.NextPart(); err != errClosed {
		t.Errorf("NextPart after Close: got %v, want %v", err, errClosed)
	}
	if _, err := r.Header(); err != errClosed {
		t.Errorf("Header after Close: got %v, want %v", err, errClosed)
	}
}

// noReader reads nothing for ever; badReader lies.
type noReader struct{}

func (noReader) Read([]byte) (int, error) { return 0, nil }

type badReader struct{}

func (badReader) Read(p []byte) (int, error) { return len(p) + 1, nil }

func TestBadSource(t *testing.T) {
	if _, err := NewReader(noReader{}, Limits{}).Header(); err != io.ErrNoProgress {
		t.Errorf("source without octets or error: got %v, want %v", err, io.ErrNoProgress)
	}
	if _, err := NewReader(badReader{}, Limits{}).Header(); err != errNegativeRead {
		t.Errorf("source with an impossible count: got %v, want %v", err, errNegativeRead)
	}
}
