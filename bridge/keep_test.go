package bridge_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/spool"
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

// TestSpool is the promise with a spool: what earns a 250, and what is left in the spool, the store and the journal.
func TestSpool(t *testing.T) {
	for name, c := range map[string]struct {
		script  func(*bed)
		full    bool
		want    string
		records int
		sent    bool
		objects int
		intents int
	}{
		"accepted": {want: "250", objects: 1},
		"never sent": {script: func(b *bed) {
			b.script.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "deleted")
			b.losesBroker()
		},
			want: "250", records: 1, objects: 1},
		"refused for now": {script: func(b *bed) { b.script.Delivery(1).IsReleased() },
			want: "250", records: 1, objects: 1},
		"in doubt": {script: func(b *bed) { b.script.Delivery(1).IsNeverSettled() },
			want: "250", records: 1, sent: true, objects: 1},
		"refused for good": {script: func(b *bed) { b.script.Delivery(1).IsRejected("amqp:not-allowed", "") },
			want: "451 4.3.5"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpool(t, spool.Config{})
			b := newBed(t, options{bridge: func(cfg *bridge.Config) {
				cfg.Spool, cfg.SpoolAfter = s, 300*time.Millisecond
			}})
			eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
			if c.script != nil {
				c.script(b)
			}
			if got := b.deliver(bytes.NewReader(letter(100_000))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if got := s.Stats(); got.Waiting != int64(c.records) || got.Failed != 0 {
				t.Errorf("%+v, want %d records", got, c.records)
			}
			if got := b.objects(); len(got) != c.objects {
				t.Errorf("objects %v, want %d", got, c.objects)
			}
			if got := s.Intents(); len(got) != c.intents {
				t.Errorf("intents %v, want %d", got, c.intents)
			}
			if c.records == 0 {
				return
			}
			e := s.Take(t.Context())
			defer e.Again()
			m, err := e.Message()
			if err != nil || m.ID != e.ID || e.Sent() != c.sent || m.Email.Size == 0 {
				t.Errorf("record %s, message %+v, sent %v, error %v; want sent %v", e.ID, m, e.Sent(), err, c.sent)
			}
		})
	}
}

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
	if got := b.objects(); len(got) != 0 {
		t.Errorf("objects %v, want none", got)
	}
}
