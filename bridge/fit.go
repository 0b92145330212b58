package bridge

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"lsmtpd/schema"
)

// sectionsOverhead is what a published message takes on the link beside its
// data section: header, properties and application properties, all of which are
// bounded, and the names of the sections.
const sectionsOverhead = 2 << 10

// storedCost is about what a blob's place in the store takes in JSON. Smaller octets are not worth moving.
const storedCost = 400

// codePartHeadersDropped says that the header fields of body parts were left out, because the envelope was too large for the link even so.
const codePartHeadersDropped = "part-headers-dropped"

// fit encodes m for a link that takes limit octets. Where m is larger, it moves
// inline blobs, then bodyValues, then the message's header fields to the store,
// largest first, and at last drops the header fields of the parts. What is
// moved for one delivery stays moved for the next of the same transaction.
func (t *transaction) fit(ctx context.Context, m *schema.Message, limit int64) ([]byte, error) {
	if headersJSON(m.Email.Headers) > limit {
		// They cannot stay in any case: move them before they are encoded in vain.
		if err := t.moveHeaders(ctx, m, 0); err != nil {
			return nil, err
		}
	}
	steps := []func(context.Context, *schema.Message, int64) error{t.moveInline, t.moveValues, t.moveHeaders, t.dropPartHeaders}
	for {
		body, err := m.Encode()
		if err != nil {
			return nil, err
		}
		excess := int64(len(body)) - limit
		if excess <= 0 {
			return body, nil
		}
		if len(steps) == 0 {
			return nil, errEnvelopeTooLarge
		}
		if err := steps[0](ctx, m, excess); err != nil {
			return nil, err
		}
		steps = steps[1:]
	}
}

// headersJSON is the least that header fields take in JSON, octets.
func headersJSON(fields []schema.Header) (n int64) {
	for _, f := range fields {
		n += int64(len(`{"name":"","value":""},`) + len(f.Name) + len(f.Value))
	}
	return n
}

// linkLimit is the largest data section that a delivery to address may have.
func (b *Bridge) linkLimit(address string) int64 {
	limit := b.cfg.MaxPublishBytes
	if link := b.publisher.MaxMessageSize(address); link > 0 {
		limit = min(limit, link)
	}
	return limit - sectionsOverhead - int64(len(address))
}

// moveInline moves inline blobs until excess octets of JSON are saved.
func (t *transaction) moveInline(ctx context.Context, m *schema.Message, excess int64) error {
	ids := largestFirst(m.Blobs, func(b schema.Blob) int { return len(b.Inline) })
	for _, id := range ids {
		b := m.Blobs[id]
		saved := int64(len(b.Inline)+2)/3*4 - storedCost
		if excess <= 0 || saved <= 0 {
			return nil
		}
		if err := t.moveBlob(ctx, m, id, bytes.NewReader(b.Inline)); err != nil {
			return err
		}
		excess -= saved
	}
	return nil
}

// moveValues empties bodyValues until excess octets are saved. One that is its blob's only place moves the blob.
func (t *transaction) moveValues(ctx context.Context, m *schema.Message, excess int64) error {
	ids := largestFirst(m.Email.BodyValues, func(v schema.BodyValue) int { return len(v.Value) })
	for _, id := range ids {
		v := m.Email.BodyValues[id]
		saved := int64(len(v.Value))
		blobID := schema.BlobID(id)
		only := m.Blobs[blobID].Value != nil
		if only {
			saved -= storedCost
		}
		if excess <= 0 || saved <= 0 {
			return nil
		}
		if only {
			if err := t.moveBlob(ctx, m, blobID, bytes.NewReader(v.Octets())); err != nil {
				return err
			}
		}
		v.Value, v.IsTruncated = "", true
		m.Email.BodyValues[id] = v
		excess -= saved
	}
	return nil
}

// moveHeaders moves the header block out of the envelope.
func (t *transaction) moveHeaders(ctx context.Context, m *schema.Message, _ int64) error {
	if _, kept := m.Blobs[schema.HeadersBlobID]; !kept {
		raw := t.bridge.newDigest(bytes.NewReader(t.headerRaw))
		if err := t.moveBlob(ctx, m, schema.HeadersBlobID, raw); err != nil {
			return err
		}
		b := m.Blobs[schema.HeadersBlobID]
		b.Size, b.SHA256 = raw.n, hexSum(raw.hash)
		m.Blobs[schema.HeadersBlobID] = b
	}
	m.Email.HeadersBlobID = optional(schema.HeadersBlobID)
	m.Email.Headers, m.Email.HeadersTruncated = []schema.Header{}, true
	return nil
}

// dropPartHeaders leaves out the header fields of the body parts, of which the envelope has told what they mean.
func (t *transaction) dropPartHeaders(_ context.Context, m *schema.Message, _ int64) error {
	var drop func(*schema.BodyPart)
	drop = func(p *schema.BodyPart) {
		p.Headers = []schema.Header{}
		for _, sub := range p.SubParts {
			drop(sub)
		}
	}
	drop(m.Email.BodyStructure)
	m.Problems = append(m.Problems, schema.Problem{Code: codePartHeadersDropped,
		Detail: "the envelope is too large for the link: the header fields of body parts are left out"})
	return nil
}

// moveBlob puts the octets of a blob, which r yields, into the store.
func (t *transaction) moveBlob(ctx context.Context, m *schema.Message, id string, r io.Reader) error {
	object, err := t.put(ctx, objectName(id), r)
	if err != nil {
		return err
	}
	b := m.Blobs[id]
	b.Inline, b.Value, b.Stored = nil, nil, object
	m.Blobs[id] = b
	return nil
}

// objectName is the last element of a blob's key: the partId, or the blobId of a blob that is no part.
func objectName(blobID string) string {
	if blobID == schema.HeadersBlobID {
		return blobID
	}
	return strings.TrimPrefix(blobID, schema.BlobID(""))
}

// largestFirst is the keys of m by falling size, equal ones in order.
func largestFirst[V any](m map[string]V, size func(V) int) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(size(m[b]), size(m[a])), cmp.Compare(a, b))
	})
}
