package extract

import (
	"net/mail"
	"strings"
	"time"

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
		subject := decodeText(value)
		e.Subject = &subject
	}
	if value, ok := h.last(&p, "Date"); ok {
		if t, ok := parseDate(value); ok {
			e.SentAt = &t
		} else {
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

// dateLayouts are the forms of a Date seen besides those of RFC 5322.
var dateLayouts = []string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02 15:04:05",
	"Mon Jan 2 15:04:05 2006",
	"Mon Jan 2 15:04:05 MST 2006",
	"Mon Jan 2 15:04:05 -0700 2006",
	"Mon Jan 2 15:04:05 2006 -0700",
	"2 Jan 2006 15:04:05",
	"2 Jan 2006 15:04",
	"2 Jan 2006",
	"2-Jan-2006 15:04:05 -0700",
	"2 January 2006 15:04:05 -0700",
	"2 Jan 2006 3:04:05 PM -0700",
	"Jan 2 2006 15:04:05 -0700",
	"Jan 2 2006 15:04:05",
}

const maxDate = 256 // octets of a Date that are looked at

// parseDate reads a Date (RFC 5322 §3.3 and §4.3), and forms like it. A date
// without a zone is UTC. Years beyond 1 to 9999 are refused: JSON has none.
func parseDate(value string) (time.Time, bool) {
	s := strings.TrimSpace(unfolded(value))
	if len(s) > maxDate {
		return time.Time{}, false
	}
	t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", s) // nearly all
	if err != nil {
		t, err = mail.ParseDate(s)
	}
	if err != nil {
		s = plainDate(s)
		t, err = mail.ParseDate(s)
	}
	for i := 0; i < len(dateLayouts) && err != nil; i++ {
		t, err = time.Parse(dateLayouts[i], s)
	}
	if err != nil {
		return time.Time{}, false
	}
	_, offset := t.Zone()
	year, utc := t.Year(), t.UTC().Year()
	if year < 1 || year > 9999 || utc < 1 || utc > 9999 || offset <= -24*3600 || offset >= 24*3600 {
		return time.Time{}, false
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.FixedZone("", offset)), true
}

// plainDate takes comments, doubled blanks, and the day of the week before a
// comma out of a date, and gives a zone by its sign alone.
func plainDate(s string) string {
	s = strings.Join(strings.Fields(stripComments(s)), " ")
	if day, rest, ok := strings.Cut(s, ","); ok && !strings.ContainsAny(day, " 0123456789") {
		s = strings.TrimSpace(rest)
	} else if i := strings.IndexByte(s, ' '); i > 0 && i < len(s)-1 && s[i+1] >= '0' && s[i+1] <= '9' && len(day) > 3 && isWeekday(s[:i]) {
		s = s[i+1:]
	}
	s = strings.ReplaceAll(s, ", ", " ")
	for _, zone := range []string{"GMT", "UTC", "UT"} {
		if rest, ok := strings.CutSuffix(s, " "+zone); ok {
			return rest + " +0000"
		}
		s = strings.Replace(s, " "+zone+"+", " +", 1)
		s = strings.Replace(s, " "+zone+"-", " -", 1)
	}
	if i := strings.LastIndexAny(s, "+-"); i > 0 && len(s)-i == len("+01:00") && s[i+3] == ':' && !strings.Contains(s, "T") {
		s = s[:i+3] + s[i+4:]
	}
	return s
}

func isWeekday(s string) bool {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if len(s) >= 3 && strings.EqualFold(d.String()[:3], s[:3]) {
			return true
		}
	}
	return false
}
