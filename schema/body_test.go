package schema_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

// tree reads a structure in short: one part a line, its parts indented by one
// more blank. A line is "ID TYPE [disposition] [name=NAME]"; a multipart has no ID.
func tree(t *testing.T, text string) *schema.BodyPart {
	t.Helper()
	var open []*schema.BodyPart
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		line = strings.TrimLeft(line, "\t")
		depth := len(line) - len(strings.TrimLeft(line, " "))
		fields := strings.Fields(line)
		p := &schema.BodyPart{Headers: []schema.Header{}}
		if strings.HasPrefix(fields[0], "multipart/") {
			p.SubParts = []*schema.BodyPart{}
		} else {
			p.PartID, fields = &fields[0], fields[1:]
		}
		p.Type = fields[0]
		for _, f := range fields[1:] {
			if name, ok := strings.CutPrefix(f, "name="); ok {
				p.Name = &name
			} else {
				p.Disposition = &f
			}
		}
		if depth > len(open) {
			t.Fatalf("%q is indented too far", line)
		}
		open = append(open[:depth], p)
		if depth > 0 {
			open[depth-1].SubParts = append(open[depth-1].SubParts, p)
		}
	}
	return open[0]
}

// draw writes a structure as tree reads it.
func draw(p *schema.BodyPart) string {
	var b strings.Builder
	var walk func(p *schema.BodyPart, indent string)
	walk = func(p *schema.BodyPart, indent string) {
		b.WriteString(indent)
		if p.PartID != nil {
			b.WriteString(*p.PartID + " ")
		}
		b.WriteString(p.Type)
		if p.Disposition != nil {
			b.WriteString(" " + *p.Disposition)
		}
		if p.Name != nil {
			b.WriteString(" name=" + *p.Name)
		}
		b.WriteString("\n")
		for _, sub := range p.SubParts {
			walk(sub, indent+" ")
		}
	}
	walk(p, "")
	return b.String()
}

// ids is the part ids of a body list, separated by blanks.
func ids(list []schema.BodyProperties) string {
	var s []string
	for _, p := range list {
		s = append(s, *p.PartID)
	}
	return strings.Join(s, " ")
}

