package schema

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Blob says how large the octets of a body part, of the raw message or of a
// header block are, and where they are: exactly one of Value, Inline and Stored
// is set. The octets of a part are those after its transfer encoding was undone.
type Blob struct {
	Size   int64
	SHA256 *string // hexadecimal; nil where digests are off
	// Value is the partId whose BodyValue, in UTF-8 with each LF written as CRLF, is these octets.
	Value *string
	// Inline is the octets themselves, base64 in JSON. Empty but not nil for an empty blob.
	Inline []byte
	// Stored names the object that holds the octets.
	Stored *Stored
}

// Stored is an object in the store.
type Stored struct {
	URL       string  `json:"url"`       // s3://BUCKET/KEY or file:///PATH
	Bucket    *string `json:"bucket"`    // nil in a directory store
	Key       string  `json:"key"`       // with the store's prefix
	ETag      *string `json:"etag"`      // nil in a directory store
	VersionID *string `json:"versionId"` // nil where the bucket keeps no versions
}

var errBlobPlace = errors.New("a blob has exactly one of value, inline and url")

// places is in how many places the octets are said to be.
func (b *Blob) places() int {
	n := 0
	for _, set := range []bool{b.Value != nil, b.Inline != nil, b.Stored != nil} {
		if set {
			n++
		}
	}
	return n
}

// MarshalJSON writes the members that the place of the octets asks for, and
// refuses a blob whose octets are in no place or in several.
func (b Blob) MarshalJSON() ([]byte, error) {
	if b.places() != 1 {
		return nil, errBlobPlace
	}
	return marshal(struct {
		Size   int64   `json:"size"`
		SHA256 *string `json:"sha256"`
		Value  *string `json:"value,omitempty"`
		Inline []byte  `json:"inline,omitzero"`
		*Stored
	}{b.Size, b.SHA256, b.Value, b.Inline, b.Stored})
}

// UnmarshalJSON reads a blob and refuses one whose octets are in no place or in several.
func (b *Blob) UnmarshalJSON(data []byte) error {
	var j struct {
		Size   int64   `json:"size"`
		SHA256 *string `json:"sha256"`
		Value  *string `json:"value"`
		Inline []byte  `json:"inline"`
		URL    *string `json:"url"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	*b = Blob{Size: j.Size, SHA256: j.SHA256, Value: j.Value, Inline: j.Inline}
	if j.URL != nil {
		b.Stored = new(Stored)
		if err := json.Unmarshal(data, b.Stored); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	if b.places() != 1 {
		return errBlobPlace
	}
	return nil
}
