package bridge_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/schema"
)

// crlf makes a message of lines.
func crlf(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

// take delivers body and returns the one message that was published of it, which is valid by the JSON Schema.
func (b *bed) take(body []byte) *schema.Message {
	b.t.Helper()
	b.broker.Purge(address)
	if got := b.deliver(bytes.NewReader(body)); got != "250" {
		b.t.Fatalf("reply %q", got)
	}
	b.validate()
	list := b.published()
	if len(list) != 1 {
		b.t.Fatalf("%d messages published, want 1", len(list))
	}
	m := list[0]
	sum := sha256.Sum256(body)
	if m.Email.Size != int64(len(body)) || m.Email.SHA256 == nil || *m.Email.SHA256 != hex.EncodeToString(sum[:]) {
		b.t.Errorf("size %d and sha256 %v of the message, want %d and %x", m.Email.Size, m.Email.SHA256, len(body), sum)
	}
	for id, blob := range m.Blobs {
		octets := b.octets(m, id)
		sum := sha256.Sum256(octets)
		if int64(len(octets)) != blob.Size || blob.SHA256 == nil || *blob.SHA256 != hex.EncodeToString(sum[:]) {
			b.t.Errorf("blob %s: %d octets with sha256 %x; the message says %d and %v", id, len(octets), sum, blob.Size, blob.SHA256)
		}
	}
	for leaf := range m.Email.BodyStructure.Leaves() {
		if leaf.BlobID == nil || m.Blobs[*leaf.BlobID].Size != leaf.Size {
			b.t.Errorf("leaf %+v has no blob of its size", leaf.BodyProperties)
		}
	}
	return m
}

// validate holds everything in the queue against the JSON Schema.
func (b *bed) validate() {
	b.t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema))
	if err != nil {
		b.t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schema.ID, doc); err != nil {
		b.t.Fatal(err)
	}
	s, err := c.Compile(schema.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, raw := range b.broker.Messages(address) {
		body, err := raw.Data()
		if err != nil {
			b.t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			b.t.Errorf("published message: %v\n%.2000s", err, body)
		}
	}
}

