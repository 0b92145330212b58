package extract

import (
	"bytes"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// composer makes a message of a few octets, each of which is a piece of
// structure: so that a fuzzer that knows nothing of MIME finds structures.
type composer struct {
	script []byte
	out    bytes.Buffer
	open   []string // boundaries of the multiparts that are open, as the composer means them
	large  int      // large pieces that may still come
}

// boundaries resemble each other and dashes in every way.
var boundaries = []string{"x", "xx", "x-", "x--", "-x", "--", "-", "y", "y\tz", "X", "=_y", "b\"q", "ä", strings.Repeat("x", 70), strings.Repeat("x", maxBoundary), strings.Repeat("x", maxBoundary+1)}

var lineEnds = []string{"\r\n", "\n", "\r\n", "\r", "\r\r\n", " \t\r\n", ""}

// largeOctets are around the sizes at which the reader looks ahead, moves its window, or gives a line up.
var largeOctets = []int{maxFieldName, maxDelimiterLine, headerPeek, maxHeaderLine, peekSize, windowSize - peekSize, windowSize}

// next is the next octet of the script, below limit.
func (c *composer) next(limit int) int {
	if len(c.script) == 0 {
		return 0
	}
	n := int(c.script[0]) % limit
	c.script = c.script[1:]
	return n
}

func (c *composer) write(s ...string) {
	for _, s := range s {
		c.out.WriteString(s)
	}
}

func (c *composer) lineEnd() { c.write(lineEnds[c.next(len(lineEnds))]) }

// boundary is one that is open, more often the inner ones, or any.
func (c *composer) boundary() string {
	if n := c.next(8); n < len(c.open) {
		return c.open[len(c.open)-1-n]
	}
	return boundaries[c.next(len(boundaries))]
}

// multipart writes the field that announces one, by default "Content-Type: multipart/mixed; boundary=x".
func (c *composer) multipart() {
	b := boundaries[c.next(len(boundaries))]
	parameter := "; boundary=" + b
	switch c.next(8) {
	case 1, 2:
		parameter = ";\r\n\tboundary=\"" + strings.ReplaceAll(b, `"`, `\"`) + `"`
	case 3:
		parameter = "; boundary*0=" + b[:len(b)/2] + "; boundary*1=" + b[len(b)/2:]
	case 4:
		parameter, b = "", "g"
	case 5:
		parameter = " boundary=" + b + "; boundary=other"
	case 6:
		parameter = "; boundary=\"" + b + "  \""
	}
	c.write("Content-Type: multipart/", []string{"mixed", "digest", "alternative", "related"}[c.next(4)], parameter)
	c.lineEnd()
	if len(b) <= maxBoundary {
		c.open = append(c.open, b)
	}
}

// fill writes about as many octets as something is bounded by, in one line or many.
func (c *composer) fill() {
	if c.large == 0 {
		return
	}
	c.large--
	n := largeOctets[c.next(len(largeOctets))] - c.next(16)
	line := []string{"x", "-", " ", "a: b\r\n", "--x-\n", "\n", "\r\n--"}[c.next(7)]
	c.write(strings.Repeat(line, n/len(line)+1)[:n])
}

// piece writes the next piece of structure.
func (c *composer) piece() {
	switch c.next(20) {
	case 0, 1, 2:
		c.write("\r\n--", c.boundary())
		c.lineEnd()
	case 3:
		c.write("--", c.boundary(), "--")
		c.lineEnd()
		if len(c.open) > 0 && c.next(2) == 0 {
			c.open = c.open[:len(c.open)-1]
		}
	case 4, 5:
		c.multipart()
		c.lineEnd()
		if c.next(4) != 3 && len(c.open) > 0 {
			c.write("--", c.open[len(c.open)-1])
			c.lineEnd()
		}
	case 6:
		c.write("\n--", c.boundary(), []string{"x", "-", "-- x", " x", "---", "\x00", "\v", "--\r"}[c.next(8)])
		c.lineEnd()
	case 7:
		b := c.boundary()
		c.write("--", b[:c.next(len(b)+1)])
		c.lineEnd()
	case 8:
		c.write("Content-Transfer-Encoding: ", []string{"base64", "quoted-printable", "7bit", "x"}[c.next(4)])
		c.lineEnd()
	case 9, 10:
		c.lineEnd()
	case 11:
		c.write([]string{"A: b", "no field", " folded", "From x", ": c", "ä: b", "a b: c", "\x00: d", "Content-Type: text/html", "Content-Type: message/rfc822"}[c.next(10)])
		c.lineEnd()
	case 12:
		c.write([]string{"aGVsbG8=", "=3D =\r\n", "text", "-", "--", "=\r\n--", "\r", "\n"}[c.next(8)])
	case 13:
		c.write(string([]byte{byte(c.next(256))}))
	case 14:
		c.fill()
	case 15:
		n := c.next(32)
		n = min(n, len(c.script))
		c.write(string(c.script[:n]))
		c.script = c.script[n:]
	default:
		c.write("a")
		c.lineEnd()
	}
}

// compose makes a message of a script.
func compose(script []byte) string {
	c := composer{script: script, large: 2}
	if c.next(8) > 1 {
		c.write("MIME-Version: 1.0\r\n")
		c.multipart()
		c.write("\r\n")
	}
	const most = 192 << 10 // octets
	for len(c.script) > 0 && c.out.Len() < most {
		c.piece()
	}
	return c.out.String()
}

// steps reads as many octets at a time as it is told, in turn.
type steps struct {
	src   io.Reader
	sizes []byte
	turn  int
}

// Read implements io.Reader.
func (s *steps) Read(p []byte) (int, error) {
	n := int(s.sizes[s.turn%len(s.sizes)])
	if n++; n > 200 {
		n *= n // up to the size of the window
	}
	s.turn++
	return s.src.Read(p[:min(n, len(p))])
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint16(0), uint16(0), uint16(0))
	for i := range byte(40) {
		script := []byte{2 + i%6}
		for k := range 12 + i {
			script = append(script, i*k*7+k*k*3+i)
		}
		f.Add(script, []byte{i * 3, 255 - i}, uint16(i%5), uint16(i%7), uint16(i)*31)
	}
	f.Fuzz(func(t *testing.T, script, sizes []byte, parts, depth, header uint16) {
		message := compose(script)
		l := Limits{MaxParts: int(parts), MaxDepth: int(depth), MaxHeaderBytes: int64(header)}
		var got reading
		if len(message) < 16<<10 {
			got = mustRead(t, message, l)
		} else {
			var err error
			if got, err = read(strings.NewReader(message), l); err != nil {
				t.Fatal(err)
			}
			checkReading(t, message, got, l.withDefaults())
		}
		if len(sizes) > 0 {
			other, err := read(&steps{src: strings.NewReader(message), sizes: sizes}, l)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, other) {
				d := cmp.Diff(got, other)
				t.Errorf("reading %.500q by %v differs (-at once +by these):\n%s", message, sizes, d)
			}
		}
		checkDelimiters(t, message, got)
		checkSkipped(t, message, l, got)
	})
}

