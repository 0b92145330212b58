package extract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

// reading is all a Reader says of a message.
type reading struct {
	Raw       string           `json:"raw"`
	Rest      string           `json:"rest"`
	Exact     bool             `json:"exact"`
	Parts     []string         `json:"parts"` // the octets of each leaf
	IDs       []string         `json:"ids"`
	Structure *schema.BodyPart `json:"structure"`
	Email     schema.Email     `json:"email"`
	Problems  []schema.Problem `json:"problems"`
	Spans     []Span           `json:"spans"`

	Texts        map[string]schema.BodyValue `json:"texts"`
	TextProblems []schema.Problem            `json:"textProblems"`
}

// read reads a message to its end, or to the first error.
func read(src io.Reader, l Limits) (got reading, err error) {
	return readBodies(src, l, asItIs)
}

// readBodies is read, with what body makes of the bodies and of Header.Rest.
func readBodies(src io.Reader, l Limits, body func(io.Reader) io.Reader) (got reading, err error) {
	counted := &counter{src: src}
	r := NewReader(counted, l)
	defer r.Close()
	var parts []*Part
	reads := int64(0) // by those who read bodies
	readAll := func(from io.Reader) (string, error) {
		c := &counter{src: body(from)}
		octets, err := io.ReadAll(c)
		reads += c.reads
		return string(octets), err
	}
	defer func() {
		if most := counted.mostWork() + windowSize*reads; r.work > most && err == nil {
			err = fmt.Errorf("%d octets searched or moved of %d in %d reads, want at most %d", r.work, counted.octets, counted.reads+reads, most)
		}
	}()
	r.Trace(func(s Span) { got.Spans = append(got.Spans, s) })
	h, err := r.Header()
	if err != nil {
		return got, err
	}
	got.Raw, got.Exact = string(h.Raw), h.Exact
	if h.Rest != nil {
		if got.Rest, err = readAll(h.Rest); err != nil {
			return got, err
		}
	}
	got.Problems = h.Describe(&got.Email)
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return got, err
		}
		octets, err := readAll(p.Body)
		got.Parts = append(got.Parts, octets)
		if err != nil {
			return got, err
		}
		p.Size = int64(len(octets))
		got.IDs = append(got.IDs, *p.PartID)
		parts = append(parts, p)
	}
	got.Structure = r.Structure()
	before := len(r.Problems())
	got.Problems = append(got.Problems, r.Problems()...)
	got.Texts = map[string]schema.BodyValue{}
	for i, p := range parts {
		if strings.HasPrefix(p.Type, "text/") {
			got.Texts[*p.PartID] = p.Text([]byte(got.Parts[i]), true)
		}
	}
	got.TextProblems = r.Problems()[before:]
	return got, nil
}

// mustRead reads a message in several ways that must not differ, and checks what holds of every message.
func mustRead(t *testing.T, message string, l Limits) reading {
	t.Helper()
	got, err := read(strings.NewReader(message), l)
	if err != nil {
		t.Fatalf("reading %.200q: %v", message, err)
	}
	for _, way := range []struct {
		name      string
		src, body func(io.Reader) io.Reader
	}{
		{"one octet at a time", iotest.OneByteReader, asItIs},
		{"one octet at a time into buffers of one", iotest.OneByteReader, iotest.OneByteReader},
		{"into buffers of one octet", asItIs, iotest.OneByteReader},
		{"by halves", iotest.HalfReader, iotest.HalfReader},
		{"error with data", iotest.DataErrReader, asItIs},
	} {
		other, err := readBodies(way.src(strings.NewReader(message)), l, way.body)
		if err != nil {
			t.Fatalf("reading %.200q %s: %v", message, way.name, err)
		}
		if !reflect.DeepEqual(got, other) {
			d := cmp.Diff(got, other)
			t.Fatalf("reading %.500q %s differs (-at once +%s):\n%s", message, way.name, way.name, d)
		}
	}
	failed, err := read(io.MultiReader(strings.NewReader(message), iotest.ErrReader(errSource)), l)
	if err != errSource {
		t.Fatalf("reading %.500q, then an error: got %v, want %v", message, err, errSource)
	}
	for i := range failed.IDs {
		if i >= len(got.Parts) || failed.Parts[i] != got.Parts[i] {
			t.Fatalf("reading %.500q, then an error: part %s is complete with %.200q", message, failed.IDs[i], failed.Parts[i])
		}
	}
	checkReading(t, message, got, l.withDefaults())
	return got
}

