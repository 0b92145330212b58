//go:build integration

package expected

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lsmtpd/schema"
)

// enmimeMessage is what tests of enmime assert about one of its messages. What is left empty is not asserted.
type enmimeMessage struct {
	tests, file string // names in enmime; the file is in its testdata

	parts             []enmimePart
	multipart, single bool // the root is one, or is none
	subject           string
	date              time.Time
	to, sender        []string // as "name <address>"
	inFrom            string
	noBCC             bool
	headers           int      // how many fields
	names             []string // of all fields, sorted
	fields            string   // the test whose headers has their values
	received          string   // the test whose want has the values of Received

	text, html      string // whole
	inText, inHTML  []string
	notInHTML       string
	noText, noHTML  bool
	attachments     []enmimeFile // not nil: all of them
	inlines, others []enmimeFile
	problem         string // its code; encodingProblem
	sound           bool   // no problem at all
}

// enmimePart is a node of the structure. An id is that of IMAP, with ".0" for a multipart, and "0" for the root.
type enmimePart struct {
	id, mediaType, charset, disposition, name, cid string
	inner, next                                    bool // there are parts in it, or after it
	encoding                                       string
	content, contains                              string // of text as UTF-8
	octets                                         string
	problem                                        string
}

type enmimeFile struct{ name, cid, content, contains, prefix string }

// encodingProblem stands for schema.BodyValue.IsEncodingProblem.
const encodingProblem = "isEncodingProblem"

// TestEnmime compares what lsmtpd reads from each message with what enmime's tests assert of it.
func TestEnmime(t *testing.T) {
	dir := moduleDir(t, enmimeModule)
	messages, ran := slices.Concat(enmimePartMessages, enmimeEnvelopeMessages), 0
	for _, m := range messages {
		t.Run(m.tests+" "+m.file, func(t *testing.T) {
			c := &enmimeCheck{T: t, dir: dir, enmimeMessage: m, reading: readFile(t, filepath.Join(dir, "testdata", m.file))}
			c.structure()
			c.header()
			c.texts()
			c.files()
			c.problems()
			ran++
		})
	}
	if ran == len(messages) {
		enmimeExceptions.allApply(t)
	}
}

// enmimeCheck compares one message.
type enmimeCheck struct {
	*testing.T
	enmimeMessage
	dir     string
	reading *reading
}

func (c *enmimeCheck) equal(what, got, want string) {
	c.Helper()
	enmimeExceptions.check(c.T, c.file, what, got, want)
}

func (c *enmimeCheck) contains(what, got, want string) {
	c.Helper()
	if !strings.Contains(got, want) {
		c.equal(what, got, want)
	}
}

func (c *enmimeCheck) structure() {
	c.Helper()
	nodes := map[string]enmimeNode{}
	addNodes(nodes, c.reading.BodyStructure, "", false)
	for _, want := range c.parts {
		got, ok := nodes[want.id]
		if !ok {
			c.Errorf("no part %s, got %v", want.id, slices.Sorted(maps.Keys(nodes)))
			continue
		}
		c.part(got, want)
	}
	root := c.reading.BodyStructure
	if isMultipart := root.SubParts != nil; c.multipart && !isMultipart || c.single && isMultipart {
		c.Errorf("the root is a %s", root.Type)
	}
}

