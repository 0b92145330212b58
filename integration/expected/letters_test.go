//go:build integration

package expected

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/mail"
	"net/textproto"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"lsmtpd/schema"
)

// lettersExceptions are the differences from letters on purpose.
var lettersExceptions = exceptions{
	{
		message: "test_polish_*", what: "Headers.*",
		ours: func(want string) string { return displayNames.ReplaceAllString(want, `"Name":"\"$1\""`) },
		reason: "The names are encoded words of a text in quotation marks. An encoded word is decoded after the field has been taken apart " +
			"(RFC 2047 §6.2), so they are characters of the name, and RFC 8621 §4.1.2.3 drops the marks of a quoted-string only. " +
			"letters decodes first and then takes what it got apart.",
	},
}

// displayNames finds the names in addresses as shown.
var displayNames = regexp.MustCompile(`"Name":"([^"]*)"`)

// TestLetters compares what lsmtpd reads from each message with the whole structure that letters' test of it expects.
func TestLetters(t *testing.T) {
	dir := moduleDir(t, lettersModule)
	expectations := readLetters(t, dir)
	messages, err := filepath.Glob(filepath.Join(dir, "tests", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) != 162 || len(expectations.emails) != len(messages) {
		t.Fatalf("got %d expectations of %d messages, want 162 of 162", len(expectations.emails), len(messages))
	}
	compared, ran := 0, 0
	for _, path := range expectations.paths() {
		message := filepath.Base(path)
		t.Run(message, func(t *testing.T) {
			got := asLetters(t, readFile(t, filepath.Join(dir, path)))
			compared += compareFields(t, message, "", reflect.ValueOf(got), reflect.ValueOf(expectations.emails[path]))
			ran++
		})
	}
	if ran == len(messages) {
		lettersExceptions.allApply(t)
	}
	t.Logf("%d messages, %d values compared; %d cases of letters' own filters left out", len(messages), compared, expectations.leftOut)
}

// compareFields compares two values of a type of letters field by field, and returns how many values that was.
func compareFields(t *testing.T, message, what string, got, want reflect.Value) int {
	t.Helper()
	switch {
	case got.Type() == reflect.TypeFor[time.Time]():
	case got.Kind() == reflect.Struct:
		n := 0
		for i := range got.NumField() {
			n += compareFields(t, message, strings.TrimPrefix(what+"."+got.Type().Field(i).Name, "."), got.Field(i), want.Field(i))
		}
		return n
	case got.Type() == reflect.TypeFor[[]lettersFile]() && got.Len() == want.Len():
		n := 1
		for i := range got.Len() {
			n += compareFields(t, message, fmt.Sprintf("%s[%d]", what, i), got.Index(i), want.Index(i))
		}
		return n
	}
	lettersExceptions.check(t, message, what, shown(got), shown(want))
	return 1
}

// shown is a value as text. An empty slice or map is none: letters has both.
func shown(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0:
		return "none"
	}
	octets, err := json.Marshal(v.Interface())
	if err != nil {
		return err.Error()
	}
	return string(octets)
}

// asLetters gives what lsmtpd read the form of letters. What there is no property for is read from the header fields
// in their Raw form: letters' test is then that nothing of them was lost or changed.
func asLetters(t *testing.T, r *reading) lettersEmail {
	e := lettersEmail{Headers: lettersHeadersOf(t, r)}
	for _, p := range r.files() {
		f := lettersFile{
			ContentID:          orEmpty(p.CID),
			ContentType:        lettersContentType{p.Type, lettersParameters(r.headersOf(p), "Content-Type")},
			ContentDisposition: lettersDisposition{orEmpty(p.Disposition), lettersParameters(r.headersOf(p), "Content-Disposition")},
			Name:               orEmpty(p.Name),
			Data:               r.octets[*p.PartID],
		}
		// Convention of letters: without a disposition, what is not text in a multipart/related is an inline file,
		// text/enriched is one of the texts, and all else is an attached file.
		parent := r.parent[*p.PartID]
		switch inRelated := parent != nil && parent.Type == "multipart/related"; {
		case p.Disposition == nil && p.Type == "text/enriched":
			e.EnrichedText += r.text(&p.BodyProperties)
		case orEmpty(p.Disposition) == "inline" || p.Disposition == nil && inRelated:
			e.InlineFiles = append(e.InlineFiles, f)
		default:
			f.ContentID = "" // letters keeps it of inline files only
			e.AttachedFiles = append(e.AttachedFiles, f)
		}
	}
	// Convention of letters: a message that has only plain text, or only HTML, has just that. In RFC 8621 it then is in both lists.
	e.Text = strings.Join(r.texts(r.TextBody, "text/plain"), "\n\n")
	e.HTML = strings.Join(r.texts(r.HTMLBody, "text/html"), "")
	// Convention of letters: texts begin and end without line ends and blanks.
	for _, text := range []*string{&e.Text, &e.EnrichedText, &e.HTML} {
		*text = strings.Trim(*text, "\n ")
	}
	return e
}

