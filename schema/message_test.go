package schema_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

const (
	testID            = "019ab0ed-52a1-7c3e-9d10-6f2b8a4c1e07"
	testTransactionID = "019ab0ed-5289-7aa4-8b3f-0c1d2e3f4a5b"
)

// bareMessage has nothing that may be absent: an empty text from nobody.
func bareMessage() *schema.Message {
	part := schema.BodyProperties{PartID: new("1"), BlobID: new("b1"), Type: "text/plain"}
	return &schema.Message{
		Schema: schema.ID, ID: testID, TransactionID: testTransactionID,
		Envelope: schema.Envelope{Protocol: "SMTP", RcptTo: []schema.Address{{Email: "in@example.com"}}},
		Email: schema.Email{
			ReceivedAt:    time.Date(2026, 11, 23, 12, 46, 1, 123e6, time.UTC),
			Headers:       []schema.Header{},
			BodyStructure: &schema.BodyPart{BodyProperties: part, Headers: []schema.Header{}},
			TextBody:      []schema.BodyProperties{}, HTMLBody: []schema.BodyProperties{}, Attachments: []schema.BodyProperties{},
			BodyValues: map[string]schema.BodyValue{},
		},
		Blobs:    map[string]schema.Blob{"b1": {Inline: []byte{}}},
		Problems: []schema.Problem{},
	}
}

// filledMessage has something in every member. It shows the types, not a message that could be.
func filledMessage() *schema.Message {
	sum := new(strings.Repeat("0123456789abcdef", 4))
	leaf := func(id, mediaType string, size int64) *schema.BodyPart {
		return &schema.BodyPart{
			BodyProperties: schema.BodyProperties{
				PartID: &id, BlobID: new(schema.BlobID(id)), Size: size, Name: new("<ä & ö>.txt"), Type: mediaType, Charset: new("utf-8"),
				Disposition: new("inline"), CID: new("a@b"), Language: []string{"de", "en"}, Location: new("https://example.org/"),
			},
			Headers: []schema.Header{{Name: "Content-Type", Value: " " + mediaType}},
		}
	}
	related := &schema.BodyPart{
		BodyProperties: schema.BodyProperties{Type: "multipart/related"},
		Headers:        []schema.Header{}, SubParts: []*schema.BodyPart{leaf("2.1", "text/html", 3), leaf("2.2", "image/png", 4)},
	}
	root := &schema.BodyPart{
		BodyProperties: schema.BodyProperties{Type: "multipart/alternative"},
		Headers:        []schema.Header{}, SubParts: []*schema.BodyPart{leaf("1", "text/plain", 2), related},
	}
	mailboxes := []schema.EmailAddress{{Name: new("A"), Email: "a@example.org"}, {Email: "b@example.org"}}
	m := &schema.Message{
		Schema: schema.ID, ID: testID, TransactionID: testTransactionID,
		Envelope: schema.Envelope{
			MailFrom: schema.Address{Email: "a@example.org", Parameters: map[string]*string{"size": new("123"), "smtputf8": nil}},
			RcptTo:   []schema.Address{{Email: "in@example.com", Parameters: map[string]*string{"notify": new("NEVER")}}},
			Helo:     "mx.example.org", ClientAddress: "192.0.2.1", Protocol: "ESMTPSA",
			TLS: &schema.TLS{Version: "TLS 1.3", CipherSuite: "TLS_AES_128_GCM_SHA256"}, AuthenticatedAs: new("anna"),
		},
		Email: schema.Email{
			BlobID: new(schema.RawBlobID), Size: 123456, SHA256: sum, ReceivedAt: time.Date(2026, 11, 23, 12, 46, 1, 123e6, time.UTC),
			Headers: []schema.Header{{Name: "Subject", Value: " <S> & T"}}, HeadersBlobID: new(schema.HeadersBlobID), HeadersTruncated: true,
			MessageID: []string{"1@example.org"}, InReplyTo: []string{"2@example.org"}, References: []string{"3@example.org", "2@example.org"},
			From: mailboxes, Sender: mailboxes[:1], To: mailboxes, CC: mailboxes, BCC: mailboxes, ReplyTo: mailboxes,
			Subject: new("<S> & T"), SentAt: new(time.Date(2026, 11, 23, 13, 46, 0, 0, time.FixedZone("", 3600))),
			Preview: "a <b> & c", BodyStructure: root,
			BodyValues: map[string]schema.BodyValue{"1": {Value: "a\n"}, "2.1": {Value: "<b>", IsEncodingProblem: true, IsTruncated: true}},
		},
		Blobs: map[string]schema.Blob{
			"b1":   {Size: 3, SHA256: sum, Value: new("1")},
			"b2":   {Size: 4, SHA256: sum, Inline: []byte("\x00\xff<&")},
			"b3":   {Size: 5, SHA256: sum, Stored: &schema.Stored{URL: "s3://mail/p&q/1", Bucket: new("mail"), Key: "p&q/1", ETag: new("e"), VersionID: new("v")}},
			"b2.1": {Stored: &schema.Stored{URL: "file:///srv/1", Key: "1"}},
		},
		Problems: []schema.Problem{{PartID: new("2.1"), Code: "base64-garbage", Detail: "<&>"}, {Code: "more-problems", Detail: "7 more"}},
	}
	m.Email.SortBody()
	return m
}

// filledJSON is filledMessage as JSON that a test may change.
func filledJSON(t *testing.T) any {
	t.Helper()
	data, err := filledMessage().Encode()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, data)
}

func TestLeaves(t *testing.T) {
	var ids []string
	for p := range filledMessage().Email.BodyStructure.Leaves() {
		ids = append(ids, *p.PartID)
	}
	if want := []string{"1", "2.1", "2.2"}; !slices.Equal(ids, want) {
		t.Errorf("got leaves %q, want %q", ids, want)
	}
	for range (*schema.BodyPart)(nil).Leaves() {
		t.Error("no structure has a leaf")
	}
	for p := range filledMessage().Email.BodyStructure.Leaves() {
		if *p.PartID != "1" {
			t.Errorf("part %q after the loop was left", *p.PartID)
		}
		break
	}
}

func TestBodyValueOctets(t *testing.T) {
	for value, want := range map[string]string{"": "", "a": "a", "ä\nb\n": "ä\r\nb\r\n", "\n\n": "\r\n\r\n", "a\rb\n": "a\rb\r\n"} {
		if got := (schema.BodyValue{Value: value}).Octets(); string(got) != want {
			t.Errorf("octets of %q: got %q, want %q", value, got, want)
		}
	}
}

func TestBlobID(t *testing.T) {
	got := []string{schema.BlobID("1"), schema.BlobID("2.1")}
	if diff := cmp.Diff([]string{"b1", "b2.1"}, got); diff != "" {
		t.Error(diff)
	}
}
