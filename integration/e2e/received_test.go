//go:build integration

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// decode reads a published message, which has to be valid by the JSON Schema.
func decode(t *testing.T, body []byte) *schema.Message {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.AssertContent()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource(schema.ID, document); err != nil {
		t.Fatal(err)
	}
	validator, err := compiler.Compile(schema.ID)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v in the published message:\n%.2000s", err, body)
	}
	if err := validator.Validate(instance); err != nil {
		t.Errorf("the published message is not valid: %v\n%.2000s", err, body)
	}
	m, err := schema.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// drain takes everything out of the site's queue, which has to be n messages, and checks what is the same for all.
func drain(t *testing.T, s *site, n int) []*schema.Message {
	t.Helper()
	var all []*schema.Message
	for _, raw := range s.broker.Drain(t, s.queue) {
		m := decode(t, raw.GetData())
		wantSections(t, s, raw, m)
		all = append(all, m)
	}
	if len(all) != n {
		t.Fatalf("there are %d messages in the queue, want %d", len(all), n)
	}
	return all
}

// wantSections checks the sections of an AMQP message around the body m.
func wantSections(t *testing.T, s *site, raw *amqp.Message, m *schema.Message) {
	t.Helper()
	if raw.Header == nil || !raw.Header.Durable || raw.Properties == nil {
		t.Fatalf("header %+v, properties %+v; want a durable message with properties", raw.Header, raw.Properties)
	}
	p := raw.Properties
	if p.MessageID != m.ID || p.ContentType == nil || *p.ContentType != schema.ContentType || p.To == nil || *p.To != s.broker.Address(s.queue) {
		t.Errorf("properties %+v; want the message-id %s, application/json, to %s", p, m.ID, s.broker.Address(s.queue))
	}
	wantProperties(t, s, raw.ApplicationProperties, m)
}

// wantReceived is wantSections for what a witness has received. It returns the message.
func wantReceived(t *testing.T, s *site, r testbed.Received) *schema.Message {
	t.Helper()
	m := decode(t, r.Body)
	if r.MessageID != m.ID || r.ContentType != schema.ContentType || !r.Durable || r.To != s.broker.Address(s.queue) {
		t.Errorf("received message-id %q, %q, durable %t, to %q; want %q, application/json, true, %q",
			r.MessageID, r.ContentType, r.Durable, r.To, m.ID, s.broker.Address(s.queue))
	}
	wantProperties(t, s, r.ApplicationProperties, m)
	return m
}

func wantProperties(t *testing.T, s *site, got map[string]any, m *schema.Message) {
	t.Helper()
	want := map[string]any{
		"cloudEvents_specversion": "1.0", "cloudEvents_id": m.ID, "cloudEvents_type": schema.EventType,
		"cloudEvents_source": "//bridge.example/lsmtpd", "cloudEvents_dataschema": schema.ID,
	}
	if s.broker.Capability == "queue" { // Artemis: what it detects duplicates by
		want["_AMQ_DUPL_ID"] = m.ID
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("application property %s: got %v, want %v", name, got[name], value)
		}
	}
}

// octets returns those of a blob, from wherever the message says they are, after their size and digest are checked.
func octets(t *testing.T, s *site, m *schema.Message, blobID string) []byte {
	t.Helper()
	blob, ok := m.Blobs[blobID]
	if !ok {
		t.Fatalf("the message has no blob %q", blobID)
	}
	var got []byte
	switch {
	case blob.Value != nil:
		got = crlf(m.Email.BodyValues[*blob.Value].Value)
	case blob.Stored != nil:
		r := s.objects.open(t, blob.Stored)
		defer r.Close()
		var err error
		if got, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	default:
		got = blob.Inline
	}
	if int64(len(got)) != blob.Size || blob.SHA256 == nil || digest(got) != *blob.SHA256 {
		t.Errorf("the octets of %s are %d with SHA-256 %s; the message says %+v", blobID, len(got), digest(got), blob)
	}
	return got
}

func digest(octets []byte) string {
	sum := sha256.Sum256(octets)
	return hex.EncodeToString(sum[:])
}

// wantOctets compares long octets and shows where they differ.
func wantOctets(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: got %d octets, want %d; they differ from octet %d: got %.40q, want %.40q",
		what, len(got), len(want), at, got[at:], want[at:])
}

// wantWhole checks that m says of the message as a whole what was sent.
func wantWhole(t *testing.T, m *schema.Message, sent []byte) {
	t.Helper()
	if m.Email.Size != int64(len(sent)) || m.Email.SHA256 == nil || *m.Email.SHA256 != digest(sent) {
		t.Errorf("the message is said to have %d octets with SHA-256 %s; sent were %d with %s",
			m.Email.Size, show(m.Email.SHA256), len(sent), digest(sent))
	}
}

// wantHeader checks the header fields, given as they were sent.
func wantHeader(t *testing.T, m *schema.Message, sent []byte) {
	t.Helper()
	var got strings.Builder
	for _, h := range m.Email.Headers {
		got.WriteString(h.Name + ":" + h.Value + "\r\n")
	}
	wantOctets(t, "header fields", []byte(got.String()), sent)
	if m.Email.HeadersTruncated || m.Email.HeadersBlobID != nil {
		t.Errorf("headersTruncated %t, headersBlobId %s; want false, null", m.Email.HeadersTruncated, show(m.Email.HeadersBlobID))
	}
}

func show(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}
