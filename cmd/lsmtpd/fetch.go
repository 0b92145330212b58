package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// fetcher writes the parts of published messages to files.
type fetcher struct {
	console *console
	store   settings // where the objects are
	out     string   // directory
	all     bool     // every part, texts of the body too
}

func newFetch(c *console) *cobra.Command {
	f := &fetcher{console: c}
	l := newLoader()
	cmd := &cobra.Command{
		Use:   "fetch [FILE…]",
		Short: "Write the attachments of published messages to files, digests verified",
		Long: `Write the attachments of published messages to files and verify their digests.
The messages are JSON as lsmtpd tail --json prints it, from files or from standard
input. Where the raw message is kept (message.raw: store), it is written too, as
TRANSACTION.eml, and verified to be what was received.
No file is overwritten: a second invoice.pdf becomes "invoice (2).pdf".`,
		Example: `  lsmtpd tail --config lsmtpd.yaml --json -n 1 | lsmtpd fetch --config lsmtpd.yaml --out inbox`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) error {
			s, _, err := l.ready(c)
			if err != nil {
				return err
			}
			f.store = *s
			return f.run(cmd.Context(), files)
		},
	}
	cmd.Flags().StringVar(&f.out, "out", ".", "`directory` to write to; made where it is missing")
	cmd.Flags().BoolVar(&f.all, "all", false, "write every body part, the texts of the body too")
	l.addFlags(cmd.Flags(), "store.", "log.")
	return cmd
}

func (f *fetcher) run(ctx context.Context, files []string) error {
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return usageError{fmt.Errorf("--out: %w", err)}
	}
	if len(files) == 0 {
		return f.fetchStream(ctx, "standard input", f.console.in)
	}
	for _, path := range files {
		in, err := os.Open(path)
		if err != nil {
			return usageError{err}
		}
		err = f.fetchStream(ctx, path, in)
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return nil
}

// fetchStream fetches for every message of a stream of JSON documents.
func (f *fetcher) fetchStream(ctx context.Context, name string, r io.Reader) error {
	d := json.NewDecoder(r)
	for n := 1; ; n++ {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if err == io.EOF {
			return nil
		}
		var m *schema.Message
		if err == nil {
			m, err = schema.Decode(raw)
		}
		if err != nil {
			return usageError{fmt.Errorf("%s: message %d: %w; want what lsmtpd tail --json prints", name, n, err)}
		}
		if err := f.fetch(ctx, m); err != nil {
			return fmt.Errorf("%s: message %s: %w", name, m.ID, err)
		}
	}
}

func (f *fetcher) fetch(ctx context.Context, m *schema.Message) error {
	for _, p := range f.wanted(m) {
		name := "part-" + *p.PartID
		if p.Name != nil {
			name = *p.Name
		}
		if err := f.fetchBlob(ctx, m, *p.BlobID, name); err != nil {
			return fmt.Errorf("part %s: %w", *p.PartID, err)
		}
	}
	if m.Email.BlobID != nil {
		if err := f.fetchRaw(ctx, m, *m.Email.BlobID); err != nil {
			return fmt.Errorf("raw message: %w", err)
		}
	}
	return nil
}

// wanted are the parts to write: the attachments, and what an RFC 8621 client
// shows in the body without its being text, such as a scan sent inline.
func (f *fetcher) wanted(m *schema.Message) []schema.BodyProperties {
	var list []schema.BodyProperties
	attached := map[string]bool{}
	for _, p := range m.Email.Attachments {
		if p.PartID != nil {
			attached[*p.PartID] = true
		}
	}
	if m.Email.BodyStructure == nil {
		return nil
	}
	for p := range m.Email.BodyStructure.Leaves() {
		isText := p.Type == "text/plain" || p.Type == "text/html"
		if p.PartID != nil && p.BlobID != nil && (f.all || attached[*p.PartID] || !isText) {
			list = append(list, p.BodyProperties)
		}
	}
	return list
}

// fetchRaw rebuilds the mail as it was received. Its size and digest are those of the mail, whatever its blob says.
func (f *fetcher) fetchRaw(ctx context.Context, m *schema.Message, id string) error {
	blob, ok := m.Blobs[id]
	if !ok {
		return noBlob(id)
	}
	const contradiction = "the message contradicts itself: "
	if blob.Size != m.Email.Size {
		return fmt.Errorf(contradiction+"email.size is %d, the size of blob %q is %d", m.Email.Size, id, blob.Size)
	}
	sum := m.Email.SHA256
	if sum != nil && blob.SHA256 != nil && *sum != *blob.SHA256 {
		return fmt.Errorf(contradiction+"email.sha256 is %s, the sha256 of blob %q is %s", *sum, id, *blob.SHA256)
	}
	if sum != nil {
		blob.SHA256 = sum
	}
	return f.write(ctx, m, blob, m.TransactionID+".eml")
}

