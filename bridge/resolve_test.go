package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// slowStore takes its time for each request, and can refuse to delete.
type slowStore struct {
	objectstore.Store
	takes time.Duration

	mu      sync.Mutex
	deleted map[string]int
	denied  map[string]bool
}

func (s *slowStore) wait(ctx context.Context) error {
	pause(ctx, s.takes)
	return context.Cause(ctx)
}

func (s *slowStore) Abandoned(ctx context.Context, _ string) ([]objectstore.Leftover, error) {
	return nil, s.wait(ctx)
}

func (s *slowStore) Delete(ctx context.Context, key string) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denied[key] {
		return objectstore.ErrDenied
	}
	s.deleted[key]++
	return nil
}

// resolving is a Bridge that finds intents, of a spool that is open until the test ends.
func resolving(t *testing.T, store *slowStore, left ...spool.Intent) *Bridge {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, i := range left {
		for _, key := range i.Keys {
			if err := s.Uploading(i.ID, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	store.deleted = map[string]int{}
	return &Bridge{cfg: Config{Spool: s}, store: store, left: left, unresolved: newUnresolved(left), log: slog.New(slog.DiscardHandler)}
}

// TestDeleteMany: a transaction with a thousand objects is deleted from a store of which each request takes 50 ms.
func TestDeleteMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for n := range 1000 {
			keys = append(keys, fmt.Sprint("k/", n))
		}
		b := &Bridge{store: &slowStore{takes: 50 * time.Millisecond, deleted: map[string]int{}}}
		if err := b.deleteKeys(t.Context(), keys); err != nil {
			t.Error(err)
		}
		b.store = &slowStore{takes: time.Hour, deleted: map[string]int{}}
		begun := time.Now()
		if err := b.deleteKeys(t.Context(), keys); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > resolveTimeout {
			t.Errorf("%v after %v, want it to end in time where nothing is answered", err, time.Since(begun))
		}
	})
}

// TestResolveGoesOn: an object that cannot be deleted does not keep the intents of others alive.
func TestResolveGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{denied: map[string]bool{"k/1": true}}
		held, free := spool.Intent{ID: "held", State: spool.Uploading, Keys: []string{"k/1"}}, spool.Intent{ID: "free", State: spool.Uploading, Keys: []string{"k/2"}}
		b := resolving(t, store, held, free)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.resolve(ctx)
		<-time.After(time.Minute)
		if got := b.cfg.Spool.Intents(); len(got) != 1 || got[0].ID != held.ID || store.deleted["k/2"] != 2 || b.unresolved.has(free.ID) {
			t.Errorf("intents %v, deleted %v; want only what cannot be deleted to be left", got, store.deleted)
		}
		cancel()
		synctest.Wait()
	})
}

// TestResolveRefused: what a refused transaction could not delete is deleted when the store lets it, and what a request
// without an answer brings later as well.
func TestResolveRefused(t *testing.T) {
	for name, c := range map[string]struct{ denied, uncertain bool }{
		"denied": {denied: true}, "uncertain": {uncertain: true}, "gone": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &slowStore{denied: map[string]bool{"k/1": c.denied}}
				b := resolving(t, store)
				b.metrics = newMetrics(prometheus.NewRegistry())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go b.resolve(ctx)
				tr := &transaction{bridge: b, id: "id", keys: []string{"k/1"}, uncertain: c.uncertain}
				if err := b.cfg.Spool.Uploading(tr.id, "k/1"); err != nil {
					t.Fatal(err)
				}
				tr.undoOrLater(ctx)
				lives := c.denied || c.uncertain
				if got := b.cfg.Spool.Intents(); (len(got) == 1) != lives {
					t.Errorf("intents %v", got)
				}
				<-time.After(5 * time.Second)
				store.mu.Lock()
				store.denied["k/1"] = false
				store.mu.Unlock()
				<-time.After(time.Minute)
				want := 1
				if lives {
					want = 2
				}
				if got := b.cfg.Spool.Intents(); len(got) != 0 || store.deleted["k/1"] < want {
					t.Errorf("intents %v, deleted %v times; want no intent, and %d", got, store.deleted, want)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// staleUpload is a store with an upload that is going on for long.
type staleUpload struct {
	slowStore
	key     string
	aborted bool
}

func (s *staleUpload) Abandoned(context.Context, string) ([]objectstore.Leftover, error) {
	return []objectstore.Leftover{{Key: s.key, Started: time.Now().Add(-3 * time.Hour)}}, nil
}

func (s *staleUpload) Abort(context.Context, objectstore.Leftover) error {
	s.aborted = true
	return nil
}

// TestSweepBesideReplay: the upload of a raw record, which may take long, is named by an intent and left alone.
func TestSweepBesideReplay(t *testing.T) {
	cfg := spool.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	s, err := spool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := uuid.Must(uuid.NewV7()).String()
	store := &staleUpload{key: "2026/11/24/" + id + "/2"}
	w, err := s.NewRaw(id)
	if err == nil {
		err = w.Commit(spool.Header{TransactionID: id, Envelope: &schema.Envelope{}, Deliveries: []spool.Delivery{{ID: id}}})
	}
	if err = errors.Join(err, s.Uploading(id, store.key)); err != nil {
		t.Fatal(err)
	}
	sweeper := &Sweeper{Store: store, SpoolDir: cfg.Dir, OlderThan: time.Hour, Delete: true, Logger: cfg.Logger}
	if err := sweeper.Run(t.Context(), func(f Finding) { t.Errorf("found %+v", f) }); err != nil || store.aborted {
		t.Errorf("%v, aborted %v", err, store.aborted)
	}
}
