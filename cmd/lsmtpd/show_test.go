package main

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"lsmtpd/schema"
)

// What a sender wrote cannot steer the terminal, nor pass for another line.
func TestShowIsHarmless(t *testing.T) {
	const hostile = "a\x1b[2J\r\nfrom  b\x9b\u202ec"
	text, part, blob := hostile, "1", "b1"
	m := &schema.Message{
		ID: hostile,
		Envelope: schema.Envelope{Helo: hostile, Protocol: hostile, ClientAddress: hostile,
			MailFrom: schema.Address{Email: hostile}, RcptTo: []schema.Address{{Email: hostile}, {Email: "2"}, {Email: "3"}, {Email: "4"}, {Email: "5"}}},
		Email: schema.Email{Subject: &text, Preview: hostile, From: []schema.EmailAddress{{Name: &text, Email: hostile}, {Email: hostile}},
			BodyStructure: &schema.BodyPart{BodyProperties: schema.BodyProperties{PartID: &part, BlobID: &blob, Type: hostile, Name: &text}}},
		Blobs:    map[string]schema.Blob{blob: {Size: 1, SHA256: &text, Stored: &schema.Stored{URL: hostile}}, schema.RawBlobID: {Stored: &schema.Stored{URL: hostile}}},
		Problems: []schema.Problem{{PartID: &text, Code: hostile, Detail: hostile}, {Code: hostile}},
	}
	var b strings.Builder
	if err := show(&b, m); err != nil {
		t.Fatal(err)
	}
	if at := strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) }); at >= 0 {
		t.Errorf("a control character at %d of %q", at, b.String())
	}
	if got, want := strings.Count(b.String(), "\n"), 12; got != want {
		t.Errorf("%d lines, want %d:\n%s", got, want, b.String())
	}
	contains(t, "shown", b.String(), "<2>, <3>, 2 more")
}

// TestCreateLongNames writes files whose names are as long as a file system takes.
func TestCreateLongNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{strings.Repeat("x", 251) + ".pdf", "x." + strings.Repeat("y", 253), strings.Repeat("ü", 127)} {
		seen := map[string]bool{}
		for range 3 {
			f, err := create(dir, name)
			if err != nil {
				t.Fatalf("%.20s…: %v", name, err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if base := filepath.Base(f.Name()); len(base) > 255 || seen[base] || filepath.Ext(name) == ".pdf" && filepath.Ext(base) != ".pdf" {
				t.Errorf("%.20s…: got %s", name, base)
			}
			seen[f.Name()] = true
		}
	}
}