func noBlob(id string) error { return fmt.Errorf("the message has no blob %q", id) }

// fetchBlob writes a blob to a new file under a name like the given one.
func (f *fetcher) fetchBlob(ctx context.Context, m *schema.Message, id, name string) error {
	blob, ok := m.Blobs[id]
	if !ok {
		return noBlob(id)
	}
	return f.write(ctx, m, blob, name)
}

// write copies the octets of a blob to a new file, and verifies them.
func (f *fetcher) write(ctx context.Context, m *schema.Message, blob schema.Blob, name string) error {
	r, err := f.open(ctx, m, blob)
	if err != nil {
		return err
	}
	file, err := create(f.out, name)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	bar := progress(f.console.err, filepath.Base(file.Name()), blob.Size)
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, h, bar), r)
	err = errors.Join(err, bar.Close(), r.Close(), file.Close())
	sum := hex.EncodeToString(h.Sum(nil))
	switch {
	case err != nil:
	case n != blob.Size:
		err = fmt.Errorf("%d octets, the message says %d", n, blob.Size)
	case blob.SHA256 != nil && sum != *blob.SHA256:
		err = fmt.Errorf("its SHA-256 is %s, the message says %s", sum, *blob.SHA256)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	verified := "no digest to verify"
	if blob.SHA256 != nil {
		verified = "sha256 " + sum
	}
	_, err = fmt.Fprintf(f.console.out, "%s  %s  %s\n", file.Name(), size(n), verified)
	return err
}

// open opens the octets of a blob wherever they are.
func (f *fetcher) open(ctx context.Context, m *schema.Message, blob schema.Blob) (io.ReadCloser, error) {
	switch {
	case blob.Value != nil:
		return io.NopCloser(bytes.NewReader(m.Email.BodyValues[*blob.Value].Octets())), nil
	case blob.Stored == nil:
		return io.NopCloser(bytes.NewReader(blob.Inline)), nil
	}
	s := f.store
	if s.store.url == "" {
		if !strings.HasPrefix(blob.Stored.URL, "file://") {
			return nil, usageError{fmt.Errorf("store.url: missing; set it to the store that holds %s", blob.Stored.URL)}
		}
		s.store.url = strings.TrimSuffix(blob.Stored.URL, "/"+(&url.URL{Path: blob.Stored.Key}).EscapedPath())
	}
	store, err := s.openStore()
	if err != nil {
		return nil, usageError{err}
	}
	r, err := store.Get(ctx, s.relativeKey(blob.Stored.Key))
	if err != nil {
		return nil, remedied(fmt.Errorf("get %s: %w", blob.Stored.URL, err), objectstore.Remedy(err))
	}
	return r, nil
}

// openStore opens the configured store by itself.
func (s *settings) openStore() (objectstore.Store, error) {
	pool, err := objectstore.NewPool(s.store.memory)
	if err != nil {
		return nil, err
	}
	return objectstore.Open(s.storeConfig(pool))
}

// relativeKey is a full key without the prefix of store.url.
func (s *settings) relativeKey(key string) string {
	u, err := url.Parse(s.store.url)
	if err != nil || u.Scheme != "s3" {
		return key
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix == "" {
		return key
	}
	return strings.TrimPrefix(key, prefix+"/")
}

const (
	maxFileName = 255 // octets, the most that file systems take
	maxExt      = 16  // octets of an extension that is kept where a name is cut
)

// create makes a new file in dir. The name came with a message, so it is a last element at most.
func create(dir, name string) (*os.File, error) {
	name = harmless(filepath.Base(filepath.Clean("/" + strings.ReplaceAll(name, `\`, "/"))))
	if name == "" || name == "/" || name == "." {
		name = "unnamed"
	}
	ext := filepath.Ext(name)
	if len(ext) > maxExt {
		ext = ""
	}
	stem := strings.TrimSuffix(name, ext)
	for n := 1; n < 10_000; n++ {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, os.ErrExist) {
			return file, err
		}
		number := fmt.Sprintf(" (%d)", n+1)
		for len(stem)+len(number)+len(ext) > maxFileName {
			_, size := utf8.DecodeLastRuneInString(stem)
			stem = stem[:len(stem)-size]
		}
		name = stem + number + ext
	}
	return nil, fmt.Errorf("%s: too many files of that name", filepath.Join(dir, stem+ext))
}