func (c *enmimeCheck) part(got enmimeNode, want enmimePart) {
	c.Helper()
	what := "part " + want.id + " "
	c.equal(what+"type", got.Type, want.mediaType)
	// Convention of enmime: a text without a charset has none; in RFC 8621 it has the implicit us-ascii.
	if want.charset == "" && strings.HasPrefix(got.Type, "text/") {
		want.charset = "us-ascii"
	}
	c.equal(what+"charset", strings.ToLower(orEmpty(got.Charset)), strings.ToLower(want.charset))
	c.equal(what+"disposition", orEmpty(got.Disposition), want.disposition)
	c.equal(what+"name", orEmpty(got.Name), want.name)
	c.equal(what+"inner", fmt.Sprint(got.SubParts != nil), fmt.Sprint(want.inner))
	c.equal(what+"next", fmt.Sprint(got.next), fmt.Sprint(want.next))
	if want.cid != "" {
		c.equal(what+"cid", orEmpty(got.CID), want.cid)
	}
	if want.encoding != "" {
		encoding, _ := field(c.reading.headersOf(got.BodyPart), "Content-Transfer-Encoding")
		c.equal(what+"encoding", encoding, want.encoding)
	}
	if got.PartID == nil {
		return
	}
	content := string(c.reading.octets[*got.PartID])
	if strings.HasPrefix(got.Type, "text/") {
		content = c.reading.text(&got.BodyProperties)
	}
	if want.content != "" {
		c.equal(what+"content", content, want.content)
	}
	c.contains(what+"content", content, want.contains)
	if want.octets != "" {
		c.equal(what+"octets", string(c.reading.octets[*got.PartID]), want.octets)
	}
	if want.problem != "" {
		c.equal(what+"problem", strings.Join(c.reading.problemsOf(got.BodyPart), " "), want.problem)
	}
}

// enmimeNode is a part and whether another follows it.
type enmimeNode struct {
	*schema.BodyPart
	next bool
}

// addNodes gives the parts at and below p the names that enmime gives them.
func addNodes(nodes map[string]enmimeNode, p *schema.BodyPart, id string, next bool) {
	key := id
	switch {
	case id == "":
		key = "0"
	case p.SubParts != nil:
		key += ".0"
	}
	nodes[key] = enmimeNode{p, next}
	for i, sub := range p.SubParts {
		addNodes(nodes, sub, strings.TrimPrefix(fmt.Sprintf("%s.%d", id, i+1), "."), i+1 < len(p.SubParts))
	}
}

// problemsOf are the codes of the problems of a part, and encodingProblem where its text has one.
func (r *reading) problemsOf(p *schema.BodyPart) []string {
	var codes []string
	for _, problem := range r.problems {
		if problem.PartID != nil && p.PartID != nil && *problem.PartID == *p.PartID {
			codes = append(codes, problem.Code)
		}
	}
	if p.PartID != nil && r.values[*p.PartID].IsEncodingProblem {
		codes = append(codes, encodingProblem)
	}
	return codes
}

func (c *enmimeCheck) header() {
	c.Helper()
	r := c.reading
	if c.subject != "" {
		c.equal("subject", orEmpty(r.Subject), c.subject)
	}
	if !c.date.IsZero() {
		c.equal("date", dateOrZero(r.SentAt).UTC().String(), c.date.String())
	}
	for _, list := range []struct {
		what string
		got  []schema.EmailAddress
		want []string
	}{{"to", r.To, c.to}, {"sender", r.Sender, c.sender}} {
		if list.want != nil {
			c.equal(list.what, joined(list.got), strings.Join(list.want, ", "))
		}
	}
	c.contains("from", joined(r.From), c.inFrom)
	if c.noBCC && r.BCC != nil {
		c.Errorf("there is no Bcc, got %v", r.BCC)
	}
	if c.headers != 0 && len(r.Headers) != c.headers {
		c.Errorf("got %d header fields, want %d", len(r.Headers), c.headers)
	}
	if c.names != nil {
		c.equal("header fields", strings.Join(r.fieldNames(), " "), strings.ToLower(strings.Join(c.names, " ")))
	}
	if c.fields != "" {
		c.fieldValues()
	}
	if c.received != "" {
		want := enmimeTable[[]string](c.T, c.dir, "envelope_test.go", c.received, "want", nil)
		c.equal("received", strings.Join(r.fieldValues("received"), "\n"), strings.Join(want, "\n"))
	}
}

// fieldValues compares all fields with the table in one of enmime's tests, as that test does: the values of a field
// that occurs several times stand in one.
func (c *enmimeCheck) fieldValues() {
	c.Helper()
	want := map[string]string{}
	for name, value := range enmimeTable[map[string]string](c.T, c.dir, "envelope_test.go", c.fields, "headers", nil) {
		want[strings.ToLower(name)] = value
	}
	c.equal("header fields", strings.Join(c.reading.fieldNames(), " "), strings.Join(slices.Sorted(maps.Keys(want)), " "))
	for name, values := range want {
		for _, value := range c.reading.fieldValues(name) {
			if !strings.Contains(values, value) {
				c.equal("field "+name, value, values)
			}
		}
	}
}

