package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"lsmtpd/extract"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// keptText is a text part whose octets are, as far as the threshold allows, at hand until the
// structure is complete. Only then is it known whether it belongs to the body.
type keptText struct {
	part   *extract.Part
	octets []byte // all of the part, or its beginning
	whole  bool
}

// addPart reads one leaf part to its end: count and hash, then small into the envelope, large into the store.
func (t *transaction) addPart(ctx context.Context, p *extract.Part) error {
	if err := t.share.use(ctx, partCost+headerCost(p.Headers)); err != nil {
		return err
	}
	t.parts++
	least := int64(extract.SniffOctets)
	if extract.IsReportPart(p.BodyPart) {
		least = extract.ReportOctets
	}
	b, head, err := t.addBlob(ctx, *p.BlobID, *p.PartID, p.Body, least)
	if err != nil {
		return fmt.Errorf("part %s: %w", *p.PartID, err)
	}
	p.Size, p.SniffedType = b.Size, extract.SniffType(head)
	if isBodyText(p.BodyPart) {
		return t.keepText(ctx, p, b, head)
	}
	if extract.IsReportPart(p.BodyPart) {
		return t.keepReport(ctx, p, head)
	}
	return nil
}

// keepReport remembers what a part begins with that may belong to a report.
func (t *transaction) keepReport(ctx context.Context, p *extract.Part, head []byte) error {
	head = head[:min(len(head), extract.ReportOctets)]
	if err := t.share.use(ctx, contentCost(head)); err != nil {
		return err
	}
	if t.reports == nil {
		t.reports = map[string][]byte{}
	}
	t.reports[*p.PartID] = bytes.Clone(head)
	return nil
}

// keepText remembers the text of a part for bodyValues, as much of it as max_inline_bytes leaves room for.
func (t *transaction) keepText(ctx context.Context, p *extract.Part, b schema.Blob, head []byte) error {
	k := keptText{part: p, octets: b.Inline, whole: true}
	if b.Stored != nil {
		room := min(int64(len(head)), t.threshold, max(t.bridge.cfg.MaxInlineBytes-t.inline, 0))
		k.octets, k.whole = bytes.Clone(head[:room]), room == b.Size
		t.inline += room
		if err := t.share.use(ctx, contentCost(k.octets)); err != nil {
			return err
		}
	}
	t.texts = append(t.texts, k)
	return nil
}

// addBlob reads r to its end and puts its octets into the envelope or the
// store. It returns the blob, which is also in t.blobs, and the octets that it
// begins with, valid until the next call: all up to the threshold, and up to least.
func (t *transaction) addBlob(ctx context.Context, blobID, name string, r io.Reader, least int64) (schema.Blob, []byte, error) {
	cfg := &t.bridge.cfg
	d := t.bridge.newDigest(r)
	// One octet more than the threshold tells a part that ends there from one that goes on.
	head := t.headBuffer(max(t.threshold+1, least))
	n, err := io.ReadFull(d, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return schema.Blob{}, nil, err
	}
	if failure := t.source.failure(); failure != nil {
		return schema.Blob{}, nil, failure
	}
	head = head[:n]
	b := schema.Blob{}
	small := err != nil && int64(n) <= t.threshold
	if small && t.inline+int64(n) <= cfg.MaxInlineBytes {
		if err := t.share.use(ctx, contentCost(head)); err != nil {
			return schema.Blob{}, nil, err
		}
		t.inline += int64(n)
		b.Inline = append(make([]byte, 0, n), head...)
		t.bridge.metrics.parts.WithLabelValues("inline").Inc()
	} else {
		if small {
			t.noteInlineLimit()
		}
		if b.Stored, err = t.put(ctx, name, io.MultiReader(bytes.NewReader(head), d)); err != nil {
			return schema.Blob{}, nil, err
		}
		t.bridge.metrics.parts.WithLabelValues("stored").Inc()
	}
	b.Size, b.SHA256 = d.n, hexSum(d.hash)
	t.blobs[blobID] = b
	return b, head, nil
}

// codeInlineLimit says that a small part went to the store, because the envelope held too much already.
const codeInlineLimit = "inline-limit"

// noteInlineLimit notes it, the first time.
func (t *transaction) noteInlineLimit() {
	if !slices.ContainsFunc(t.problems, func(p schema.Problem) bool { return p.Code == codeInlineLimit }) {
		t.problems = append(t.problems, schema.Problem{Code: codeInlineLimit, Detail: fmt.Sprintf("no more than %d octets of parts are kept in the message: small ones went to the store, too", t.bridge.cfg.MaxInlineBytes)})
	}
}

