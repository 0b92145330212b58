package extract

import (
	"strconv"
	"strings"

	"lsmtpd/schema"
)

// How many octets of a field value are interpreted: that may cost a hundred
// times what it costs to read them.
const (
	maxList  = 64 << 10 // of a list of addresses or identifiers
	maxValue = 16 << 10 // of others
)

// Describe sets the properties of e that come from header fields: headers,
// messageId, inReplyTo, references, from, sender, to, cc, bcc, replyTo,
// subject and sentAt. Of a field that occurs again the last counts, as RFC 8621
// §4.1.3 has it. What cannot be read is nil, and a problem. Only the beginning
// is read of a list longer than 64 KiB, and of a Subject longer than 16 KiB.
func (h *Header) Describe(e *schema.Email) []schema.Problem {
	d := describer{charsets: h.charsets}
	for i := range h.raw {
		if at := describedField(h.raw[i].Name); at >= 0 {
			d.repeated[at] = d.repeated[at] || d.values[at] != nil
			d.values[at] = &h.raw[i].Value
		}
	}
	e.Headers = h.Fields
	e.MessageID, e.InReplyTo, e.References = d.messageIDs("Message-ID"), d.messageIDs("In-Reply-To"), d.messageIDs("References")
	e.From, e.Sender, e.To = d.addresses("From"), d.addresses("Sender"), d.addresses("To")
	e.CC, e.BCC, e.ReplyTo = d.addresses("Cc"), d.addresses("Bcc"), d.addresses("Reply-To")
	e.Subject, e.SentAt = nil, nil
	if value, ok := d.value("Subject", maxValue); ok {
		subject := d.charsets.decodeText(value)
		e.Subject = &subject
	}
	if value, ok := d.value("Date", maxValue); ok {
		t, exact, ok := parseDate(value)
		if ok {
			e.SentAt = &t
		}
		if !exact {
			d.problems.add(nil, CodeDateSyntax, "Date:"+value)
		}
	}
	return d.problems.all()
}

// describedFields are the fields that Describe reads.
var describedFields = [...]string{"Message-ID", "In-Reply-To", "References", "From", "Sender", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date"}

// describedByLength are the indices in describedFields of the names of each length.
var describedByLength = func() (list [len("In-Reply-To") + 1][]int) {
	for i, name := range describedFields {
		list[len(name)] = append(list[len(name)], i)
	}
	return list
}()

// describedField is the index in describedFields of a name, or -1.
func describedField(name string) int {
	if len(name) >= len(describedByLength) {
		return -1
	}
	for _, i := range describedByLength[len(name)] {
		if known := describedFields[i]; name[0]|0x20 == known[0]|0x20 && strings.EqualFold(name, known) {
			return i
		}
	}
	return -1
}

// describer reads the fields of a header.
type describer struct {
	charsets *charsets
	problems problems
	values   [len(describedFields)]*string // the last of each
	repeated [len(describedFields)]bool
}

// value is the value of the last field of this name, at most limit octets of it.
func (d *describer) value(name string, limit int) (value string, ok bool) {
	at := describedField(name)
	if d.values[at] == nil {
		return "", false
	}
	if d.repeated[at] {
		d.problems.add(nil, CodeDuplicateField, name+" occurs again; the last counts")
	}
	return d.problems.interpreted(nil, name, *d.values[at], limit), true
}

// interpreted is the value of a field, at most limit octets of it.
func (p *problems) interpreted(partID *string, name, value string, limit int) string {
	if len(value) <= limit {
		return value
	}
	p.add(partID, CodeFieldTooLarge, name+" is read as far as "+strconv.Itoa(limit)+" octets")
	return cutValue(value, limit)
}

// cutValue is the beginning of a value, at most limit octets, without what the
// cut would divide: an item of a list, a word, a character.
func cutValue(value string, limit int) string {
	const longest = 1 << 10
	if len(value) <= limit {
		return value
	}
	end := value[limit-longest : limit]
	if i := strings.LastIndexByte(end, ','); i >= 0 && limit == maxList {
		return value[:limit-longest+i]
	}
	if i := strings.LastIndexAny(end, " \t"); i >= 0 {
		return value[:limit-longest+i]
	}
	return cutString(value, limit)
}

// messageIDs is the list of identifiers in a field, without angle brackets (RFC 8621 §4.1.2.5).
func (d *describer) messageIDs(name string) []string {
	value, ok := d.value(name, maxList)
	if !ok {
		return nil
	}
	list := parseMessageIDs(cleaned(unfolded(value)))
	if list == nil {
		d.problems.add(nil, CodeMessageIDSyntax, name+":"+value)
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
