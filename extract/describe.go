package extract

import (
	"strings"

	"lsmtpd/schema"
)

// Describe sets the properties of e that come from header fields: headers,
// messageId, inReplyTo, references, from, sender, to, cc, bcc, replyTo,
// subject and sentAt. Of a field that occurs again the last counts, as RFC 8621
// §4.1.3 has it. What cannot be read is nil, and a problem.
func (h *Header) Describe(e *schema.Email) []schema.Problem {
	var p problems
	e.Headers = h.Fields
	ids := func(name string) []string { return h.messageIDs(&p, name) }
	e.MessageID, e.InReplyTo, e.References = ids("Message-ID"), ids("In-Reply-To"), ids("References")
	addresses := func(name string) []schema.EmailAddress { return h.addresses(&p, name) }
	e.From, e.Sender, e.To = addresses("From"), addresses("Sender"), addresses("To")
	e.CC, e.BCC, e.ReplyTo = addresses("Cc"), addresses("Bcc"), addresses("Reply-To")
	e.Subject, e.SentAt = nil, nil
	if value, ok := h.last(&p, "Subject"); ok {
		subject := h.charsets.decodeText(value)
		e.Subject = &subject
	}
	if value, ok := h.last(&p, "Date"); ok {
		t, exact, ok := parseDate(value)
		if ok {
			e.SentAt = &t
		}
		if !exact {
			p.add(nil, CodeDateSyntax, "Date:"+value)
		}
	}
	return p.all()
}

// last is the value of the last field of this name.
func (h *Header) last(p *problems, name string) (value string, ok bool) {
	for i := range h.raw {
		if len(h.raw[i].Name) == len(name) && strings.EqualFold(h.raw[i].Name, name) {
			if ok {
				p.add(nil, CodeDuplicateField, name+" occurs again; the last counts")
			}
			value, ok = h.raw[i].Value, true
		}
	}
	return value, ok
}

// messageIDs is the list of identifiers in a field, without angle brackets (RFC 8621 §4.1.2.5).
func (h *Header) messageIDs(p *problems, name string) []string {
	value, ok := h.last(p, name)
	if !ok {
		return nil
	}
	list := parseMessageIDs(cleaned(unfolded(value)))
	if list == nil {
		p.add(nil, CodeMessageIDSyntax, name+":"+value)
	}
	return list
}

// parseMessageIDs finds all that stands in angle brackets; without any, all words.
// QUIRK: RFC 5322 §3.6.4 wants the brackets, "@" and no blanks; real identifiers lack each.
func parseMessageIDs(s string) []string {
	var list []string
	for rest := s; ; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		id, after, ok := strings.Cut(after, ">")
		if !ok {
			break
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" {
			list = append(list, id)
		}
		rest = after
	}
	if list == nil {
		for _, id := range strings.Fields(stripComments(s)) {
			if id = strings.Trim(id, "<>,;"); id != "" {
				list = append(list, id)
			}
		}
	}
	return list
}
