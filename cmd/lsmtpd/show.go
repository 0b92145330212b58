package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"lsmtpd/schema"
)

// show prints m for a person. What a sender wrote cannot steer the terminal.
func show(w io.Writer, m *schema.Message) error {
	b := bufio.NewWriter(w)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(b, "  %-10s %s\n", label, harmless(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(b, "Message %s\n", harmless(m.ID))
	row("received", "%s, %s from %s (%s)", m.Email.ReceivedAt.Format(time.DateTime+" MST"), m.Envelope.Protocol, m.Envelope.ClientAddress, m.Envelope.Helo)
	row("envelope", "<%s> to %s", m.Envelope.MailFrom.Email, recipients(m.Envelope.RcptTo))
	if len(m.Email.From) > 0 {
		row("from", "%s", mailboxes(m.Email.From))
	}
	if m.Email.Subject != nil {
		row("subject", "%s", *m.Email.Subject)
	}
	row("size", "%s", size(m.Email.Size))
	if m.Email.Preview != "" {
		row("text", "%s", m.Email.Preview)
	}
	showParts(m, m.Email.BodyStructure, row)
	if raw, kept := m.Blobs[schema.RawBlobID]; kept && raw.Stored != nil {
		row("raw", "%s", raw.Stored.URL)
	}
	for _, p := range m.Problems {
		where := "message"
		if p.PartID != nil {
			where = "part " + *p.PartID
		}
		row("problem", "%s: %s: %s", where, p.Code, p.Detail)
	}
	return b.Flush()
}

// showParts prints the leaf parts, each with where its octets are.
func showParts(m *schema.Message, p *schema.BodyPart, row func(string, string, ...any)) {
	if p == nil {
		return
	}
	for _, sub := range p.SubParts {
		showParts(m, sub, row)
	}
	if p.PartID == nil || p.BlobID == nil {
		return
	}
	blob := m.Blobs[*p.BlobID]
	name := ""
	if p.Name != nil {
		name = fmt.Sprintf(" %q", *p.Name)
	}
	where := "in the envelope"
	if blob.Stored != nil {
		where = blob.Stored.URL
	}
	row("part "+*p.PartID, "%s%s, %s, %s", p.Type, name, size(p.Size), where)
	if blob.Stored != nil && blob.SHA256 != nil {
		row("", "sha256 %s", *blob.SHA256)
	}
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// shownRecipients is how many recipients are named.
const shownRecipients = 3

func recipients(list []schema.Address) string {
	var names []string
	for _, a := range list[:min(len(list), shownRecipients)] {
		names = append(names, "<"+a.Email+">")
	}
	if more := len(list) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func mailboxes(list []schema.EmailAddress) string {
	var names []string
	for _, a := range list[:min(len(list), shownRecipients)] {
		if a.Name != nil {
			names = append(names, *a.Name+" <"+a.Email+">")
			continue
		}
		names = append(names, a.Email)
	}
	return strings.Join(names, ", ")
}

// harmless replaces what a terminal would act on, or what would make text look like other text.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
