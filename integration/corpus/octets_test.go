//go:build integration

package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	"lsmtpd/extract"
	"lsmtpd/schema"
)

// TestOctets wants each message back as it was sent, and every octet of it accounted for by its structure.
func TestOctets(t *testing.T) {
	all := delivered(t)
	var tally counts
	var checking sync.WaitGroup
	next := make(chan *delivery)
	for range connections {
		checking.Go(func() {
			for d := range next {
				blobs, err := all.readBlobs(t, d.published)
				if err == nil {
					err = errors.Join(wantRaw(d, blobs), wantAccounted(d, blobs, &tally))
				}
				if err != nil {
					t.Errorf("%s by %s: %v", d.name, d.way, err)
				}
			}
		})
	}
	for _, d := range all.all() {
		next <- d
	}
	close(next)
	checking.Wait()
	all.logCounts(t)
	t.Logf("%d octets in all: %v", tally.total, &tally)
}

// logCounts tells how many messages there were.
func (d *deliveries) logCounts(t *testing.T) {
	inFile, perCorpus := map[string][]byte{}, map[string]int{}
	for _, m := range d.bdat {
		corpus, _, _ := strings.Cut(m.name, "/")
		perCorpus[corpus]++
		inFile[m.name] = m.octets
	}
	same := 0
	for _, m := range d.data {
		if bytes.Equal(m.octets, inFile[m.name]) {
			same++
		}
	}
	t.Logf("%d messages by BDAT, as in their file; %d by DATA, %d of them as in their file", len(d.bdat), len(d.data), same)
	for _, name := range slices.Sorted(maps.Keys(perCorpus)) {
		t.Logf("  %s: %d", name, perCorpus[name])
	}
}

// readBlobs reads all blobs of a message and compares each with what the message says of it.
func (d *deliveries) readBlobs(t *testing.T, m *schema.Message) (map[string][]byte, error) {
	blobs := map[string][]byte{}
	for id, blob := range m.Blobs {
		octets := blob.Inline
		switch {
		case blob.Value != nil:
			octets = m.Email.BodyValues[*blob.Value].Octets()
		case blob.Stored != nil:
			object, err := d.objects.GetObject(t.Context(), *blob.Stored.Bucket, blob.Stored.Key, minio.GetObjectOptions{})
			if err != nil {
				return nil, err
			}
			octets, err = io.ReadAll(object)
			if err := errors.Join(err, object.Close()); err != nil {
				return nil, fmt.Errorf("read %s: %w", blob.Stored.URL, err)
			}
		}
		if int64(len(octets)) != blob.Size || blob.SHA256 == nil || digest(octets) != *blob.SHA256 {
			return nil, fmt.Errorf("the octets of %s are %d with SHA-256 %s; the message says %d", id, len(octets), digest(octets), blob.Size)
		}
		blobs[id] = octets
	}
	return blobs, nil
}

func digest(octets []byte) string {
	sum := sha256.Sum256(octets)
	return hex.EncodeToString(sum[:])
}

// wantRaw wants the message back from the store, and its size and digest in the envelope.
func wantRaw(d *delivery, blobs map[string][]byte) error {
	e := d.published.Email
	if e.BlobID == nil || *e.BlobID != schema.RawBlobID || e.SHA256 == nil {
		return errors.New("the envelope has no raw message or no digest of it")
	}
	if raw := blobs[schema.RawBlobID]; !bytes.Equal(raw, d.octets) || e.Size != int64(len(d.octets)) || *e.SHA256 != digest(d.octets) {
		return fmt.Errorf("the raw message has %d octets with SHA-256 %s, is said to have %d with %s; sent were %d with %s",
			len(raw), digest(raw), e.Size, *e.SHA256, len(d.octets), digest(d.octets))
	}
	return nil
}

// counts are the octets by what they are part of.
type counts struct {
	mu        sync.Mutex
	total     int64
	octets    map[extract.SpanKind]int64
	unencoded int // octets of bodies without a transfer encoding
}

func (c *counts) add(s extract.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.octets == nil {
		c.octets = map[extract.SpanKind]int64{}
	}
	c.octets[s.Kind] += s.End - s.Start
	c.total += s.End - s.Start
}

func (c *counts) addUnencoded(octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unencoded += octets
}

func (c *counts) String() string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(c.octets)) {
		list = append(list, fmt.Sprintf("%s %d", kind, c.octets[kind]))
	}
	return fmt.Sprintf("%s; of the bodies, %d are as published without decoding", strings.Join(list, ", "), c.unencoded)
}

