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

	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
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
