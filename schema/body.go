package schema

import "strings"

// SortBody fills TextBody, HTMLBody, Attachments and HasAttachment from
// BodyStructure by the algorithm of RFC 8621 §4.1.4. It is a pure function of
// the structure: the lists hold copies of the parts' properties.
func (e *Email) SortBody() {
	s := bodySorter{text: []*BodyPart{}, html: []*BodyPart{}, attachments: []*BodyPart{}}
	if e.BodyStructure != nil {
		s.sort([]*BodyPart{e.BodyStructure}, "mixed", false, true, true)
	}
	e.TextBody, e.HTMLBody, e.Attachments = properties(s.text), properties(s.html), properties(s.attachments)
	e.HasAttachment = false
	for _, p := range e.Attachments {
		if p.Disposition == nil || *p.Disposition != "inline" {
			e.HasAttachment = true
		}
	}
}

// bodySorter holds the three lists while a structure is walked.
type bodySorter struct {
	text, html, attachments []*BodyPart
}

// sort walks the parts of one multipart. toText and toHTML say whether a part
// may still go into that list: the RFC sets the list to null for the rest of
// the multipart once one of its texts has shown which alternative it is.
func (s *bodySorter) sort(parts []*BodyPart, subtype string, inAlternative, toText, toHTML bool) {
	textBefore, htmlBefore := len(s.text), len(s.html)
	for i, p := range parts {
		if p.SubParts != nil {
			sub := strings.TrimPrefix(p.Type, "multipart/")
			s.sort(p.SubParts, sub, inAlternative || sub == "alternative", toText, toHTML)
			continue
		}
		if !isInline(p, i, subtype) {
			s.attachments = append(s.attachments, p)
			continue
		}
		if subtype == "alternative" {
			s.sortAlternative(p, toText, toHTML)
			continue
		}
		if inAlternative && p.Type == "text/plain" {
			toHTML = false
		}
		if inAlternative && p.Type == "text/html" {
			toText = false
		}
		if toText {
			s.text = append(s.text, p)
		}
		if toHTML {
			s.html = append(s.html, p)
		}
		if (!toText || !toHTML) && isInlineMedia(p.Type) {
			s.attachments = append(s.attachments, p)
		}
	}
	if subtype == "alternative" && toText && toHTML {
		s.shareOnlyAlternative(textBefore, htmlBefore)
	}
}

// sortAlternative puts an inline leaf of a multipart/alternative where its type says.
func (s *bodySorter) sortAlternative(p *BodyPart, toText, toHTML bool) {
	switch {
	case p.Type == "text/plain" && toText:
		s.text = append(s.text, p)
	case p.Type == "text/html" && toHTML:
		s.html = append(s.html, p)
	case p.Type == "text/plain" || p.Type == "text/html":
		// The list of this type is closed here, and the text is the other list's alternative.
	default:
		s.attachments = append(s.attachments, p)
	}
}

// shareOnlyAlternative gives both lists what only one of them got from a multipart/alternative.
func (s *bodySorter) shareOnlyAlternative(textBefore, htmlBefore int) {
	newText, newHTML := s.text[textBefore:], s.html[htmlBefore:]
	switch {
	case len(newText) == 0 && len(newHTML) > 0:
		s.text = append(s.text, newHTML...)
	case len(newHTML) == 0 && len(newText) > 0:
		s.html = append(s.html, newText...)
	}
}

// isInline tells a part of the body from an attachment: the i-th part of a multipart of this subtype.
func isInline(p *BodyPart, i int, subtype string) bool {
	if p.Disposition != nil && *p.Disposition == "attachment" {
		return false
	}
	if p.Type != "text/plain" && p.Type != "text/html" && !isInlineMedia(p.Type) {
		return false
	}
	return i == 0 || subtype != "related" && (isInlineMedia(p.Type) || p.Name == nil || *p.Name == "")
}

func isInlineMedia(mediaType string) bool {
	for _, top := range []string{"image/", "audio/", "video/"} {
		if strings.HasPrefix(mediaType, top) {
			return true
		}
	}
	return false
}

func properties(parts []*BodyPart) []BodyProperties {
	list := make([]BodyProperties, len(parts))
	for i, p := range parts {
		list[i] = p.BodyProperties
	}
	return list
}
