//go:build integration

package corpus

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"lsmtpd/extract"
	"lsmtpd/schema"
)

// TestDecoders compares the parts of each message with what others decode, and the two ways a message was sent with
// each other.
func TestDecoders(t *testing.T) {
	all := delivered(t)
	t.Run("CPython", func(t *testing.T) { compareAll(t, all, cpython, cpythonDifferences) })
	t.Run("enmime", func(t *testing.T) { compareAll(t, all, enmime, enmimeDifferences) })
	t.Run("line ends", func(t *testing.T) { compareWays(t, all) })
}

// reviewed are cases that somebody has looked at: the reason why ours is right, and the cases by that reason, each as
// the test tells it.
type reviewed struct {
	reason string
	cases  []string
}

// compareAll wants of the messages sent as they are in their corpus what a witness reads in them, but for the
// differences that were reviewed. A reviewed one that is not there any more is a failure too.
func compareAll(t *testing.T, all *deliveries, w witness, table []reviewed) {
	readings := w(t, all.bdat)
	var found []string
	compared := 0
	for i, d := range all.bdat {
		got := partsOf(d.published)
		compared += len(got)
		for _, what := range differences(got, readings[i].Parts) {
			found = append(found, d.name+what)
		}
	}
	t.Logf("%d parts of %d messages compared, %d differences", compared, len(all.bdat), len(found))
	wantReviewed(t, all.complete, found, table)
}

// wantReviewed fails for what was found and is not in the table, and for what is in the table and was not found. The
// latter may be of a corpus that is missing, unless complete.
func wantReviewed(t *testing.T, complete bool, found []string, table []reviewed) {
	t.Helper()
	left := map[string]bool{}
	for _, f := range found {
		left[f] = true
	}
	for _, r := range table {
		there := 0
		for _, c := range r.cases {
			if left[c] {
				there++
			} else if complete {
				t.Errorf("reviewed, and not found any more: %s", c)
			}
			delete(left, c)
		}
		t.Logf("  %d: %s", there, r.reason)
	}
	for _, f := range slices.Sorted(maps.Keys(left)) {
		t.Errorf("not reviewed: %s", f)
	}
}

// partsOf returns the leaf parts of a message as it was published.
func partsOf(m *schema.Message) []part {
	var parts []part
	for p := range m.Email.BodyStructure.Leaves() {
		blob := m.Blobs[*p.BlobID]
		parts = append(parts, part{*p.PartID, p.Type, blob.Size, *blob.SHA256, p.Name})
	}
	return parts
}

// differences tells in what parts differ from those of a witness.
func differences(got, want []part) []string {
	if len(got) != len(want) {
		return []string{fmt.Sprintf(": %d parts, not %d: %s", len(got), len(want), outline(got))}
	}
	var all []string
	for i, g := range got {
		w := want[i]
		add := func(format string, args ...any) { all = append(all, " "+g.ID+": "+fmt.Sprintf(format, args...)) }
		if g.ID != w.ID {
			add("not %s", w.ID)
		}
		if g.Type != w.Type {
			add("type %s, not %q", g.Type, w.Type)
		}
		if g.Size != w.Size || g.SHA256 != w.SHA256 {
			add("%d octets (%.8s), not %d", g.Size, g.SHA256, w.Size)
		}
		if show(g.Name) != show(w.Name) {
			add("name %s, not %s", show(g.Name), show(w.Name))
		}
	}
	return all
}

// outline tells parts in short.
func outline(parts []part) string {
	var list []string
	for _, p := range parts {
		list = append(list, fmt.Sprintf("%s %s %d (%.8s)", p.ID, p.Type, p.Size, p.SHA256))
	}
	return strings.Join(list, ", ")
}

func show(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

// compareWays wants the same parts in a message whose lines end in CR LF as in the one as it is in its corpus: the
// same octets, but for the line ends in what is not encoded as base64.
func compareWays(t *testing.T, all *deliveries) {
	byName := map[string]*delivery{}
	for _, d := range all.data {
		byName[d.name] = d
	}
	compared := 0
	for _, asIs := range all.bdat {
		crlf := byName[asIs.name]
		if crlf == nil {
			t.Logf("not by DATA: %s", asIs.name)
			continue
		}
		got, err := all.readBlobs(t, crlf.published)
		if err != nil {
			t.Fatal(err)
		}
		want, err := all.readBlobs(t, asIs.published)
		if err != nil {
			t.Fatal(err)
		}
		g, w := slices.Collect(crlf.published.Email.BodyStructure.Leaves()), slices.Collect(asIs.published.Email.BodyStructure.Leaves())
		if len(g) != len(w) {
			t.Errorf("%s: %d parts by DATA, %d by BDAT", asIs.name, len(g), len(w))
			continue
		}
		for i := range g {
			compared++
			if *g[i].PartID != *w[i].PartID || g[i].Type != w[i].Type || show(g[i].Name) != show(w[i].Name) {
				t.Errorf("%s: by DATA %+v, by BDAT %+v", asIs.name, g[i].BodyProperties, w[i].BodyProperties)
			}
			if !bytes.Equal(withoutCR(got[*g[i].BlobID]), withoutCR(want[*w[i].BlobID])) {
				t.Errorf("%s: the octets of %s differ by more than line ends", asIs.name, *g[i].PartID)
			}
		}
		// Of the line ends, which the bare-newline problem is about, only one way has those.
		if g, w := codes(crlf.published), slices.DeleteFunc(codes(asIs.published), isBareNewline); !slices.Equal(g, w) {
			t.Errorf("%s: problems by DATA %q, by BDAT %q", asIs.name, g, w)
		}
	}
	t.Logf("%d parts of %d messages sent both ways compared", compared, len(all.data))
}

func isBareNewline(code string) bool { return code == extract.CodeBareNewline }

func withoutCR(octets []byte) []byte {
	return bytes.TrimSuffix(bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n")), []byte("\n"))
}

// codes are those of the problems of a message.
func codes(m *schema.Message) []string {
	var list []string
	for _, p := range m.Problems {
		list = append(list, p.Code)
	}
	return list
}
