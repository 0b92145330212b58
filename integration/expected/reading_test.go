//go:build integration

package expected

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"lsmtpd/extract"
	"lsmtpd/schema"
)

// reading is a message as lsmtpd reads it.
type reading struct {
	*schema.Email
	problems []schema.Problem
	octets   map[string][]byte           // of each leaf part, by partId
	values   map[string]schema.BodyValue // of each text
	parent   map[string]*schema.BodyPart
}

// readFile reads the message in a file, as a transaction of the bridge does.
func readFile(t *testing.T, path string) *reading {
	t.Helper()
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return readMessage(t, octets)
}

func readMessage(t *testing.T, octets []byte) *reading {
	t.Helper()
	x := extract.NewReader(bytes.NewReader(octets), extract.Limits{})
	defer x.Close()
	h, err := x.Header()
	if err != nil {
		t.Fatal(err)
	}
	r := &reading{Email: &schema.Email{}, octets: map[string][]byte{}, values: map[string]schema.BodyValue{}, parent: map[string]*schema.BodyPart{}}
	r.problems = h.Describe(r.Email)
	for {
		p, err := x.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		p.Size = int64(len(content))
		r.octets[*p.PartID] = content
		if strings.HasPrefix(p.Type, "text/") {
			r.values[*p.PartID] = p.Text(content, true)
		}
	}
	r.BodyStructure = x.Structure()
	r.SortBody()
	r.problems = append(r.problems, x.Problems()...)
	// The files of both have the line ends of the machine they were written on, which is no matter of theirs.
	r.problems = slices.DeleteFunc(r.problems, func(p schema.Problem) bool { return p.Code == extract.CodeBareNewline })
	r.addParents(r.BodyStructure)
	return r
}

func (r *reading) addParents(p *schema.BodyPart) {
	for _, sub := range p.SubParts {
		if sub.PartID != nil {
			r.parent[*sub.PartID] = p
		}
		r.addParents(sub)
	}
}

// text is the text of a leaf part.
func (r *reading) text(p *schema.BodyProperties) string {
	return r.values[*p.PartID].Value
}

// texts are the texts of the parts of this type in a list of the body, in order.
func (r *reading) texts(list []schema.BodyProperties, mediaType string) []string {
	var texts []string
	for i := range list {
		if list[i].Type == mediaType {
			texts = append(texts, r.text(&list[i]))
		}
	}
	return texts
}

// files are the leaf parts that are not the text of the body, in the order of the message: the attachments, and the
// media that the body shows.
func (r *reading) files() []*schema.BodyPart {
	body := map[string]bool{}
	for _, list := range [][]schema.BodyProperties{r.TextBody, r.HTMLBody} {
		for i := range list {
			if strings.HasPrefix(list[i].Type, "text/") {
				body[*list[i].PartID] = true
			}
		}
	}
	var files []*schema.BodyPart
	for p := range r.BodyStructure.Leaves() {
		if !body[*p.PartID] {
			files = append(files, p)
		}
	}
	return files
}

// problemCodes are the codes of all problems, each once, in order.
func (r *reading) problemCodes() string {
	var codes []string
	for _, p := range r.problems {
		if !strings.Contains(strings.Join(codes, " ")+" ", p.Code+" ") {
			codes = append(codes, p.Code)
		}
	}
	return strings.Join(codes, " ")
}

// field is the value of a header field, unfolded, and whether it is there.
func field(headers []schema.Header, name string) (string, bool) {
	for _, h := range headers {
		if strings.EqualFold(h.Name, name) {
			return unfold(h.Value), true
		}
	}
	return "", false
}

// unfold undoes the folding of a value in the Raw form (RFC 5322 §2.2.3).
func unfold(s string) string {
	return strings.Trim(strings.NewReplacer("\r\n", "", "\n", "").Replace(s), " \t")
}

// orEmpty is the value of an optional string.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