// checkDelimiters checks that what is read as a delimiter is one: a line that begins with two dashes.
func checkDelimiters(t *testing.T, message string, got reading) {
	t.Helper()
	tooMany := slices.ContainsFunc(strings.Fields(got.codes()), func(code string) bool { return strings.HasSuffix(code, ":"+CodeTooManyParts) })
	for _, s := range got.Spans {
		if s.Kind != SpanDelimiter {
			continue
		}
		raw := message[s.Start:s.End]
		line := strings.TrimPrefix(strings.TrimPrefix(raw, "\r"), "\n")
		if tooMany && line == "" {
			continue // the line end before a delimiter that divides nothing more
		}
		if !strings.HasPrefix(line, "--") || strings.Contains(strings.TrimSuffix(line, "\n"), "\n") {
			t.Errorf("%.500q: %q is no delimiter line", message, raw)
		}
		if s.Start > 0 && raw == line && message[s.Start-1] != '\n' {
			t.Errorf("%.500q: the delimiter %q begins no line", message, raw)
		}
	}
}

// checkSkipped reads the message without reading every body: the structure must be the same.
func checkSkipped(t *testing.T, message string, l Limits, got reading) {
	t.Helper()
	r := NewReader(strings.NewReader(message), l)
	defer r.Close()
	for i := 0; ; i++ {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 1 { // some of it
			octets := make([]byte, len(got.Parts[i])/2)
			if _, err := io.ReadFull(p.Body, octets); err != nil || string(octets) != got.Parts[i][:len(octets)] {
				t.Errorf("%.500q: half of part %s is %.200q, %v", message, got.IDs[i], octets, err)
			}
		}
		p.Size = int64(len(got.Parts[i]))
	}
	if d := cmp.Diff(got.Structure, r.Structure()); d != "" {
		t.Errorf("%.500q: the structure depends on what is read (-all +some):\n%s", message, d)
	}
}
