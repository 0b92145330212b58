package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// newSpool opens a spool for a bed.
func newSpool(t *testing.T, cfg spool.Config) *spool.Spool {
	t.Helper()
	cfg.Dir, cfg.Logger = t.TempDir(), slog.New(slog.DiscardHandler)
	s, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestSpool is the promise with a spool: what earns a 250, and that what was spooled arrives by itself.
func TestSpool(t *testing.T) {
	for name, c := range map[string]struct {
		script  func(*bed)
		want    string
		spooled bool
		objects int
	}{
		"accepted": {want: "250", objects: 1},
		"never sent": {want: "250", spooled: true, objects: 1, script: func(b *bed) {
			b.script.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "deleted")
			b.losesBroker()
		}},
		"refused for now":  {want: "250", spooled: true, objects: 1, script: func(b *bed) { b.script.Delivery(devbroker.Every).IsReleased() }},
		"in doubt":         {want: "250", spooled: true, objects: 1, script: func(b *bed) { b.script.Delivery(devbroker.Every).Stored().IsNeverSettled() }},
		"refused for good": {want: "451 4.3.5", script: func(b *bed) { b.script.Delivery(1).IsRejected("amqp:not-allowed", "") }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpool(t, spool.Config{})
			b := newBed(t, options{bridge: func(cfg *bridge.Config) {
				cfg.Spool, cfg.SpoolAfter, cfg.SettleTimeout = s, 300*time.Millisecond, 2*time.Second
			}})
			eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
			if c.script != nil {
				c.script(b)
			}
			if got := b.deliver(bytes.NewReader(letter(100_000))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if got := b.metric("lsmtpd_transactions_total", `"spooled"`) == 1; got != c.spooled {
				t.Errorf("counted as spooled: %v, want %v", got, c.spooled)
			}
			if got := s.Stats().Waiting == 1; got != c.spooled {
				t.Errorf("in the spool: %v, want %v", got, c.spooled)
			}
			if got := b.objects(); len(got) != c.objects {
				t.Errorf("objects %v, want %d", got, c.objects)
			}
			if got := s.Intents(); len(got) != 0 {
				t.Errorf("intents %v, want none", got)
			}
			b.script.Clear()
			eventually(t, "the spool is empty", func() bool { return s.Stats().Waiting == 0 })
			ids := map[string]bool{}
			for _, m := range b.published() {
				ids[m.ID] = true
				if got := b.octets(m, "b2"); !bytes.Equal(got, payload(100_000)) {
					t.Errorf("%s refers to %d other octets", m.ID, len(got))
				}
			}
			if want := c.objects; len(ids) != want || s.Stats().Failed != 0 {
				t.Errorf("published %v, %d set aside; want %d", ids, s.Stats().Failed, want)
			}
		})
	}
}

// TestReplayRefused: what the broker refuses for good later is set aside, not lost and not tried for ever.
func TestReplayRefused(t *testing.T) {
	s := newSpool(t, spool.Config{})
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool = s }})
	eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
	b.script.Delivery(1).IsReleased()
	b.script.DeliveriesFrom(2).IsRejected("amqp:not-allowed", "")
	if got := b.deliver(bytes.NewReader(letter(100_000))); got != "250" {
		t.Fatalf("%s, want 250", got)
	}
	eventually(t, "the record is set aside", func() bool { return s.Stats().Failed == 1 })
	if got := b.objects(); len(got) != 1 || s.Stats().Waiting != 0 {
		t.Errorf("objects %v, %+v; want the object kept", got, s.Stats())
	}
	if got := b.metric("lsmtpd_spool_set_aside_total", ""); got != 1 {
		t.Errorf("%v counted, want 1", got)
	}
}