func TestPublishedMessage(t *testing.T) {
	long := strings.Repeat("0123456789 grüße\r\n", 10_000) // 190 KB: longer than the threshold
	tests := []struct {
		name  string
		body  []byte
		check func(t *testing.T, b *bed, m *schema.Message)
	}{
		{"empty", nil, func(t *testing.T, _ *bed, m *schema.Message) {
			if len(m.Email.Headers) != 0 || len(m.Blobs) != 1 || m.Blobs["b1"].Size != 0 {
				t.Errorf("headers %v, blobs %v", m.Email.Headers, m.Blobs)
			}
		}},
		{"header only", crlf("Subject: no body"), func(t *testing.T, _ *bed, m *schema.Message) {
			if m.Email.Subject == nil || *m.Email.Subject != "no body" || m.Email.BodyStructure.Size != 0 {
				t.Errorf("subject %v, structure %+v", m.Email.Subject, m.Email.BodyStructure)
			}
		}},
		{"text is sent once", crlf("Content-Type: text/plain; charset=utf-8", "", "Grüße", "", "x"), func(t *testing.T, _ *bed, m *schema.Message) {
			if v := m.Email.BodyValues["1"]; v.Value != "Grüße\n\nx\n" || v.IsTruncated || v.IsEncodingProblem {
				t.Errorf("bodyValue %+v", v)
			}
			if m.Blobs["b1"].Value == nil {
				t.Errorf("blob %+v, want a value", m.Blobs["b1"])
			}
		}},
		{"types that were not said", crlf("Content-Type: multipart/mixed; boundary=x", "", "--x", "Content-Type: application/octet-stream; name=a", "", "%PDF-1.7", "--x", "Content-Type: application/pdf", "", "\x00\x01\x02", "--x", "", "--x--"),
			func(t *testing.T, _ *bed, m *schema.Message) {
				var got []string
				for leaf := range m.Email.BodyStructure.Leaves() {
					if got = append(got, "none"); leaf.SniffedType != nil {
						got[len(got)-1] = *leaf.SniffedType
					}
				}
				if want := "application/pdf application/octet-stream none"; strings.Join(got, " ") != want {
					t.Errorf("sniffed types %q, want %q", got, want)
				}
				if a := m.Email.Attachments; len(a) != 2 || a[0].SniffedType == nil || *a[0].SniffedType != "application/pdf" {
					t.Errorf("attachments %+v", a)
				}
			}},
		{"a type beyond what is kept", crlf("Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64", "", "JVBERi0xLjcK", strings.Repeat("AAAA", 50_000)),
			func(t *testing.T, _ *bed, m *schema.Message) {
				if p := m.Email.BodyStructure; p.SniffedType == nil || *p.SniffedType != "application/pdf" || m.Blobs["b1"].Stored == nil {
					t.Errorf("structure %+v, blob %+v", p.BodyProperties, m.Blobs["b1"])
				}
			}},
		{"a delivery report", crlf("Content-Type: multipart/report; report-type=delivery-status; boundary=x", "", "--x", "", "Sorry.", "--x", "Content-Type: message/delivery-status", "",
			"Reporting-MTA: dns; mx.example.org", "", "Final-Recipient: rfc822; nobody@example.org", "Action: failed", "Status: 5.1.1", "", "--x", "Content-Type: message/rfc822", "",
			"Message-ID: <1@example.org>", "", strings.Repeat("0123456789\r\n", 10_000), "--x--"),
			func(t *testing.T, _ *bed, m *schema.Message) {
				r := m.Email.Report
				if r == nil || r.Type != "delivery-status" || len(r.Recipients) != 1 || r.Recipients[0].Status == nil || *r.Recipients[0].Status != "5.1.1" ||
					r.OriginalMessageID == nil || *r.OriginalMessageID != "1@example.org" {
					t.Errorf("report %+v", r)
				}
			}},
		{"many parts of which each is small", crlf("Content-Type: multipart/mixed; boundary=x", "", strings.Repeat("--x\r\nContent-Type: application/octet-stream\r\n\r\n"+strings.Repeat("0123456789", 3_000)+"\r\n", 12)+"--x--"),
			func(t *testing.T, _ *bed, m *schema.Message) {
				stored := 0
				for _, b := range m.Blobs {
					if b.Stored != nil {
						stored++
					}
				}
				if stored == 0 || len(m.Problems) != 1 || m.Problems[0].Code != "inline-limit" {
					t.Errorf("%d parts stored, problems %+v, want one inline-limit", stored, m.Problems)
				}
			}},
		{"a text in no charset", crlf("Content-Type: text/plain; charset=x-none", "", "Gr\xfc\xdfe aus M\xfcnchen und K\xf6ln"), func(t *testing.T, _ *bed, m *schema.Message) {
			if v := m.Email.BodyValues["1"]; v.Value != "Grüße aus München und Köln\n" || !v.IsEncodingProblem || len(m.Problems) != 1 || m.Problems[0].Code != "unknown-charset" {
				t.Errorf("bodyValue %+v, problems %+v", v, m.Problems)
			}
		}},
		{"text whose octets the value does not give", crlf("Content-Type: text/plain; charset=iso-8859-1", "", "Gr\xfc\xdfe"), func(t *testing.T, _ *bed, m *schema.Message) {
			if m.Email.BodyValues["1"].Value != "Grüße\n" || !bytes.Equal(m.Blobs["b1"].Inline, []byte("Gr\xfc\xdfe\r\n")) {
				t.Errorf("bodyValue %+v, blob %+v", m.Email.BodyValues["1"], m.Blobs["b1"])
			}
		}},
		{"long text is stored and cut", []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + long), func(t *testing.T, _ *bed, m *schema.Message) {
			v := m.Email.BodyValues["1"]
			want := strings.ReplaceAll(long, "\r\n", "\n")
			if !v.IsTruncated || len(v.Value) > 64<<10 || len(v.Value) < 60<<10 || !strings.HasPrefix(want, v.Value) {
				t.Errorf("bodyValue of %d octets, truncated %v", len(v.Value), v.IsTruncated)
			}
			if m.Blobs["b1"].Stored == nil {
				t.Error("the text is not stored")
			}
		}},
		{"an attached text is no bodyValue", crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "text", "--b",
			"Content-Disposition: attachment; filename=a.txt", "", "attached", "--b--"), func(t *testing.T, _ *bed, m *schema.Message) {
			if len(m.Email.BodyValues) != 1 || m.Blobs["b2"].Inline == nil || !m.Email.HasAttachment || len(m.Email.Attachments) != 1 {
				t.Errorf("bodyValues %v, attachments %v", m.Email.BodyValues, m.Email.Attachments)
			}
		}},
		{"5,000 header fields", []byte(strings.Repeat("X-Field: value\r\n", 5000) + "\r\nbody\r\n"), func(t *testing.T, _ *bed, m *schema.Message) {
			if len(m.Email.Headers) != 5000 || m.Email.HeadersTruncated {
				t.Errorf("%d fields, truncated %v", len(m.Email.Headers), m.Email.HeadersTruncated)
			}
		}},
		{"a header that JSON cannot carry", []byte("Subject: \xff\x00\r\nno colon\r\nX: y\r\n\r\nbody\r\n"), func(t *testing.T, b *bed, m *schema.Message) {
			if m.Email.HeadersBlobID == nil || !bytes.Equal(b.octets(m, schema.HeadersBlobID), []byte("Subject: \xff\x00\r\nno colon\r\nX: y\r\n\r\n")) {
				t.Errorf("header block %v", m.Email.HeadersBlobID)
			}
		}},
		{"a header over the limit", []byte(strings.Repeat("X-Field: value\r\n", 100_000) + "\r\nbody\r\n"), func(t *testing.T, b *bed, m *schema.Message) {
			if !m.Email.HeadersTruncated || m.Email.HeadersBlobID == nil {
				t.Fatalf("truncated %v, blob %v", m.Email.HeadersTruncated, m.Email.HeadersBlobID)
			}
			if got := len(b.octets(m, schema.HeadersBlobID)); got != 16*100_000+2 {
				t.Errorf("the header block has %d octets, want %d", got, 16*100_000+2)
			}
		}},
		{"100,000 parts", []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 100_000) + "--b--\r\n"), func(t *testing.T, _ *bed, m *schema.Message) {
			if n := len(m.Email.BodyStructure.SubParts); n != 1000 {
				t.Errorf("%d parts, want 1000", n)
			}
			if len(m.Problems) == 0 || m.Problems[0].Code != "too-many-parts" {
				t.Errorf("problems %v", m.Problems)
			}
		}},
		{"1,000 levels", []byte(nested(1000)), func(t *testing.T, _ *bed, m *schema.Message) {
			depth := 0
			for p := m.Email.BodyStructure; len(p.SubParts) > 0; p = p.SubParts[0] {
				depth++
			}
			if depth < 90 || depth > 100 {
				t.Errorf("depth %d, want about 100", depth)
			}
		}},
		{"broken MIME", crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: base64", "", "aGVsbG8*", "--b",
			"Content-Type: text/plain; charset=nonsense", "", "unclosed"), func(t *testing.T, _ *bed, m *schema.Message) {
			if len(m.Problems) < 2 {
				t.Errorf("problems %v, want the base64 and the missing close delimiter", m.Problems)
			}
		}},
	}
	b := newBed(t, options{})
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b.t = t
			tc.check(t, b, b.take(tc.body))
		})
	}
}

