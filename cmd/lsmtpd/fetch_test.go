package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// TestFetchRaw rebuilds a mail from its raw message, and is not content with the blob's own digest.
func TestFetchRaw(t *testing.T) {
	const mail = "Subject: as it was\n\nbare\rends, and no last line end"
	sum := func(text string) *string {
		h := sha256.Sum256([]byte(text))
		s := hex.EncodeToString(h[:])
		return &s
	}
	for _, tt := range []struct {
		name     string
		object   string
		longer   int64 // the blob, as the message says
		sum, own *string
		want     []string // in the error; none where the mail is written
	}{
		{"as received", mail, 0, sum(mail), sum(mail), nil},
		{"without digests", mail, 0, nil, nil, nil},
		{"without a digest of the blob", mail, 0, sum(mail), nil, nil},
		{"another digest of the blob", mail, 0, sum(mail), sum("x"), []string{"raw message: the message contradicts itself: email.sha256 is " + *sum(mail) + `, the sha256 of blob "raw" is ` + *sum("x")}},
		{"another size of the blob", mail, 1, sum(mail), sum(mail), []string{"the message contradicts itself: email.size is 51", `the size of blob "raw" is 52`}},
		{"another object", strings.ToUpper(mail), 0, sum(mail), nil, []string{"raw message: its SHA-256 is " + *sum(strings.ToUpper(mail)) + ", the message says " + *sum(mail)}},
		{"a longer object", mail + "\n", 0, nil, nil, []string{"raw message: 52 octets, the message says 51"}},
		{"a shorter object", mail[:10], 0, sum(mail), sum(mail), []string{"raw message: 10 octets, the message says 51"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := objectstore.NewDir(t.TempDir())
			o, err := dir.Put(t.Context(), "2026/11/29/t/raw", strings.NewReader(tt.object))
			if err != nil {
				t.Fatal(err)
			}
			id := schema.RawBlobID
			m := schema.Message{Schema: schema.ID, ID: "d", TransactionID: "t", Problems: []schema.Problem{},
				Email: schema.Email{BlobID: &id, Size: int64(len(mail)), SHA256: tt.sum, ReceivedAt: time.Now().UTC()},
				Blobs: map[string]schema.Blob{id: {Size: int64(len(mail)) + tt.longer, SHA256: tt.own, Stored: &schema.Stored{URL: o.URL, Key: o.Key}}},
			}
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "inbox")
			code, _, stderr := runs(t, nil, "fetch", "--out", out, write(t, "message.json", string(text)))
			if (code == exitOK) != (tt.want == nil) {
				t.Fatalf("exit code %d:\n%s", code, stderr)
			}
			contains(t, "error", stderr, tt.want...)
			files, err := os.ReadDir(out)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want != nil {
				if len(files) != 0 {
					t.Errorf("%v is left of a mail that is not what was received", files)
				}
				return
			}
			if got, err := os.ReadFile(filepath.Join(out, "t.eml")); err != nil || string(got) != mail {
				t.Errorf("t.eml: %q, %v; want what was received", got, err)
			}
		})
	}
}
