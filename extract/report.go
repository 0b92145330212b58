package extract

import (
	"bytes"
	"strings"

	"lsmtpd/schema"
)

const (
	// ReportOctets is how many octets of a part Report reads, at most.
	ReportOctets = 64 << 10

	maxReportFields     = 100
	maxReportRecipients = 100
	maxReportValue      = 1024 // octets
)

// reportTypes are the media types that programs read, and what kind of report they make.
var reportTypes = map[string]string{
	"message/delivery-status":                 "delivery-status",
	"message/global-delivery-status":          "delivery-status",
	"message/disposition-notification":        "disposition-notification",
	"message/global-disposition-notification": "disposition-notification",
	"message/feedback-report":                 "feedback-report",
}

// originalTypes are the media types in which a report returns the message it is about, or its header.
var originalTypes = map[string]bool{"message/rfc822": true, "message/global": true, "text/rfc822-headers": true, "message/global-headers": true}

// IsReportPart reports whether Report may want the octets of p.
func IsReportPart(p *schema.BodyPart) bool { return reportTypes[p.Type] != "" || originalTypes[p.Type] }

// Report summarises what a report (RFC 6522) in the message says: a delivery
// status (RFC 3464), a disposition notification (RFC 8098) or a feedback report
// (RFC 5965). It is nil for other messages. Of several the first counts. Octets
// returns the octets a part begins with, at least ReportOctets of them or all.
//
// It is bounded: 100 fields, 100 recipients, and 1024 octets of each value.
// What is left out, and what is no field, is a problem.
func (r *Reader) Report(octets func(partID string) []byte) *schema.Report {
	parent, at := reportIn(r.Structure())
	if parent == nil {
		return nil
	}
	p := parent.SubParts[at]
	x := reportReader{charsets: r.charsets, report: &schema.Report{
		Type: reportTypes[p.Type], PartID: *p.PartID, Fields: []schema.Header{}, Recipients: []schema.ReportRecipient{},
	}}
	x.read(p, octets(*p.PartID))
	for _, original := range parent.SubParts[at+1:] {
		if original.SubParts == nil && originalTypes[original.Type] {
			x.readOriginal(original, octets(*original.PartID))
			break
		}
	}
	if x.flaw != "" {
		r.problems.add(p.PartID, CodeReportSyntax, x.flaw)
	}
	return x.report
}

// reportIn finds the part that programs read, and the multipart it is in. A
// message that is nothing else has none around it.
func reportIn(p *schema.BodyPart) (parent *schema.BodyPart, at int) {
	if p == nil {
		return nil, 0
	}
	if p.SubParts == nil && reportTypes[p.Type] != "" {
		return &schema.BodyPart{SubParts: []*schema.BodyPart{p}}, 0
	}
	for i, sub := range p.SubParts {
		if sub.SubParts == nil {
			if reportTypes[sub.Type] != "" {
				return p, i
			}
		} else if parent, at = reportIn(sub); parent != nil {
			return parent, at
		}
	}
	return nil, 0
}

// reportReader reads the part of a report that is for programs.
type reportReader struct {
	charsets *charsets
	report   *schema.Report
	flaw     string
}

