package schema_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"lsmtpd/schema"
)

// eachExample runs f with every file of examples.
func eachExample(t *testing.T, f func(t *testing.T, data []byte, m *schema.Message)) {
	files, err := filepath.Glob("examples/*.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples (%v), want at least 6", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := schema.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			f(t, data, m)
		})
	}
}

func TestExamplesFitJSONSchema(t *testing.T) {
	open, strict := openSchema(t), strictSchema(t)
	eachExample(t, func(t *testing.T, data []byte, _ *schema.Message) {
		if err := open.Validate(parse(t, data)); err != nil {
			t.Errorf("%#v", err)
		}
		if err := strict.Validate(parse(t, data)); err != nil {
			t.Errorf("strict: %#v", err)
		}
	})
}

func TestExamplesLoseNothing(t *testing.T) {
	eachExample(t, func(t *testing.T, data []byte, m *schema.Message) {
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parse(t, data), parse(t, again)); diff != "" {
			t.Errorf("decoded and encoded again (-example +got):\n%s", diff)
		}
	})
}

func TestExamplesSortTheirBody(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		got := m.Email
		got.TextBody, got.HTMLBody, got.Attachments, got.HasAttachment = nil, nil, nil, !got.HasAttachment
		got.SortBody()
		if diff := cmp.Diff(m.Email, got); diff != "" {
			t.Errorf("SortBody (-example +got):\n%s", diff)
		}
	})
}

// The body values are those of the texts in the body lists, and no others.
func TestExamplesHaveBodyValues(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		want := map[string]bool{}
		for _, p := range slices.Concat(m.Email.TextBody, m.Email.HTMLBody) {
			if p.Type == "text/plain" || p.Type == "text/html" {
				want[*p.PartID] = true
			}
		}
		got := map[string]bool{}
		for id, v := range m.Email.BodyValues {
			got[id] = true
			if strings.Contains(v.Value, "\r\n") {
				t.Errorf("bodyValues[%q] has CRLF: %q", id, v.Value)
			}
			if v.IsTruncated && m.Blobs[schema.BlobID(id)].Value != nil {
				t.Errorf("bodyValues[%q] is truncated and the only place of its blob", id)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys of bodyValues (-want +got):\n%s", diff)
		}
	})
}

// All examples have a plain text that can be shown first.
func TestExamplesPreviewTheirText(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		text := strings.Join(strings.Fields(m.Email.BodyValues[*m.Email.TextBody[0].PartID].Value), " ")
		if p := m.Email.Preview; p == "" || !strings.HasPrefix(text, p) {
			t.Errorf("preview %q is not the beginning of %q", p, text)
		}
	})
}

// Every blob is referred to and every reference leads to a blob of the same size.
func TestExamplesHaveTheirBlobs(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		var want []string
		leaves := map[string]bool{}
		for p := range m.Email.BodyStructure.Leaves() {
			if p.PartID == nil || p.BlobID == nil || *p.BlobID != schema.BlobID(*p.PartID) {
				t.Fatalf("a leaf of type %q without its ids", p.Type)
			}
			if b := m.Blobs[*p.BlobID]; b.Size != p.Size {
				t.Errorf("part %s has %d octets, its blob %d", *p.PartID, p.Size, b.Size)
			}
			want = append(want, *p.BlobID)
			leaves[*p.PartID] = true
		}
		if id := m.Email.BlobID; id != nil {
			want = append(want, *id)
			if b := m.Blobs[*id]; b.Size != m.Email.Size || !cmp.Equal(b.SHA256, m.Email.SHA256) {
				t.Errorf("the raw blob %v is not the email of %d octets", b, m.Email.Size)
			}
		}
		if id := m.Email.HeadersBlobID; id != nil {
			want = append(want, *id)
		}
		var got []string
		for id := range m.Blobs {
			got = append(got, id)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got blobs %q, want %q", got, want)
		}
		for _, p := range m.Problems {
			if p.PartID != nil && !leaves[*p.PartID] {
				t.Errorf("problem %q of part %s, which is not there", p.Code, *p.PartID)
			}
		}
	})
}

// What octets a message holds, it describes truly.
func TestExamplesHaveTrueDigests(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		for id, b := range m.Blobs {
			if (b.SHA256 == nil) != (m.Email.SHA256 == nil) {
				t.Errorf("blob %s: digest %v, the email's %v; want both or none", id, b.SHA256, m.Email.SHA256)
			}
			octets := b.Inline
			if b.Value != nil {
				v, ok := m.Email.BodyValues[*b.Value]
				if !ok || schema.BlobID(*b.Value) != id {
					t.Errorf("blob %s is value %q, want that of its part", id, *b.Value)
				}
				octets = v.Octets()
			}
			if b.Stored != nil {
				continue
			}
			if int64(len(octets)) != b.Size {
				t.Errorf("blob %s has %d octets, its size is %d", id, len(octets), b.Size)
			}
			if sum := sha256.Sum256(octets); b.SHA256 != nil && hex.EncodeToString(sum[:]) != *b.SHA256 {
				t.Errorf("blob %s: sha256 %x, want %s", id, sum, *b.SHA256)
			}
		}
	})
}

