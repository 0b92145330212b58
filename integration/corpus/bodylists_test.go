//go:build integration

package corpus

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

// bodyLists are the lists of a message, as part ids.
type bodyLists struct {
	TextBody      []string `json:"textBody"`
	HTMLBody      []string `json:"htmlBody"`
	Attachments   []string `json:"attachments"`
	HasAttachment bool     `json:"hasAttachment"`
	Flaws         []string `json:"flaws"`
}

// TestBodyLists wants textBody, htmlBody, attachments and hasAttachment as RFC 8621's algorithm makes them of the body
// structure, written down once more from the RFC.
func TestBodyLists(t *testing.T) {
	var names []string
	var emails []*schema.Email
	for _, d := range delivered(t).all() {
		names, emails = append(names, d.name+" by "+d.way), append(emails, &d.published.Email)
	}
	wantBodyLists(t, names, emails)
}

// TestRandomBodyLists does so for structures that no corpus has: parts of all kinds at random.
func TestRandomBodyLists(t *testing.T) {
	r := rand.New(rand.NewPCG(8621, 4))
	var names []string
	var emails []*schema.Email
	for i := range 5000 {
		e := &schema.Email{BodyStructure: randomPart(r, "", 4)}
		e.SortBody()
		names, emails = append(names, fmt.Sprintf("structure %d", i)), append(emails, e)
	}
	wantBodyLists(t, names, emails)
}

func wantBodyLists(t *testing.T, names []string, emails []*schema.Email) {
	t.Helper()
	var structures []*schema.BodyPart
	for _, e := range emails {
		structures = append(structures, e.BodyStructure)
	}
	wanted := ask[*schema.BodyPart, bodyLists](t, structures, "python3", "-c", bodyListsScript)
	different, flawed := map[string]bool{}, map[string]int{}
	for i, e := range emails {
		got := bodyLists{ids(e.TextBody), ids(e.HTMLBody), ids(e.Attachments), e.HasAttachment, []string{}}
		want := wanted[i]
		different[fmt.Sprint(want)] = true
		for _, flaw := range want.Flaws {
			flawed[flaw]++
		}
		want.Flaws = []string{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the body lists differ (-RFC +ours):\n%s", names[i], diff)
		}
	}
	t.Logf("%d messages with %d different lists; where the RFC leaves it open: %v", len(emails), len(different), flawed)
}

// randomPart makes a part with at most so many levels of multiparts.
func randomPart(r *rand.Rand, section string, depth int) *schema.BodyPart {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	p := &schema.BodyPart{Headers: []schema.Header{}}
	if depth > 0 && r.IntN(3) > 0 {
		p.Type = "multipart/" + pick("mixed", "alternative", "related", "signed")
		p.SubParts = []*schema.BodyPart{}
		for i := range r.IntN(4) {
			p.SubParts = append(p.SubParts, randomPart(r, strings.TrimPrefix(fmt.Sprintf("%s.%d", section, i+1), "."), depth-1))
		}
		return p
	}
	id := section
	if id == "" {
		id = "1"
	}
	blobID := schema.BlobID(id)
	p.PartID, p.BlobID = &id, &blobID
	p.Type = pick("text/plain", "text/plain", "text/html", "text/html", "image/png", "audio/ogg", "text/calendar", "application/pdf", "message/rfc822")
	if name := pick("", "", "a.txt"); name != "" {
		p.Name = &name
	}
	if disposition := pick("", "", "inline", "attachment"); disposition != "" {
		p.Disposition = &disposition
	}
	return p
}

func ids(parts []schema.BodyProperties) []string {
	list := []string{}
	for _, p := range parts {
		list = append(list, *p.PartID)
	}
	return list
}