// headersOf are the header fields of a part; those of the root are the message's.
func (r *reading) headersOf(p *schema.BodyPart) []schema.Header {
	if p == r.BodyStructure {
		return r.Headers
	}
	return p.Headers
}

// lettersParameters are the parameters of a field. Convention of letters: the values of three of them are in lower case.
func lettersParameters(headers []schema.Header, name string) map[string]string {
	value, _ := field(headers, name)
	_, params, _ := mime.ParseMediaType(value)
	for _, p := range []string{"charset", "micalg", "protocol"} {
		if params[p] != "" {
			params[p] = strings.ToLower(params[p])
		}
	}
	return params
}

func lettersHeadersOf(t *testing.T, r *reading) lettersHeaders {
	resent := resentFields(t, r)
	h := lettersHeaders{
		Date: dateOrZero(r.SentAt), Sender: firstOf(r.Sender),
		From: mailAddresses(r.From), ReplyTo: mailAddresses(r.ReplyTo),
		To: mailAddresses(r.To), Cc: mailAddresses(r.CC), Bcc: mailAddresses(r.BCC),
		MessageID: strings.Join(r.MessageID, " "), InReplyTo: r.InReplyTo, References: r.References,
		Subject:    orEmpty(r.Subject),
		ResentDate: dateOrZero(resent.SentAt), ResentSender: firstOf(resent.Sender),
		ResentFrom: mailAddresses(resent.From), ResentTo: mailAddresses(resent.To),
		ResentCc: mailAddresses(resent.CC), ResentBcc: mailAddresses(resent.BCC),
		ResentMessageID:    strings.Join(resent.MessageID, " "),
		ContentType:        lettersContentType{r.BodyStructure.Type, lettersParameters(r.Headers, "Content-Type")},
		ContentDisposition: lettersDisposition{orEmpty(r.BodyStructure.Disposition), lettersParameters(r.Headers, "Content-Disposition")},
		ExtraHeaders:       map[string][]string{},
	}
	for _, f := range r.Headers {
		switch name := textproto.CanonicalMIMEHeaderKey(f.Name); name {
		case "Comments":
			h.Comments = decoded(t, f.Value)
		case "Keywords":
			for _, keyword := range strings.Split(decoded(t, f.Value), ",") {
				h.Keywords = append(h.Keywords, strings.TrimSpace(keyword))
			}
		case "Date", "Sender", "From", "Reply-To", "To", "Cc", "Bcc", "Message-Id", "In-Reply-To", "References", "Subject",
			"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc", "Resent-Message-Id",
			"Content-Transfer-Encoding", "Content-Type", "Content-Disposition":
		default:
			h.ExtraHeaders[name] = append(h.ExtraHeaders[name], decoded(t, f.Value))
		}
	}
	return h
}

// resentFields reads the Resent- fields as if they were the ones of the message.
func resentFields(t *testing.T, r *reading) *reading {
	var block strings.Builder
	for _, f := range r.Headers {
		if len(f.Name) > 7 && strings.EqualFold(f.Name[:7], "Resent-") {
			block.WriteString(f.Name[7:] + ":" + f.Value + "\r\n")
		}
	}
	return readMessage(t, []byte(block.String()+"\r\n"))
}

// decoded is the text of a field in the Raw form, as lsmtpd would read it in the subject.
func decoded(t *testing.T, raw string) string {
	return orEmpty(readMessage(t, []byte("Subject:"+raw+"\r\n\r\n")).Subject)
}

func dateOrZero(date *time.Time) time.Time {
	if date == nil {
		return time.Time{}
	}
	return *date
}

// mailAddresses are addresses as letters has them.
func mailAddresses(list []schema.EmailAddress) []*mail.Address {
	var addresses []*mail.Address
	for _, a := range list {
		addresses = append(addresses, &mail.Address{Name: orEmpty(a.Name), Address: a.Email})
	}
	return addresses
}

func firstOf(list []schema.EmailAddress) *mail.Address {
	if len(list) == 0 {
		return nil
	}
	return mailAddresses(list[:1])[0]
}