// TestReplayFitted: a message that was spooled without knowing the link is fitted to it when it is replayed.
func TestReplayFitted(t *testing.T) {
	s := newSpool(t, spool.Config{})
	b := newBed(t, options{broker: devbroker.Config{MaxMessageSize: 20_000}, bridge: func(cfg *bridge.Config) { cfg.Spool = s }})
	eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
	id, transaction := newUUID(), newUUID()
	body := payload(40_000)
	size := int64(len(body))
	blob, part := "b1", "1"
	structure := &schema.BodyPart{Headers: []schema.Header{}}
	structure.Type, structure.BlobID, structure.PartID, structure.Size = "application/octet-stream", &blob, &part, size
	err := s.Add(spool.Message{Delivery: spool.Delivery{ID: id, Address: address}, Message: &schema.Message{
		Schema: schema.ID, ID: id, TransactionID: transaction, Problems: []schema.Problem{},
		Email: schema.Email{BodyStructure: structure}, Blobs: map[string]schema.Blob{blob: {Size: size, Inline: body}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spool is empty", func() bool { return s.Stats().Waiting == 0 })
	list := b.published()
	if len(list) != 1 || list[0].ID != id || list[0].Blobs[blob].Stored == nil || !bytes.Equal(b.octets(list[0], blob), body) {
		t.Errorf("published %+v, want one with its blob in the store", list)
	}
	if got := s.Intents(); len(got) != 0 {
		t.Errorf("intents %v, want none", got)
	}
}

func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// TestSpoolFull: a spool that takes no more is as none.
func TestSpoolFull(t *testing.T) {
	s := newSpool(t, spool.Config{MaxMessages: 1})
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool, cfg.SettleTimeout = s, time.Second }})
	eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
	b.script.Delivery(devbroker.Every).IsReleased()
	for _, want := range []string{"250", "451 4.4.1"} {
		if got := b.deliver(bytes.NewReader(letter(100_000))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := b.objects(); len(got) != 1 {
		t.Errorf("objects %v, want those of the first", got)
	}
	if got := s.Intents(); len(got) != 0 {
		t.Errorf("intents %v, want none", got)
	}
}

// TestSpoolGone: what cannot be noted in the spool is not uploaded.
func TestSpoolGone(t *testing.T) {
	s := newSpool(t, spool.Config{})
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool = s }})
	eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.deliver(bytes.NewReader(letter(100_000))); got != "451 4.3.1" {
		t.Errorf("%s, want 451 4.3.1", got)
	}
	if objects, intents := b.objects(), s.Intents(); len(objects) != 0 || len(intents) != 0 {
		t.Errorf("objects %v, intents %v, want none", objects, intents)
	}
}

// TestCrash: what a transaction has uploaded when the program dies is deleted by the next start, unless it may have
// been published, or a record refers to it.
func TestCrash(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	log := slog.New(slog.DiscardHandler)
	before, err := spool.Open(spool.Config{Dir: dir, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	store := objectstore.NewDir(root)
	object := func(publishing, refused bool) string {
		id := newUUID()
		key := "2026/11/24/" + id + "/2"
		err := before.Uploading(id, key)
		if _, perr := store.Put(t.Context(), key, bytes.NewReader(payload(10))); perr != nil {
			err = perr
		}
		if publishing {
			err = errors.Join(err, before.Publishing(id))
		}
		if refused {
			err = errors.Join(err, before.Refused(id))
		}
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	object(false, false)
	object(true, true)
	inDoubt := object(true, false)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := spool.Open(spool.Config{Dir: dir, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { after.Close() })
	b := newBed(t, options{root: root, bridge: func(cfg *bridge.Config) { cfg.Spool = after }})
	eventually(t, "what was never published is deleted", func() bool { return len(b.objects()) <= 1 })
	if got := b.objects(); len(got) != 1 || got[0] != filepath.FromSlash(inDoubt) {
		t.Errorf("objects %v, want %s alone", got, inDoubt)
	}
}

// TestSpoolRaw: what the spool took octet for octet arrives as if it had come the live way.
func TestSpoolRaw(t *testing.T) {
	for name, c := range map[string]struct {
		always bool
		script func(*bed)
	}{
		"always":     {always: true},
		"store down": {script: func(b *bed) { b.storeGoes(objectstore.ErrUnavailable) }},
		"always, store and broker down": {always: true, script: func(b *bed) {
			b.storeGoes(objectstore.ErrUnavailable)
			b.script.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "deleted")
			b.losesBroker()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpool(t, spool.Config{})
			b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool, cfg.SpoolAlways = s, c.always }})
			eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
			if c.script != nil {
				c.script(b)
			}
			mail := letter(100_000, 10)
			if got := b.deliver(bytes.NewReader(mail)); got != "250" {
				t.Fatalf("%s, want 250", got)
			}
			b.script.Clear()
			b.store.setDown(nil)
			eventually(t, "the spool is empty", func() bool { return s.Stats().Waiting == 0 })
			list := b.published()
			if len(list) != 1 || list[0].Email.Size != int64(len(mail)) || list[0].Email.SHA256 == nil || list[0].Envelope.RcptTo[0].Email != "in@example.com" {
				t.Fatalf("published %+v, want the mail, once", list)
			}
			if got := b.octets(list[0], "b2"); !bytes.Equal(got, payload(100_000)) {
				t.Errorf("the attachment has %d other octets", len(got))
			}
			if objects, intents := b.objects(), s.Intents(); len(objects) != 1 || len(intents) != 0 || s.Stats().Failed != 0 {
				t.Errorf("objects %v, intents %v, %+v; want one object and nothing else", objects, intents, s.Stats())
			}
		})
	}
}