// read reads groups of fields that empty lines divide: the first is about the message, each other about a recipient.
func (x *reportReader) read(p *schema.BodyPart, octets []byte) {
	if octets = octets[:min(len(octets), ReportOctets)]; int64(len(octets)) < p.Size {
		x.flaw = "only its beginning is read"
		octets = octets[:bytes.LastIndexByte(octets, '\n')+1]
	}
	groups := bytes.Split(bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	first := true
	for _, group := range groups {
		fields := parseFields(string(bytes.TrimLeft(group, "\n")))
		if fields.flaws > 0 && x.flaw == "" {
			x.flaw = fields.flaw
		}
		if len(fields.raw) == 0 {
			continue
		}
		if first || x.report.Type != "delivery-status" {
			x.readMessage(fields.raw)
		}
		// QUIRK: some have no empty line between the fields of the message and those of the recipient.
		if !first || x.report.Type != "delivery-status" || has(fields.raw, "Final-Recipient") {
			x.readRecipient(fields.raw)
		}
		first = false
	}
}

// readMessage reads the fields about the message.
func (x *reportReader) readMessage(fields []schema.Header) {
	for _, f := range fields {
		if len(x.report.Fields) >= maxReportFields {
			x.flaw = "more fields than are listed"
			return
		}
		value := x.value(f.Value)
		x.report.Fields = append(x.report.Fields, schema.Header{Name: printable(f.Name, maxName), Value: value})
		if strings.EqualFold(f.Name, "Original-Message-ID") {
			x.original(value)
		}
	}
}

// readRecipient reads the fields about a recipient.
func (x *reportReader) readRecipient(fields []schema.Header) {
	if len(x.report.Recipients) >= maxReportRecipients {
		x.flaw = "more recipients than are listed"
		return
	}
	var to schema.ReportRecipient
	var more []schema.ReportRecipient
	set := func(p **string, value string) {
		if value != "" && *p == nil {
			*p = &value
		}
	}
	for _, f := range fields {
		value := x.value(f.Value)
		switch strings.ToLower(f.Name) {
		case "final-recipient":
			set(&to.FinalRecipient, reportAddress(value))
		case "original-rcpt-to": // of a feedback report, once for each (RFC 5965 §3.2)
			if address := reportAddress(value); to.OriginalRecipient != nil {
				more = append(more, schema.ReportRecipient{OriginalRecipient: &address})
			} else {
				set(&to.OriginalRecipient, address)
			}
		case "original-recipient":
			set(&to.OriginalRecipient, reportAddress(value))
		case "action":
			set(&to.Action, strings.ToLower(value))
		case "disposition":
			set(&to.Action, dispositionType(value))
		case "status":
			status, _, _ := strings.Cut(value, " ")
			set(&to.Status, status)
		case "diagnostic-code":
			set(&to.DiagnosticCode, untyped(value))
		case "remote-mta":
			set(&to.RemoteMTA, untyped(value))
		}
	}
	if to != (schema.ReportRecipient{}) {
		x.report.Recipients = append(x.report.Recipients, to)
	}
	room := maxReportRecipients - len(x.report.Recipients)
	x.report.Recipients = append(x.report.Recipients, more[:min(len(more), room)]...)
}

// readOriginal reads the identifier of the message the report is about.
func (x *reportReader) readOriginal(p *schema.BodyPart, octets []byte) {
	x.report.OriginalPartID = p.PartID
	if x.report.OriginalMessageID != nil {
		return
	}
	octets = octets[:min(len(octets), ReportOctets)]
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(octets, []byte(end)); i >= 0 {
			octets = octets[:i+2]
		}
	}
	for _, f := range parseFields(string(octets)).raw {
		if strings.EqualFold(f.Name, "Message-ID") {
			x.original(x.value(f.Value))
			return
		}
	}
}

func (x *reportReader) original(value string) {
	if ids := parseMessageIDs(value); len(ids) > 0 && x.report.OriginalMessageID == nil {
		x.report.OriginalMessageID = &ids[0]
	}
}

// value is a field value, unfolded, decoded and bounded.
func (x *reportReader) value(s string) string {
	return strings.TrimSpace(printable(x.charsets.decodeText(cutString(s, 4*maxReportValue)), maxReportValue))
}

// untyped is what follows the type in "smtp; 550 no such user".
func untyped(s string) string {
	kind, rest, found := strings.Cut(s, ";")
	if !found || !isToken(strings.TrimSpace(kind)) {
		return s
	}
	return strings.TrimSpace(rest)
}

// reportAddress is the address in "rfc822; <a@example.org>".
func reportAddress(s string) string {
	s = strings.TrimSpace(stripComments(untyped(s)))
	if rest, ok := strings.CutPrefix(s, "<"); ok {
		s = strings.TrimSuffix(rest, ">")
	}
	return s
}

// dispositionType is "displayed" of "manual-action/MDN-sent-manually; displayed/error".
func dispositionType(s string) string {
	s, _, _ = strings.Cut(untypedDisposition(s), "/")
	return strings.ToLower(strings.TrimSpace(s))
}

func untypedDisposition(s string) string {
	if _, rest, found := strings.Cut(s, ";"); found {
		return rest
	}
	return s
}

func has(fields []schema.Header, name string) bool {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}