// put streams r to the object of this transaction called name.
func (t *transaction) put(ctx context.Context, name string, r io.Reader) (*schema.Stored, error) {
	key, err := t.newObject(name)
	if err != nil {
		return nil, err
	}
	o, err := t.store.Put(ctx, key, r)
	t.bridge.metrics.put(o, err)
	if err != nil {
		t.uncertain = t.uncertain || errors.Is(err, objectstore.ErrUncertain)
		if failure := t.source.failure(); failure != nil {
			return nil, failure
		}
		return nil, t.bridge.storeFailure(ctx, err)
	}
	return stored(o), nil
}

// newObject is the key of an object that is about to be put, for name, once that is noted.
func (t *transaction) newObject(name string) (string, error) {
	key := t.key(name)
	if err := t.intend(key); err != nil {
		return "", err
	}
	// Also an upload that fails may have left something: a request that was never answered counts as done.
	t.keys = append(t.keys, key)
	return key, nil
}

// storeFailure is a failure of Put by the store's fault, or by that of ctx.
func (b *Bridge) storeFailure(ctx context.Context, err error) error {
	if errors.Is(err, objectstore.ErrNoMemory) {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	if ctx.Err() == nil {
		b.health.uploadFailed(err)
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

// stored is where an object is, as the message says it.
func stored(o objectstore.Object) *schema.Stored {
	return &schema.Stored{URL: o.URL, Key: o.Key, Bucket: optional(o.Bucket), ETag: optional(o.ETag), VersionID: optional(o.VersionID)}
}

// key is the object key of name. It holds nothing that the sender wrote.
func (t *transaction) key(name string) string {
	return t.begun.UTC().Format("2006/01/02/") + t.id + "/" + name
}

// headPool lends the buffers in which parts begin.
var headPool = sync.Pool{New: func() any { return new([]byte) }}

// headBuffer is the transaction's buffer for the beginning of a part, n octets long.
func (t *transaction) headBuffer(n int64) []byte {
	if t.head == nil {
		t.head = headPool.Get().(*[]byte)
	}
	if int64(cap(*t.head)) < n {
		*t.head = make([]byte, n)
	}
	return (*t.head)[:n]
}

// addTexts fills bodyValues and preview once the body lists are known, and
// lets a blob be its bodyValue where that reproduces it exactly.
func (t *transaction) addTexts(e *schema.Email, parts map[string]schema.Blob) {
	e.BodyValues = map[string]schema.BodyValue{}
	inBody := map[string]bool{}
	for _, list := range [][]schema.BodyProperties{e.TextBody, e.HTMLBody} {
		for _, p := range list {
			inBody[*p.PartID] = true
		}
	}
	for _, k := range t.texts {
		id := *k.part.PartID
		if !inBody[id] {
			continue
		}
		v := k.part.Text(k.octets, k.whole)
		if limit := int(t.threshold); !k.whole && len(v.Value) > limit {
			v.Value = cut(v.Value, limit)
		}
		e.BodyValues[id] = v
		if b := parts[*k.part.BlobID]; b.Inline != nil && bytes.Equal(v.Octets(), b.Inline) {
			b.Inline, b.Value = nil, &id
			parts[*k.part.BlobID] = b
		}
	}
	e.Preview = preview(e)
}

// preview is the beginning of the first text of the body that can be shown.
func preview(e *schema.Email) string {
	for _, list := range [][]schema.BodyProperties{e.TextBody, e.HTMLBody} {
		for _, p := range list {
			if v, ok := e.BodyValues[*p.PartID]; ok {
				if text := extract.Preview(v.Value, p.Type == "text/html"); text != "" {
					return text
				}
			}
		}
	}
	return ""
}

// isBodyText reports whether p may turn out to be a text of the body.
func isBodyText(p *schema.BodyPart) bool {
	return (p.Type == "text/plain" || p.Type == "text/html") && (p.Disposition == nil || *p.Disposition != "attachment")
}

// cut shortens s to at most n octets, at the end of a character.
func cut(s string, n int) string {
	for n > 0 && n < len(s) && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:min(n, len(s))]
}

func headerCost(fields []schema.Header) int64 {
	n := 0
	for _, f := range fields {
		n += 3 * (len(f.Name) + len(f.Value) + 32)
	}
	return int64(n)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// digest counts and hashes what is read through it.
type digest struct {
	r    io.Reader
	n    int64
	hash hash.Hash // nil without digests
}

func (b *Bridge) newDigest(r io.Reader) *digest {
	d := &digest{r: r}
	if b.cfg.Digest {
		d.hash = sha256.New()
	}
	return d
}

func (d *digest) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.n += int64(n)
	if d.hash != nil {
		d.hash.Write(p[:n])
	}
	return n, err
}