// TestSpoolRawRefused: a message that does not come whole, or for which there is no room, leaves nothing.
func TestSpoolRawRefused(t *testing.T) {
	for name, c := range map[string]struct {
		body io.Reader
		want string
	}{
		"cut":     {body: brokenOff(letter(100_000)), want: "451 4.4.2"},
		"no room": {body: bytes.NewReader(letter(3 << 20)), want: "452 4.3.1"},
		"large":   {body: bytes.NewReader(letter(5 << 20)), want: "552 5.3.4"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := int64(2 << 20)
			if name == "large" {
				limit = 0
			}
			s := newSpool(t, spool.Config{MaxBytes: limit})
			b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool, cfg.SpoolAlways, cfg.MaxMessageBytes = s, true, 4<<20 }})
			if got := b.deliver(c.body); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if st := s.Stats(); st.Waiting != 0 || st.Bytes != 0 {
				t.Errorf("%+v, want nothing", st)
			}
		})
	}
}

// TestSpoolRawDamaged: a record that is not as it was written is set aside.
func TestSpoolRawDamaged(t *testing.T) {
	cfg := spool.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	s, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool, cfg.SpoolAlways = s, true }})
	b.storeGoes(objectstore.ErrUnavailable)
	eventually(t, "the store is known to be down", func() bool { return b.StoreHealth() != nil })
	if got := b.deliver(bytes.NewReader(letter(100_000))); got != "250" {
		t.Fatalf("%s, want 250", got)
	}
	records, err := filepath.Glob(filepath.Join(cfg.Dir, "new", "*"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records %v, %v; want one", records, err)
	}
	f, err := os.OpenFile(records[0], os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("garbage"), 1000)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.store.setDown(nil)
	eventually(t, "the record is set aside", func() bool { return s.Stats().Failed == 1 })
	if got := b.objects(); len(got) != 0 || len(b.published()) != 0 {
		t.Errorf("objects %v, %d published; want none", got, len(b.published()))
	}
}

// TestReplayStoreRefuses: a record whose objects the store does not take, though it is up, is tried less and less often.
func TestReplayStoreRefuses(t *testing.T) {
	s := newSpool(t, spool.Config{})
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool, cfg.SpoolAlways, cfg.SpoolMaxTries = s, true, 1 }})
	b.store.mu.Lock()
	b.store.denied = objectstore.ErrTooLarge
	b.store.mu.Unlock()
	for _, mail := range [][]byte{letter(100_000), letter()} {
		if got := b.deliver(bytes.NewReader(mail)); got != "250" {
			t.Fatalf("%s, want 250", got)
		}
	}
	eventually(t, "the one without objects is published", func() bool { return len(b.published()) == 1 })
	<-time.After(2500 * time.Millisecond) // tries after 0, 1 and 3 seconds
	b.store.mu.Lock()
	puts := b.store.puts
	b.store.mu.Unlock()
	if puts > 3 || s.Stats().Waiting != 1 {
		t.Errorf("%d tries, %+v; want few, and the record to wait", puts, s.Stats())
	}
}

// TestSpoolRawClientGone: a client that is gone when its message has come whole sends it again, so it is not kept.
func TestSpoolRawClientGone(t *testing.T) {
	s := newSpool(t, spool.Config{})
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool, cfg.SpoolAlways = s, true }})
	session, err := b.session(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, gone := context.WithCancel(t.Context())
	_, errs := session.Deliver(ctx, io.MultiReader(bytes.NewReader(letter(1000)), &hook{gone}))
	if got := replyText(t, errs[0]); got != "451 4.4.2" || s.Stats().Waiting != 0 || len(b.published()) != 0 {
		t.Errorf("%s, %+v; want 451 4.4.2, and nothing kept", got, s.Stats())
	}
}

// storeGoes makes the store fail. The bridge knows after the first mail that needs it.
func (b *bed) storeGoes(err error) {
	b.t.Helper()
	eventually(b.t, "the first look at the store", func() bool {
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		return b.store.checks > 0
	})
	b.store.setDown(err)
	if !b.settings.SpoolAlways {
		if got := b.deliver(bytes.NewReader(letter(100_000))); got != "451 4.3.1" {
			b.t.Fatalf("%s, want 451 4.3.1", got)
		}
	}
}

// TestUndoneLater: what a refused message has left in the store, because that was down, is deleted when it is back.
func TestUndoneLater(t *testing.T) {
	s := newSpool(t, spool.Config{})
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Spool = s }})
	eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
	b.store.failAt = 2
	b.store.setStays(errors.New("down"))
	if got := b.deliver(bytes.NewReader(letter(100_000, 100_000))); got != "451 4.3.1" {
		t.Errorf("%s, want 451 4.3.1", got)
	}
	if got := b.objects(); len(got) != 1 {
		t.Errorf("objects %v, want the first attachment", got)
	}
	if got := s.Intents(); len(got) != 1 {
		t.Errorf("intents %v, want one", got)
	}
	b.store.setStays(nil)
	eventually(t, "the object is deleted", func() bool { return len(b.objects()) == 0 })
}
