package schema

import (
	"strings"
	"time"
)

// Properties is what of a message stands in the AMQP 1.0 properties section (§3.2.4), beside its address.
type Properties struct {
	MessageID     string // the delivery's id, an AMQP string
	Subject       string // the route's; "" for none
	CorrelationID string // the Message-ID, where it is fit for one; "" for none
	ContentType   string
	GroupID       string // the route's; "" for none
	CreationTime  time.Time
}

// EventType is the CloudEvents type of a published message.
const EventType = "lsmtpd.email.received.v1"

// maxCorrelationID is the largest Message-ID used as correlation-id; Azure Service Bus takes no longer identifiers.
const maxCorrelationID = 128

// maxDomain is the largest domain name, RFC 5321 §4.5.3.1.2.
const maxDomain = 255

// Properties returns what stands in the properties section for this message.
func (m *Message) Properties() Properties {
	p := Properties{MessageID: m.ID, ContentType: ContentType, CreationTime: m.Email.ReceivedAt}
	if len(m.Email.MessageID) > 0 && isPrintable(m.Email.MessageID[0]) && len(m.Email.MessageID[0]) <= maxCorrelationID {
		p.CorrelationID = m.Email.MessageID[0]
	}
	return p
}

// ApplicationProperties returns the application properties: the CloudEvents 1.0
// attributes with the prefix that JMS can read, and the closed list of
// properties for selectors. Source is the CloudEvents source, "//HOST/lsmtpd".
// What derives from the sender is bounded in length and printable ASCII.
func (m *Message) ApplicationProperties(source string) map[string]any {
	p := map[string]any{
		"cloudEvents_specversion": "1.0",
		"cloudEvents_id":          m.ID,
		"cloudEvents_type":        EventType,
		"cloudEvents_source":      source,
		"cloudEvents_time":        m.Email.ReceivedAt.UTC().Format(time.RFC3339Nano),
		"cloudEvents_dataschema":  ID,
		"hasAttachment":           m.Email.HasAttachment,
		"size":                    m.Email.Size,
	}
	if d := domain(m.Envelope.MailFrom.Email); d != "" {
		p["mailFromDomain"] = d
	}
	if d := m.Envelope.sharedDomain(); d != "" {
		p["rcptDomain"] = d
	}
	return p
}

// sharedDomain is the domain of all recipients, "" where they have several.
func (e *Envelope) sharedDomain() string {
	shared := ""
	for i, r := range e.RcptTo {
		d := domain(r.Email)
		if i > 0 && d != shared {
			return ""
		}
		shared = d
	}
	return shared
}

// domain is the domain of a mailbox in lower case, "" where there is none that is fit for a property.
func domain(mailbox string) string {
	at := strings.LastIndexByte(mailbox, '@')
	if at < 0 || len(mailbox)-at-1 > maxDomain || !isPrintable(mailbox[at+1:]) {
		return ""
	}
	return strings.ToLower(mailbox[at+1:])
}

// isPrintable reports whether s is printable ASCII without blanks.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