// checkReading checks what holds of every message.
func checkReading(t *testing.T, message string, got reading, l Limits) {
	t.Helper()
	if !strings.HasPrefix(message, got.Raw+got.Rest) {
		t.Errorf("%.200q: the header block %.200q is not its beginning", message, got.Raw+got.Rest)
	}
	if len(got.Parts) == 0 || len(got.Parts) > l.MaxParts {
		t.Errorf("%.200q: %d parts, want 1 to %d", message, len(got.Parts), l.MaxParts)
	}
	if got.Exact {
		var b strings.Builder
		for _, f := range got.Email.Headers {
			b.WriteString(f.Name + ":" + f.Value + "\r\n")
		}
		if b.WriteString("\r\n"); b.String() != got.Raw {
			t.Errorf("%.200q: Exact, but the fields give %q, not %q", message, b.String(), got.Raw)
		}
	}
	if len(got.Problems) > 2*maxProblems+2 {
		t.Errorf("%.200q: %d problems", message, len(got.Problems))
	}
	encoded, err := json.Marshal(got.Email)
	if err != nil {
		t.Errorf("%.200q: %v", message, err)
	}
	structure, err := json.Marshal(got.Structure)
	if err != nil {
		t.Errorf("%.200q: %v", message, err)
	}
	problems, _ := json.Marshal(got.Problems)
	for _, b := range [][]byte{encoded, structure, problems} {
		if bytes.Contains(b, []byte(`\u0000`)) {
			t.Errorf("%.200q: NUL in %.500s", message, b)
		}
	}
	var ids []string
	walk(got.Structure, func(p *schema.BodyPart) {
		if p.SubParts == nil {
			ids = append(ids, *p.PartID)
			if *p.BlobID != schema.BlobID(*p.PartID) {
				t.Errorf("%.200q: part %s has blob %s", message, *p.PartID, *p.BlobID)
			}
		} else if p.PartID != nil || len(p.SubParts) == 0 && len(got.Parts) < l.MaxParts {
			t.Errorf("%.200q: multipart with id %v and %d parts", message, p.PartID, len(p.SubParts))
		}
	})
	if d := cmp.Diff(ids, got.IDs); d != "" && len(ids) < l.MaxParts {
		t.Errorf("%.200q: the leaves of the structure are not the parts:\n%s", message, d)
	}
	checkSpans(t, message, got)
	checkBounds(t, message, got)
}

func walk(p *schema.BodyPart, f func(*schema.BodyPart)) {
	f(p)
	for _, sub := range p.SubParts {
		walk(sub, f)
	}
}

// lines joins the lines of a message with CRLF.
func lines(l ...string) string { return strings.Join(l, "\r\n") }

// outline is the structure in one line: types, and the octets of leaves.
func (g reading) outline() string {
	i := 0
	var of func(p *schema.BodyPart) string
	of = func(p *schema.BodyPart) string {
		if p.SubParts == nil {
			i++
			return fmt.Sprintf("%s %s %q", *p.PartID, p.Type, g.Parts[i-1])
		}
		var subs []string
		for _, sub := range p.SubParts {
			subs = append(subs, of(sub))
		}
		return p.Type + "(" + strings.Join(subs, ", ") + ")"
	}
	return of(g.Structure)
}

// codes are the problems' codes, each with the part it concerns.
func (g reading) codes() string {
	var codes []string
	for _, p := range g.Problems {
		code := p.Code
		if p.PartID != nil {
			code = *p.PartID + ":" + code
		}
		codes = append(codes, code)
	}
	return strings.Join(codes, " ")
}
