package extract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkSpans checks that the spans are the message and that each leaf has one body.
func checkSpans(t *testing.T, message string, got reading) {
	t.Helper()
	var end int64
	var bodies []string
	for i, s := range got.Spans {
		if s.Start != end || s.End < s.Start {
			t.Errorf("%.200q: span %v begins not at %d", message, s, end)
		}
		end = s.End
		if s.Kind == SpanBody {
			bodies = append(bodies, s.PartID)
		}
		if i == 0 && s.Kind == SpanHeader && s.PartID == "" && message[:s.End] != got.Raw+got.Rest {
			t.Errorf("%.200q: the span of the header is %.200q, the header %.200q", message, message[:s.End], got.Raw+got.Rest)
		}
	}
	if end != int64(len(message)) {
		t.Errorf("%.200q: %d octets in spans of %d: %v", message, end, len(message), got.Spans)
	}
	if d := cmp.Diff(got.IDs, bodies); d != "" {
		t.Errorf("%.200q: not each part has one body (-parts +spans):\n%s", message, d)
	}
}

func TestTrace(t *testing.T) {
	tests := []struct {
		name, message string
		limits        Limits
		spans         string
	}{
		{name: "plain", message: "A: b\r\n\r\nbody", spans: `header  "A: b\r\n\r\n"|body 1 "body"`},
		{name: "empty", message: "", spans: `body 1 ""`},
		{name: "multipart", message: mixed("pre", "", "--x", "A: b", "", "one", "--x", "--x \t", "", "", "--x--", "epi", ""),
			spans: `header  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"|preamble  "pre\r\n"|delimiter  "\r\n--x\r\n"|` +
				`header 1 "A: b\r\n\r\n"|body 1 "one"|delimiter  "\r\n--x\r\n"|body 2 ""|delimiter  "--x \t\r\n"|header 3 "\r\n"|body 3 ""|delimiter  "\r\n--x--\r\n"|epilogue  "epi\r\n"`},
		{name: "nested and unclosed", message: "Content-Type: multipart/a; boundary=x\n\n--x\nContent-Type: multipart/b; boundary=y\n\n--y\n\na\n--x\n\nb\n",
			spans: `header  "Content-Type: multipart/a; boundary=x\n\n"|delimiter  "--x\n"|header 1 "Content-Type: multipart/b; boundary=y\n\n"|delimiter 1 "--y\n"|` +
				`header 1.1 "\n"|body 1.1 "a"|delimiter  "\n--x\n"|header 2 "\n"|body 2 "b\n"`},
		{name: "too many parts", message: mixed("pre", "--x", "", "one", "--x", "", "two", "--x--"), limits: Limits{MaxParts: 2},
			spans: `header  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"|preamble  "pre"|delimiter  "\r\n--x\r\n"|header 1 "\r\n"|` +
				`body 1 "one"|delimiter  "\r\n"|body 2 "--x\r\n\r\ntwo\r\n--x--"`},
		{name: "part header too large", message: "Content-Type: multipart/a; boundary=x\n\n--x\nA: b\nC: d\n\none\n--x--", limits: Limits{MaxHeaderBytes: 45},
			spans: `header  "Content-Type: multipart/a; boundary=x\n\n"|delimiter  "--x\n"|body 1 "A: b\nC: d\n\none"|delimiter  "\n--x--"`},
		{name: "header too large", message: "A: b\nC: d\nE: f\n\nbody", limits: Limits{MaxHeaderBytes: 7},
			spans: `header  "A: b\nC: d\nE: f\n\n"|body 1 "body"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, tt.message, tt.limits)
			var spans []string
			for _, s := range got.Spans {
				spans = append(spans, fmt.Sprintf("%s %s %q", s.Kind, s.PartID, tt.message[s.Start:s.End]))
			}
			if d := cmp.Diff(tt.spans, strings.Join(spans, "|")); d != "" {
				t.Errorf("spans (-want +got):\n%s", d)
			}
		})
	}
}
