package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/publish"
	"lsmtpd/extract"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

const address = "mail"

// bed is a Bridge between a scripted node and a directory store that can fail.
type bed struct {
	*bridge.Bridge
	t         *testing.T
	publisher *publish.Publisher
	broker    *devbroker.Broker
	script    *devbroker.Script
	store     *faultyStore
	root      string // of the store
	metrics   *prometheus.Registry
	settings  bridge.Config
}

// options change a bed before it is made.
type options struct {
	bridge    func(*bridge.Config)
	publish   func(*publish.Config)
	broker    devbroker.Config
	brokerURL string // instead of the node's
	root      string // of the store, where something is in it already
}

func newBed(t *testing.T, o options) *bed {
	t.Helper()
	b := &bed{t: t, root: t.TempDir(), metrics: prometheus.NewRegistry()}
	if o.root != "" {
		b.root = o.root
	}
	var raw string
	b.broker, raw = devbroker.Start(t, o.broker)
	b.script = b.broker.Script(address)
	if o.brokerURL != "" {
		raw = o.brokerURL
	}
	u, err := publish.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	pc := publish.Config{ContainerID: "test", Logger: log}
	pc.URLs = append(pc.URLs, u)
	if o.publish != nil {
		o.publish(&pc)
	}
	b.settings = bridge.Config{
		Hostname: "mx.example.com", Address: address, MaxMessageBytes: 64 << 20, MaxRecipients: 1000,
		OffloadThreshold: 64 << 10, MaxInlineBytes: 256 << 10, Limits: extract.Limits{MaxHeaderBytes: 1 << 20, MaxParts: 1000, MaxDepth: 100},
		Memory: 64 << 20, Digest: true, SettleTimeout: 20 * time.Second, MaxPublishBytes: 1 << 20,
	}
	if o.bridge != nil {
		o.bridge(&b.settings)
	}
	b.store = &faultyStore{Store: objectstore.NewDir(b.root)}
	p := publish.New(pc)
	b.publisher = p
	if b.Bridge, err = bridge.New(b.settings, p, b.store, b.metrics, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	wg.Go(func() { b.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return b
}

// session begins a transaction with recipients.
func (b *bed) session(size int64, rcpts ...string) (*bridge.Session, error) {
	s := b.NewSession(context.Background(), bridge.Peer{Helo: "client.example.org", Address: "192.0.2.1", Protocol: "ESMTP"})
	if err := s.Mail("a@example.org", &smtp.MailOptions{Size: size}); err != nil {
		return nil, err
	}
	if len(rcpts) == 0 {
		rcpts = []string{"in@example.com"}
	}
	for _, r := range rcpts {
		if err := s.Rcpt(r, nil); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// deliver takes a message through a whole transaction and returns the reply, "250" or as "451 4.4.1".
func (b *bed) deliver(body io.Reader) string {
	b.t.Helper()
	s, err := b.session(0)
	if err != nil {
		return replyText(b.t, err)
	}
	_, errs := s.Deliver(b.t.Context(), body)
	if len(errs) != 1 {
		b.t.Fatalf("%d replies for one recipient", len(errs))
	}
	return replyText(b.t, errs[0])
}

// replyText is code and enhanced code of a reply.
func replyText(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "250"
	}
	r, ok := err.(*smtp.SMTPError) //nolint:errorlint // go-smtp looks for the bare type, too
	if !ok {
		t.Fatalf("not an SMTPError: %v", err)
	}
	return fmt.Sprintf("%d %d.%d.%d", r.Code, r.EnhancedCode[0], r.EnhancedCode[1], r.EnhancedCode[2])
}

// objects are the files in the store, temporary ones included, as paths below its root.
func (b *bed) objects() []string {
	b.t.Helper()
	var files []string
	err := filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted just now
		}
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(b.root, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// published decodes what stands in the queue.
func (b *bed) published() []*schema.Message { return b.queue(address) }

// queue decodes what stands in a queue.
func (b *bed) queue(name string) []*schema.Message {
	b.t.Helper()
	var list []*schema.Message
	for _, raw := range b.broker.Messages(name) {
		body, err := raw.Data()
		if err != nil {
			b.t.Fatal(err)
		}
		m, err := schema.Decode(body)
		if err != nil {
			b.t.Fatalf("%v in %s", err, body)
		}
		list = append(list, m)
	}
	return list
}

// octets returns the octets of a blob, wherever they are.
func (b *bed) octets(m *schema.Message, id string) []byte {
	b.t.Helper()
	blob, ok := m.Blobs[id]
	switch {
	case !ok:
		b.t.Fatalf("no blob %q", id)
	case blob.Value != nil:
		return m.Email.BodyValues[*blob.Value].Octets()
	case blob.Stored != nil:
		r, err := b.store.Get(b.t.Context(), blob.Stored.Key)
		if err != nil {
			b.t.Fatal(err)
		}
		defer r.Close()
		var buf bytes.Buffer
		if _, err := io.Copy(&buf, r); err != nil {
			b.t.Fatal(err)
		}
		return buf.Bytes()
	}
	return blob.Inline
}

// metric is the value of a counter or gauge, summed over its labels that contain label.
func (b *bed) metric(name, label string) (sum float64) {
	b.t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.Contains(m.String(), label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// faultyStore is a store with faults. Set them before the call they are for.
type faultyStore struct {
	objectstore.Store
	mu     sync.Mutex
	puts   int
	checks int           // that found it well
	failAt int           // the number of the Put that fails halfway, from 1
	denied error         // every Put fails with it, and nothing else does
	down   error         // every call fails with it
	slow   time.Duration // what a Put takes when its octets are there
	hangs  bool          // a Put does not end before its context
	stays  error         // every Delete fails with it

	failsLate, panics string // how the key ends of a Put that fails when it has everything, and of one that panics
	lies              bool   // a Put tells another size

	running  atomic.Int32 // calls of Put
	complete []string     // keys of objects that were complete once
}

func (s *faultyStore) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *faultyStore) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *faultyStore) Put(ctx context.Context, key string, r io.Reader) (objectstore.Object, error) {
	s.running.Add(1)
	defer s.running.Add(-1)
	s.mu.Lock()
	s.puts++
	fails, denied := s.puts == s.failAt, s.denied
	s.mu.Unlock()
	if denied != nil {
		return objectstore.Object{}, denied
	}
	if err := s.fault(); err != nil {
		return objectstore.Object{}, err
	}
	if fails {
		_, err := io.CopyN(io.Discard, r, 100_000)
		return objectstore.Object{}, errors.Join(objectstore.ErrUnavailable, err)
	}
	if s.panics != "" && strings.HasSuffix(key, s.panics) {
		panic("a defect of the store")
	}
	o, err := s.Store.Put(ctx, key, r)
	if err == nil {
		s.mu.Lock()
		s.complete = append(s.complete, key)
		s.mu.Unlock()
	}
	if s.failsLate != "" && strings.HasSuffix(key, s.failsLate) {
		return objectstore.Object{}, errors.Join(objectstore.ErrUnavailable, err, s.Delete(ctx, key))
	}
	if s.lies {
		o.Size--
	}
	<-time.After(s.slow)
	if s.hangs {
		<-ctx.Done()
		return objectstore.Object{}, errors.Join(context.Cause(ctx), s.Delete(context.WithoutCancel(ctx), key))
	}
	return o, err
}

// Together keeps the faults.
func (s *faultyStore) Together() objectstore.Store { return s }

func (s *faultyStore) setStays(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stays = err
}

func (s *faultyStore) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	err := s.stays
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

func (s *faultyStore) Check(ctx context.Context) error {
	if err := s.fault(); err != nil {
		return err
	}
	err := s.Store.Check(ctx)
	s.mu.Lock()
	s.checks++
	s.mu.Unlock()
	return err
}

// letter is a mail with a text and attachments of the given sizes, all with CRLF.
func letter(sizes ...int) []byte {
	var b bytes.Buffer
	b.WriteString("From: A <a@example.org>\r\nTo: in@example.com\r\nSubject: letter\r\nMessage-ID: <m1@example.org>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\nSecond line.\r\n")
	for i, n := range sizes {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/octet-stream; name=\"%d.bin\"\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: binary\r\n\r\n", i+1)
		b.Write(payload(n))
		b.WriteString("\r\n")
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

// payload is n octets that look random and are the same each time.
func payload(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(p) // never fails
	return p
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// wantNoUpload makes sure that no Put has outlived the transaction that called it.
func (b *bed) wantNoUpload() {
	b.t.Helper()
	if n := b.store.running.Load(); n != 0 {
		b.t.Errorf("%d uploads still run", n)
	}
}

// losesBroker resets the connection and waits until the loss is known.
func (b *bed) losesBroker() {
	b.broker.ResetConnections()
	eventually(b.t, "the publisher notices the lost connection", func() bool { return b.publisher.Health(address) != nil })
}

// hook calls f once when its turn comes to be read, and is then at its end.
type hook struct{ f func() }

func (h *hook) Read([]byte) (int, error) {
	if h.f != nil {
		h.f()
		h.f = nil
	}
	return 0, io.EOF
}

// brokenOff yields data and then ends as a lost connection does.
func brokenOff(data []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(data), &failing{fmt.Errorf("%w: connection reset", bridge.ErrIncomplete)})
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
