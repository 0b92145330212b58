package schema_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"lsmtpd/schema"
)

// reference sorts a structure as RFC 8621 §4.1.4 writes it down: lists that are
// passed on, and are null once a part has shown which alternative is read.
type reference struct{ html, text, attachments *[]string }

func (r reference) parse(parts []*schema.BodyPart, multipartType string, inAlternative bool) {
	count := func(list *[]string) int {
		if list == nil {
			return -1
		}
		return len(*list)
	}
	push := func(list *[]string, p *schema.BodyPart) {
		if list != nil {
			*list = append(*list, *p.PartID)
		}
	}
	media := func(p *schema.BodyPart) bool {
		top, _, _ := strings.Cut(p.Type, "/")
		return top == "image" || top == "audio" || top == "video"
	}
	textLength, htmlLength := count(r.text), count(r.html)
	for i, p := range parts {
		known := p.Type == "text/plain" || p.Type == "text/html" || media(p)
		attached := p.Disposition != nil && *p.Disposition == "attachment"
		named := p.Name != nil && *p.Name != ""
		placed := i == 0 || (multipartType != "related" && (media(p) || !named))
		if top, sub, _ := strings.Cut(p.Type, "/"); top == "multipart" {
			r.parse(p.SubParts, sub, inAlternative || sub == "alternative")
			continue
		}
		if attached || !known || !placed {
			push(r.attachments, p)
			continue
		}
		if multipartType == "alternative" {
			list := map[string]*[]string{"text/plain": r.text, "text/html": r.html}
			if to, ok := list[p.Type]; ok {
				push(to, p)
			} else {
				push(r.attachments, p)
			}
			continue
		}
		if inAlternative {
			switch p.Type {
			case "text/plain":
				r.html = nil
			case "text/html":
				r.text = nil
			}
		}
		push(r.text, p)
		push(r.html, p)
		if (r.text == nil || r.html == nil) && media(p) {
			push(r.attachments, p)
		}
	}
	if multipartType != "alternative" || r.text == nil || r.html == nil {
		return
	}
	if textLength == len(*r.text) && htmlLength != len(*r.html) {
		*r.text = append(*r.text, (*r.html)[htmlLength:]...)
	}
	if htmlLength == len(*r.html) && textLength != len(*r.text) {
		*r.html = append(*r.html, (*r.text)[textLength:]...)
	}
}

// randomPart grows a structure; n counts its leaves.
func randomPart(rnd *rand.Rand, depth int, n *int) *schema.BodyPart {
	one := func(of ...string) string { return of[rnd.IntN(len(of))] }
	p := &schema.BodyPart{Headers: []schema.Header{}}
	if rnd.IntN(6) < 4-depth {
		p.Type = "multipart/" + one("mixed", "mixed", "alternative", "alternative", "related", "report", "signed")
		p.SubParts = []*schema.BodyPart{}
		for range rnd.IntN(5) {
			p.SubParts = append(p.SubParts, randomPart(rnd, depth+1, n))
		}
	} else {
		*n++
		p.PartID = new(fmt.Sprint(*n))
		p.Type = one("text/plain", "text/plain", "text/html", "text/html", "image/png", "audio/ogg", "video/mp4",
			"application/pdf", "message/rfc822", "text/calendar")
		if d := one("", "", "inline", "attachment"); d != "" {
			p.Disposition = &d
		}
		if rnd.IntN(4) == 0 {
			p.Name = new(one("n", ""))
		}
	}
	return p
}

func TestSortBodyIsTheAlgorithmOfTheRFC(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8621, 4))
	for range 20000 {
		root := randomPart(rnd, 0, new(int))
		want := reference{new([]string{}), new([]string{}), new([]string{})}
		want.parse([]*schema.BodyPart{root}, "mixed", false)
		e := schema.Email{BodyStructure: root}
		e.SortBody()
		got := fmt.Sprintf("%q %q %q", ids(e.TextBody), ids(e.HTMLBody), ids(e.Attachments))
		if want := fmt.Sprintf("%q %q %q", strings.Join(*want.text, " "), strings.Join(*want.html, " "), strings.Join(*want.attachments, " ")); got != want {
			t.Fatalf("textBody, htmlBody, attachments: got %s, want %s of\n%s", got, want, draw(root))
		}
	}
}