// Objects have the key that the transaction gives them, in the URL as well.
func TestExamplesNameObjects(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		seconds, nanoseconds := uuid.MustParse(m.TransactionID).Time().UnixTime()
		began := time.Unix(seconds, nanoseconds).UTC()
		if wait := m.Email.ReceivedAt.Sub(began); wait < 0 || wait > time.Minute {
			t.Errorf("transaction began at %v and was received at %v", began, m.Email.ReceivedAt)
		}
		for id, b := range m.Blobs {
			if b.Stored == nil {
				continue
			}
			name := id
			if id != schema.RawBlobID && id != schema.HeadersBlobID {
				name = id[1:]
			}
			want := began.Format("2006/01/02/") + m.TransactionID + "/" + name
			if key := b.Stored.Key; key != want && !strings.HasSuffix(key, "/"+want) {
				t.Errorf("blob %s: key %q, want PREFIX/%s", id, key, want)
			}
			url := "s3://"
			if b.Stored.Bucket != nil {
				url += *b.Stored.Bucket + "/" + b.Stored.Key
			} else {
				url = "file:///var/lib/lsmtpd/objects/" + b.Stored.Key
			}
			if b.Stored.URL != url {
				t.Errorf("blob %s: url %q, want %q", id, b.Stored.URL, url)
			}
		}
	})
}

// A header block that headers can reproduce is no blob, any other one is.
func TestExamplesKeepHeaderBlocks(t *testing.T) {
	eachExample(t, func(t *testing.T, _ []byte, m *schema.Message) {
		var block bytes.Buffer
		for _, h := range m.Email.Headers {
			block.WriteString(h.Name + ":" + h.Value + "\r\n")
		}
		block.WriteString("\r\n")
		switch id := m.Email.HeadersBlobID; {
		case id == nil && (m.Email.HeadersTruncated || strings.Contains(block.String(), "\uFFFD")):
			t.Error("headers cannot reproduce the header block, and it is no blob")
		case id != nil && m.Blobs[*id].Inline != nil && bytes.Equal(m.Blobs[*id].Inline, block.Bytes()):
			t.Error("headers can reproduce the header block, which is a blob all the same")
		}
	})
}

// Together the examples show every place of octets and every kind of body.
func TestExamplesShowEverything(t *testing.T) {
	seen := map[string]bool{}
	eachExample(t, func(_ *testing.T, _ []byte, m *schema.Message) {
		e := &m.Email
		for _, b := range m.Blobs {
			seen["value"] = seen["value"] || b.Value != nil
			seen["inline"] = seen["inline"] || b.Inline != nil
			seen["bucket with versions"] = seen["bucket with versions"] || b.Stored != nil && b.Stored.Bucket != nil && b.Stored.VersionID != nil
			seen["directory"] = seen["directory"] || b.Stored != nil && b.Stored.Bucket == nil
		}
		for _, v := range e.BodyValues {
			seen["emptied value"] = seen["emptied value"] || v.IsTruncated && v.Value == ""
			seen["cut value"] = seen["cut value"] || v.IsTruncated && v.Value != ""
			seen["encoding problem"] = seen["encoding problem"] || v.IsEncodingProblem
		}
		for p := range e.BodyStructure.Leaves() {
			seen[p.Type] = true
		}
		seen["null reverse-path"] = seen["null reverse-path"] || m.Envelope.MailFrom.Email == ""
		seen["truncated headers"] = seen["truncated headers"] || e.HeadersTruncated
		seen["attachment"] = seen["attachment"] || e.HasAttachment
		seen["raw"] = seen["raw"] || e.BlobID != nil
		seen["no digest"] = seen["no digest"] || e.SHA256 == nil
		seen["problems"] = seen["problems"] || len(m.Problems) > 0
	})
	for _, want := range []string{"value", "inline", "bucket with versions", "directory", "emptied value", "cut value", "encoding problem",
		"text/plain", "text/html", "image/png", "application/pdf", "message/rfc822",
		"null reverse-path", "truncated headers", "attachment", "raw", "no digest", "problems"} {
		if !seen[want] {
			t.Errorf("no example shows: %s", want)
		}
	}
}