// nested is a mail with so many multiparts, one in the other.
func nested(levels int) string {
	var s strings.Builder
	for i := range levels {
		fmt.Fprintf(&s, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	s.WriteString("\r\ninnermost\r\n")
	return s.String()
}

// The envelope is fitted to what the link takes.
func TestFit(t *testing.T) {
	b := newBed(t, options{broker: devbroker.Config{MaxMessageSize: 64 << 10}})
	tests := []struct {
		name  string
		body  []byte
		check func(t *testing.T, m *schema.Message)
	}{
		{"inline blobs go first, the largest before the others", letter(60_000, 300, 20_000), func(t *testing.T, m *schema.Message) {
			if m.Blobs["b2"].Stored == nil || m.Blobs["b3"].Inline == nil || m.Blobs["b4"].Inline == nil || m.Blobs["b1"].Value == nil {
				t.Errorf("blobs %+v", m.Blobs)
			}
		}},
		{"then bodyValues", []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("0123456789\r\n", 5_300)), func(t *testing.T, m *schema.Message) {
			if v := m.Email.BodyValues["1"]; v.Value != "" || !v.IsTruncated || m.Blobs["b1"].Stored == nil || m.Email.HeadersTruncated {
				t.Errorf("bodyValue %+v, blob %+v", v, m.Blobs["b1"])
			}
		}},
		{"then the header", []byte(strings.Repeat("X-Filler: "+strings.Repeat("x", 70)+"\r\n", 1000) + "Subject: 80 KB\r\n\r\nbody\r\n"), func(t *testing.T, m *schema.Message) {
			if len(m.Email.Headers) != 0 || !m.Email.HeadersTruncated || m.Email.HeadersBlobID == nil || m.Blobs["headers"].Stored == nil {
				t.Errorf("%d header fields, truncated %v, blob %+v", len(m.Email.Headers), m.Email.HeadersTruncated, m.Blobs["headers"])
			}
			if m.Email.Subject == nil || *m.Email.Subject != "80 KB" || m.Email.BodyValues["1"].Value != "body\n" {
				t.Error("what fits was moved too")
			}
		}},
		{"at last the header fields of parts", []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
			strings.Repeat("--b\r\nX-Filler: "+strings.Repeat("x", 3000)+"\r\n\r\nx\r\n", 30) + "--b--\r\n"), func(t *testing.T, m *schema.Message) {
			if n := len(m.Problems); n == 0 || m.Problems[n-1].Code != "part-headers-dropped" {
				t.Errorf("problems %v", m.Problems)
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b.t = t
			tc.check(t, b.take(tc.body))
		})
	}
}

func TestEnvelope(t *testing.T) {
	b := newBed(t, options{})
	s := b.NewSession(t.Context(), bridge.Peer{Helo: "h\xffelo", Address: "192.0.2.1", Protocol: "ESMTPSA", AuthenticatedAs: "user"})
	if err := s.Mail("", &smtp.MailOptions{Size: 10, Body: smtp.Body8BitMIME, UTF8: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := s.Rcpt(fmt.Sprintf("r%d@example.com", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	id, errs := s.Deliver(t.Context(), bytes.NewReader(letter()))
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.validate()
	m := b.published()[0]
	e := m.Envelope
	if m.TransactionID != id {
		t.Errorf("Deliver returned %s, published is %s", id, m.TransactionID)
	}
	if e.MailFrom.Email != "" || len(e.RcptTo) != 1000 || e.Helo != "h\uFFFDelo" || e.Protocol != "ESMTPSA" || *e.AuthenticatedAs != "user" {
		t.Errorf("envelope %+v", e)
	}
	p := e.MailFrom.Parameters
	if *p["size"] != "10" || *p["body"] != "8BITMIME" || p["smtputf8"] != nil || len(p) != 3 {
		t.Errorf("parameters %v", p)
	}
	properties, err := b.broker.Messages(address)[0].Decode()
	if err != nil {
		t.Fatal(err)
	}
	a := properties.ApplicationProperties
	if a["cloudEvents_id"] != m.ID || a["cloudEvents_source"] != "//mx.example.com/lsmtpd" || a["rcptDomain"] != "example.com" || a["mailFromDomain"] != nil {
		t.Errorf("application properties %v", a)
	}
}

// TestReportBeyondThreshold reads a report of which the envelope keeps nothing.
func TestReportBeyondThreshold(t *testing.T) {
	const recipients = 80
	var fields strings.Builder
	for i := range recipients {
		fmt.Fprintf(&fields, "\r\nFinal-Recipient: rfc822; user%d@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 no such user here\r\n", i)
	}
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.OffloadThreshold = 0 }})
	m := b.take(crlf("Content-Type: message/delivery-status", "", "Reporting-MTA: dns; mx.example.org", fields.String()))
	if r := m.Email.Report; r == nil || len(r.Recipients) != recipients || *r.Recipients[recipients-1].FinalRecipient != fmt.Sprintf("user%d@example.org", recipients-1) || len(m.Problems) > 0 {
		t.Errorf("report %+v, problems %+v", r, m.Problems)
	}
}