// sortBodyTests are structures as tree reads them, and the part ids in the lists.
var sortBodyTests = []struct {
	name                    string
	structure               string
	text, html, attachments string
	hasAttachment           bool
}{
	{"the example of RFC 8621", `
		multipart/mixed
		 A text/plain inline
		 multipart/mixed
		  multipart/alternative
		   multipart/mixed
		    B text/plain inline
		    C image/jpeg inline
		    D text/plain inline
		   multipart/related
		    E text/html
		    F image/jpeg
		  G image/jpeg attachment
		  H application/x-excel
		  J message/rfc822
		 K text/plain inline`, "A B C D K", "A E K", "C F G H J", true},

	{"plain text alone", `A text/plain`, "A", "A", "", false},
	{"HTML alone", `A text/html`, "A", "A", "", false},
	{"image alone", `A image/png`, "A", "A", "", false},
	{"audio alone", `A audio/ogg`, "A", "A", "", false},
	{"video alone", `A video/mp4`, "A", "A", "", false},
	{"PDF alone", `A application/pdf`, "", "", "A", true},
	{"PDF alone and inline", `A application/pdf inline`, "", "", "A", false},
	{"calendar alone", `A text/calendar`, "", "", "A", true},
	{"plain text alone as attachment", `A text/plain attachment`, "", "", "A", true},
	{"plain text alone with a name", `A text/plain name=a.txt`, "A", "A", "", false},
	{"message alone", `A message/rfc822`, "", "", "A", true},
	{"opaque multipart alone", `A x-multipart/mixed`, "", "", "A", true},

	{"text and HTML", `
		multipart/alternative
		 A text/plain
		 B text/html`, "A", "B", "", false},
	{"HTML before text", `
		multipart/alternative
		 A text/html
		 B text/plain`, "B", "A", "", false},
	{"only HTML in alternative", `
		multipart/alternative
		 A text/html`, "A", "A", "", false},
	{"only text in alternative", `
		multipart/alternative
		 A text/plain`, "A", "A", "", false},
	{"nothing known in alternative", `
		multipart/alternative
		 A application/xml
		 B text/calendar`, "", "", "A B", true},
	{"image in alternative", `
		multipart/alternative
		 A text/plain
		 B text/html
		 C image/png`, "A", "B", "C", true},
	{"calendar in alternative", `
		multipart/alternative
		 A text/plain
		 B text/html
		 C text/calendar`, "A", "B", "C", true},
	{"attached text in alternative", `
		multipart/alternative
		 A text/html
		 B text/plain attachment`, "A", "A", "B", true},
	{"named text first and later in alternative", `
		multipart/alternative
		 A text/plain name=a.txt
		 B text/html name=b.html`, "A", "A", "B", true},

	{"HTML with its images", `
		multipart/related
		 A text/html
		 B image/png inline`, "A", "A", "B", false},
	{"image first in related", `
		multipart/related
		 A image/png
		 B text/html`, "A", "A", "B", true},
	{"alternative in related", `
		multipart/related
		 multipart/alternative
		  A text/plain
		  B text/html
		 C image/gif inline`, "A", "B", "C", false},
	{"related in alternative", `
		multipart/alternative
		 A text/plain
		 multipart/related
		  B text/html
		  C image/gif`, "A", "B", "C", true},
	{"related with plain text only in alternative", `
		multipart/alternative
		 multipart/related
		  A text/plain
		  B image/gif`, "A", "A", "B", true},
	{"mixed with text and HTML in alternative", `
		multipart/alternative
		 A text/plain
		 multipart/mixed
		  B text/html
		  C application/pdf
		  D text/html`, "A", "B D", "C", true},
	{"alternative in alternative", `
		multipart/alternative
		 A text/plain
		 multipart/alternative
		  B text/html`, "A B", "B", "", false},
	{"both kinds in mixed in alternative", `
		multipart/alternative
		 multipart/mixed
		  A text/plain
		  B text/html`, "A", "A", "", false},
	{"image before text in mixed in alternative", `
		multipart/alternative
		 multipart/mixed
		  A image/png
		  B text/html
		  C image/png`, "A", "A B C", "C", true},

	{"text with a name is first", `
		multipart/mixed
		 A text/plain name=a.txt
		 B text/plain`, "A B", "A B", "", false},
	{"text with a name is not first", `
		multipart/mixed
		 A text/plain
		 B text/plain name=b.txt
		 C text/plain inline name=c.txt`, "A", "A", "B C", true},
	{"text with an empty name is not first", `
		multipart/mixed
		 A text/plain
		 B text/plain name=`, "A B", "A B", "", false},
	{"image with a name is not first", `
		multipart/mixed
		 A text/plain
		 B image/png name=b.png`, "A B", "A B", "", false},
	{"attached image", `
		multipart/mixed
		 A text/plain
		 B image/png attachment name=b.png`, "A", "A", "B", true},
	{"forwarded message", `
		multipart/mixed
		 A text/plain
		 B message/rfc822
		 C text/plain`, "A C", "A C", "B", true},
	{"attachment before the text", `
		multipart/mixed
		 A application/pdf
		 B text/plain`, "B", "B", "A", true},
	{"delivery report", `
		multipart/report
		 A text/plain
		 B message/delivery-status
		 C text/rfc822-headers`, "A", "A", "B C", true},
	{"signed alternative", `
		multipart/signed
		 multipart/alternative
		  A text/plain
		  B text/html
		 C application/pgp-signature name=signature.asc`, "A", "B", "C", true},
	{"unknown disposition", `
		multipart/mixed
		 A text/plain form-data
		 B application/pdf x-shown`, "A", "A", "B", true},
	{"multipart without parts", `multipart/mixed`, "", "", "", false},
	{"multipart without parts in alternative", `
		multipart/alternative
		 multipart/related
		 A text/html`, "A", "A", "", false},
}

func TestSortBody(t *testing.T) {
	for _, test := range sortBodyTests {
		t.Run(test.name, func(t *testing.T) {
			e := schema.Email{BodyStructure: tree(t, test.structure), HasAttachment: !test.hasAttachment}
			e.SortBody()
			for _, list := range []struct {
				name, want string
				got        []schema.BodyProperties
			}{{"textBody", test.text, e.TextBody}, {"htmlBody", test.html, e.HTMLBody}, {"attachments", test.attachments, e.Attachments}} {
				if list.got == nil || ids(list.got) != list.want {
					t.Errorf("%s: got %q (nil: %v), want %q of\n%s", list.name, ids(list.got), list.got == nil, list.want, draw(e.BodyStructure))
				}
			}
			if e.HasAttachment != test.hasAttachment {
				t.Errorf("hasAttachment: got %v, want %v of\n%s", e.HasAttachment, test.hasAttachment, draw(e.BodyStructure))
			}
		})
	}
}

func TestSortBodyWithoutStructure(t *testing.T) {
	e := schema.Email{HasAttachment: true}
	e.SortBody()
	if e.TextBody == nil || e.HTMLBody == nil || e.Attachments == nil || e.HasAttachment {
		t.Errorf("got %+v, want empty lists that are not nil", e)
	}
}

// The lists hold copies: they do not change with the structure, and sorting leaves that as it was.
func TestSortBodyCopies(t *testing.T) {
	e := schema.Email{BodyStructure: tree(t, "multipart/mixed\n A text/plain\n B application/pdf name=b.pdf")}
	before := draw(e.BodyStructure)
	e.SortBody()
	if after := draw(e.BodyStructure); after != before {
		t.Errorf("the structure was\n%s\nand is\n%s", before, after)
	}
	e.BodyStructure.SubParts[0].Size = 7
	if e.TextBody[0].Size != 0 {
		t.Errorf("textBody changed with the structure: %+v", e.TextBody[0])
	}
	if diff := cmp.Diff(e.BodyStructure.SubParts[1].BodyProperties, e.Attachments[0]); diff != "" {
		t.Error(diff)
	}
}