// wantAccounted wants each octet of the message in exactly one span, the bodies in the order of the leaf parts that were
// published, and in headers and bodies what was published of them.
func wantAccounted(d *delivery, blobs map[string][]byte, tally *counts) error {
	spans, err := trace(d.octets)
	if err != nil {
		return err
	}
	var at int64
	var leaves []string
	headers, bodies := map[string][]byte{}, map[string][]byte{}
	for _, s := range spans {
		if s.Start != at || s.End < s.Start || s.End > int64(len(d.octets)) {
			return fmt.Errorf("the span %+v does not begin where the one before it ends, at %d", s, at)
		}
		at = s.End
		tally.add(s)
		octets := d.octets[s.Start:s.End]
		switch s.Kind {
		case extract.SpanBody:
			leaves = append(leaves, s.PartID)
			bodies[s.PartID] = octets
		case extract.SpanHeader:
			headers[s.PartID] = append(headers[s.PartID], octets...)
		case extract.SpanDelimiter:
			if !bytes.HasPrefix(bytes.TrimLeft(octets, "\r\n"), []byte("--")) {
				return fmt.Errorf("%q is no delimiter", octets)
			}
		case extract.SpanEpilogue:
			if len(bytes.TrimSpace(octets)) > 0 && !hasProblem(d.published, extract.CodeEpilogue) {
				return fmt.Errorf("an epilogue of %d octets is no problem", len(octets))
			}
		}
	}
	if at != int64(len(d.octets)) {
		return fmt.Errorf("the spans end at %d of %d octets", at, len(d.octets))
	}
	return errors.Join(wantBodies(d.published, leaves, bodies, blobs, tally), wantHeaders(d.published, headers, blobs))
}

// wantBodies wants the bodies in the message to be those of the leaf parts that were published, in order, and their
// octets where they have no transfer encoding.
func wantBodies(m *schema.Message, leaves []string, bodies, blobs map[string][]byte, tally *counts) error {
	root := m.Email.BodyStructure
	var published []string
	for p := range root.Leaves() {
		published = append(published, *p.PartID)
		fields := p.Headers
		if p == root {
			fields = m.Email.Headers
		}
		body := bodies[*p.PartID]
		if isEncoded(fields) {
			continue
		}
		if blob := blobs[*p.BlobID]; !bytes.Equal(blob, body) {
			return fmt.Errorf("the part %s has %d octets %.40q in the message, published are %d %.40q", *p.PartID, len(body), body, len(blob), blob)
		}
		tally.addUnencoded(len(body))
	}
	if !slices.Equal(leaves, published) {
		return fmt.Errorf("the bodies are of the parts %q, published were %q", leaves, published)
	}
	return nil
}

// isEncoded says whether a part with these fields may have an encoding that changes its octets.
func isEncoded(fields []schema.Header) bool {
	return slices.ContainsFunc(fields, func(h schema.Header) bool {
		if !strings.EqualFold(h.Name, "Content-Transfer-Encoding") {
			return false
		}
		return !slices.Contains([]string{"7bit", "8bit", "binary"}, strings.ToLower(strings.TrimSpace(h.Value)))
	})
}

// trace returns what each octet of a message is part of.
func trace(octets []byte) ([]extract.Span, error) {
	r := extract.NewReader(bytes.NewReader(octets), extract.Limits{})
	defer r.Close()
	var spans []extract.Span
	r.Trace(func(s extract.Span) { spans = append(spans, s) })
	for {
		if _, err := r.NextPart(); err == io.EOF {
			return spans, nil
		} else if err != nil {
			return nil, err
		}
	}
}

func hasProblem(m *schema.Message, code string) bool {
	return slices.ContainsFunc(m.Problems, func(p schema.Problem) bool { return p.Code == code })
}

// wantHeaders compares the header blocks in the message, by the section they are of, with the fields that were
// published: those of the message itself have to be equal, or stand beside as a blob; those of parts have to be in the
// block, in their order.
func wantHeaders(m *schema.Message, headers, blobs map[string][]byte) error {
	block := headers[""]
	if m.Email.HeadersBlobID != nil {
		if blob := blobs[*m.Email.HeadersBlobID]; !bytes.Equal(blob, block) {
			return fmt.Errorf("the blob of the header is %.200q, want %.200q", blob, block)
		}
	} else {
		var joined strings.Builder
		for _, h := range m.Email.Headers {
			joined.WriteString(h.Name + ":" + h.Value + "\r\n")
		}
		none := len(block) == 0 && len(m.Email.Headers) == 0 // all of the message is body
		if joined.String()+"\r\n" != string(block) && !none {
			return fmt.Errorf("the header fields are %.200q, want %.200q", joined.String(), block)
		}
	}
	delete(headers, "")
	root := m.Email.BodyStructure
	return errors.Join(wantPartHeaders(root, "", headers), unknownHeaders(headers))
}

// wantPartHeaders looks for the fields of the parts below p in their blocks, and takes those out of headers.
func wantPartHeaders(p *schema.BodyPart, section string, headers map[string][]byte) error {
	for i, sub := range p.SubParts {
		id := strings.TrimPrefix(fmt.Sprintf("%s.%d", section, i+1), ".")
		rest := string(headers[id])
		delete(headers, id)
		for _, h := range sub.Headers {
			_, after, found := strings.Cut(rest, h.Name)
			if found {
				after, found = strings.CutPrefix(strings.TrimLeft(after, " \t"), ":"+h.Value)
			}
			if !found && !strings.ContainsRune(h.Name+h.Value, '\uFFFD') {
				return fmt.Errorf("the header field %q of %s is not in %.200q", h, id, rest)
			}
			if found {
				rest = after
			}
		}
		if err := wantPartHeaders(sub, id, headers); err != nil {
			return err
		}
	}
	return nil
}

func unknownHeaders(headers map[string][]byte) error {
	if len(headers) > 0 {
		return fmt.Errorf("there are headers of no published part: %.200q", headers)
	}
	return nil
}
