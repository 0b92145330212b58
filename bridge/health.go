package bridge

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"lsmtpd/objectstore"
)

const (
	probeInterval = 10 * time.Second
	probeTimeout  = 5 * time.Second
	// probeAgain is the interval while the store is down, so that mail flows again soon after it is back.
	probeAgain = time.Second
)

// storeHealth knows whether the store can take objects: from a probe now and
// then, and at once from a failed upload.
type storeHealth struct {
	store   objectstore.Store
	log     *slog.Logger
	failure atomic.Pointer[error] // nil while the store is well
	failed  chan struct{}         // wakes the probe after a failed upload
}

func newStoreHealth(store objectstore.Store, log *slog.Logger) *storeHealth {
	return &storeHealth{store: store, log: log, failed: make(chan struct{}, 1)}
}

// err returns why the store is down, or nil.
func (h *storeHealth) err() error {
	if e := h.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// uploadFailed notes that an upload failed by the store's fault.
func (h *storeHealth) uploadFailed(err error) {
	h.set(err)
	select {
	case h.failed <- struct{}{}:
	default:
	}
}

// run probes the store until ctx ends.
func (h *storeHealth) run(ctx context.Context) {
	for ctx.Err() == nil {
		h.probe(ctx)
		interval := probeInterval
		if h.err() != nil {
			interval = probeAgain
		}
		t := time.NewTimer(interval)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-h.failed:
		}
		t.Stop()
	}
}

func (h *storeHealth) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := h.store.Check(ctx)
	if err != nil && ctx.Err() == context.Canceled {
		return // shutting down: says nothing of the store
	}
	h.set(err)
}

// set changes the state and logs the change.
func (h *storeHealth) set(err error) {
	if err == nil {
		if h.failure.Swap(nil) != nil {
			h.log.Info("store available again")
		}
		return
	}
	if h.failure.Swap(&err) == nil {
		h.log.Warn("store unavailable", "error", err, "remedy", objectstore.Remedy(err))
	}
}
