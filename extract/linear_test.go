package extract

import (
	"io"
	"strings"
	"testing"

	"lsmtpd/schema"
)

// repeated is a source of head, count times unit, tail, made while it is read.
type repeated struct {
	head, unit, tail string
	count            int
	pos, unitPos     int
}

// Read implements io.Reader.
func (s *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		var part *string
		switch {
		case s.head != "":
			part = &s.head
		case s.pos < s.count:
			k := copy(p[n:], s.unit[s.unitPos:])
			n += k
			if s.unitPos += k; s.unitPos == len(s.unit) {
				s.unitPos = 0
				s.pos++
			}
			continue
		case s.tail != "":
			part = &s.tail
		default:
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}
		k := copy(p[n:], *part)
		n += k
		*part = (*part)[k:]
	}
	return n, nil
}

// TestHostile reads messages made to cost more than their octets.
func TestHostile(t *testing.T) {
	nested := func(depth int) string {
		var b strings.Builder
		for i := range depth {
			id := strings.Repeat("b", 1+i%7) + string(rune('a'+i%26)) + strings.Repeat("c", i/26%100) + strings.Repeat("d", i/2600)
			b.WriteString("Content-Type: multipart/mixed; boundary=" + id + "\r\n\r\n--" + id + "\r\n")
		}
		return b.String()
	}
	many := strings.Repeat
	tests := []struct {
		name   string
		src    func() io.Reader
		limits Limits
		parts  int
	}{
		{"5,000 levels, all opened", text(nested(5000)), Limits{MaxDepth: 6000, MaxHeaderBytes: 1 << 24}, 1},
		{"5,000 levels", text(nested(5000)), Limits{}, 1},
		{"100,000 parts, all read", repeated{head: mixed(""), unit: "--x\r\n\r\n\r\n", count: 100000}.reader, Limits{MaxParts: 200000}, 100000},
		{"100,000 parts", repeated{head: mixed(""), unit: "--x\r\n\r\n\r\n", count: 100000}.reader, Limits{}, 1000},
		{"near misses", repeated{head: mixed("--x", "", ""), unit: "--x-\n--xx\n--\n-\n--x--x\n", count: 1000000}.reader, Limits{}, 1},
		{"near misses without line ends", repeated{head: mixed("--x", "", ""), unit: "\n--" + many("x", 5000), count: 5000}.reader, Limits{}, 1},
		{"50 MB of header", repeated{unit: "X: y\r\n", count: 50 << 20 / 6}.reader, Limits{}, 1},
		{"50 MB of one header field", repeated{head: "X: ", unit: "yyyyyyyy", count: 50 << 20 / 8}.reader, Limits{}, 1},
		{"50 MB of part header", repeated{head: mixed("--x", ""), unit: "X: y\r\n", count: 50 << 20 / 6}.reader, Limits{}, 1},
		{"lines that are no fields", repeated{unit: "x\r\n", count: 300000, tail: "A: b\r\n\r\n"}.reader, Limits{}, 1},
		{"multiparts without boundary", repeated{head: mixed(""), unit: "--x\r\nContent-Type: multipart/mixed\r\n\r\n--g\r\n", count: 20000}.reader, Limits{MaxParts: 30000}, 20000},
		{"comments", text("To: " + many("(", 500000) + "\r\nContent-Type: " + many("(", 500000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"escaped quotes", text("To: " + many(`"\`, 300000) + "\r\nContent-Type: a/b;" + many(`name="\`, 100000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"quoted strings", text("To: " + many(`"" `, 200000) + "\r\nContent-Type: a/b;name=" + many(`"" `, 200000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"colons after an address", text("To: a@b" + many(":", 500000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"words not closed", text("Subject: " + many("=?a?q?", 150000) + "?=\r\nTo: " + many("=?a?q?", 150000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"parameters", text("Content-Type: a/b" + many(";name=a", 100000) + many(";name*1=a", 100000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"comments not closed", text("Content-Type: a/b" + many(";(a)name=(", 100000) + "\r\nContent-Disposition: a" + many(";name=\"\"(", 100000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"blanks in a parameter", text("Content-Type: a/b; name=a" + many(" b", 500000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"addresses without commas", text("To: " + many("<a> b@c ", 100000) + "\r\nCc: " + many("a@b ", 200000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"charsets", text("Subject: " + many("=?a?q?b?= =?c?q?d?= ", 50000) + "\r\nTo: " + many("=?iso-2022-jp?q?b?= =?gb18030?q?d?= ", 30000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"brackets", text("References: " + many("<", 300000) + "\r\nTo: " + many("<", 300000) + "\r\nCc: " + many("a<b>", 100000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
		{"folded lines", text("Subject: " + many("\r\n x", 250000) + "\r\nDate: " + many("\r\n ", 10000) + "\r\n\r\n"), Limits{MaxHeaderBytes: 1 << 22}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, src := range map[string]func(io.Reader) io.Reader{"large": asItIs, "small": thousands} {
				message := tt.src()
				src := &counter{src: src(message)}
				parts, work, err := countParts(src, tt.limits)
				if err != nil || parts != tt.parts {
					t.Errorf("%s reads: got %d parts, %v, want %d", name, parts, err, tt.parts)
				}
				if most := 8*src.octets + 4*windowSize; work > most {
					t.Errorf("%s reads: %d octets searched or moved of %d, want at most %d", name, work, src.octets, most)
				}
			}
		})
	}
}

func text(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }

func (s repeated) reader() io.Reader { return &s }

func asItIs(r io.Reader) io.Reader { return r }

// thousands reads a thousand octets at a time.
func thousands(r io.Reader) io.Reader { return thousandReader{r} }

type thousandReader struct{ r io.Reader }

func (t thousandReader) Read(p []byte) (int, error) { return t.r.Read(p[:min(len(p), 1000)]) }

// counter counts the octets of a source and how many reads they took.
type counter struct {
	src           io.Reader
	octets, reads int64
}

// mostWork bounds the octets searched or moved for what was read: in proportion
// to it, and a line that is not known to its end once a read.
func (c *counter) mostWork() int64 { return 8*c.octets + 4*windowSize + maxHeaderLine*c.reads }

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.octets += int64(n)
	c.reads++
	return n, err
}

func countParts(src io.Reader, l Limits) (parts int, work int64, err error) {
	r := NewReader(src, l)
	defer r.Close()
	h, err := r.Header()
	if err != nil {
		return 0, 0, err
	}
	var e schema.Email
	h.Describe(&e)
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return parts, r.work, nil
		}
		if err != nil {
			return parts, r.work, err
		}
		parts++
		if _, err := io.Copy(io.Discard, p.Body); err != nil {
			return parts, r.work, err
		}
	}
}