// fieldNames are the names of all fields in lower case, sorted, each once.
func (r *reading) fieldNames() []string {
	names := map[string]bool{}
	for _, h := range r.Headers {
		names[strings.ToLower(h.Name)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// fieldValues are the values of the fields of this name. Convention of enmime: what is left of a folding is one blank.
func (r *reading) fieldValues(name string) []string {
	var values []string
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, folded(h.Value))
		}
	}
	return values
}

func folded(raw string) string {
	lines := strings.Split(raw, "\n")
	for i := range lines {
		lines[i] = strings.Trim(lines[i], " \t\r")
	}
	return strings.Join(lines, " ")
}

// joined are addresses as one text.
func joined(list []schema.EmailAddress) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, strings.TrimPrefix(orEmpty(a.Name)+" <"+a.Email+">", " "))
	}
	return strings.Join(texts, ", ")
}

// texts compares the texts. Convention of enmime: the text of a multipart/alternative is the first plain one in it, any
// other is all plain ones with "--" between them; HTML is the first one only.
func (c *enmimeCheck) texts() {
	c.Helper()
	r := c.reading
	var text, html string
	if texts := r.texts(r.TextBody, "text/plain"); r.BodyStructure.Type == "multipart/alternative" && len(texts) > 0 {
		text = texts[0]
	} else {
		text = strings.Join(texts, "\n--\n")
	}
	if texts := r.texts(r.HTMLBody, "text/html"); len(texts) > 0 {
		html = texts[0]
	}
	if c.text != "" || c.noText {
		c.equal("text", text, c.text)
	}
	if c.html != "" || c.noHTML {
		c.equal("html", html, c.html)
	}
	for _, want := range c.inText {
		c.contains("text", text, want)
	}
	for _, want := range c.inHTML {
		c.contains("html", html, want)
	}
	if c.notInHTML != "" && strings.Contains(html, c.notInHTML) {
		c.equal("html", html, "without "+c.notInHTML)
	}
}

// files compares what is not the text of the body. Convention of enmime: it has three lists, of attachments, which are
// also of application/octet-stream, of inline parts, and of all that has no disposition.
func (c *enmimeCheck) files() {
	c.Helper()
	var attachments, inlines, others []*schema.BodyPart
	for _, p := range c.reading.files() {
		switch isRoot := p == c.reading.BodyStructure; {
		case orEmpty(p.Disposition) == "inline":
			inlines = append(inlines, p)
		case orEmpty(p.Disposition) == "attachment" || p.Type == "application/octet-stream" || isRoot:
			attachments = append(attachments, p)
		default:
			others = append(others, p)
		}
	}
	c.list("attachments", attachments, c.attachments)
	c.list("inlines", inlines, c.inlines)
	c.list("others", others, c.others)
}

func (c *enmimeCheck) list(what string, got []*schema.BodyPart, want []enmimeFile) {
	c.Helper()
	if want == nil {
		return
	}
	if len(got) != len(want) {
		c.Errorf("got %d %s, want %d", len(got), what, len(want))
		return
	}
	for i, f := range want {
		content := string(c.reading.octets[*got[i].PartID])
		c.equal(what+" name", orEmpty(got[i].Name), f.name)
		if f.cid != "" {
			c.equal(what+" cid", orEmpty(got[i].CID), f.cid)
		}
		if f.content != "" {
			c.equal(what+" content", content, f.content)
		}
		c.contains(what+" content", content, f.contains)
		if !strings.HasPrefix(content, f.prefix) {
			c.equal(what+" content", content, f.prefix)
		}
	}
}

func (c *enmimeCheck) problems() {
	c.Helper()
	codes := c.reading.problemCodes()
	if c.problem != "" {
		c.contains("problems", codes, c.problem)
	}
	if c.sound {
		c.equal("problems", codes, "")
	}
}
