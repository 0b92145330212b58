package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
)

const (
	// resolveAgain is how long after a deletion it is done once more: a request that was under way when the last owner
	// died counts as done, and may be carried out late.
	resolveAgain = 10 * time.Second
	// resolveTimeout bounds one attempt to delete one object.
	resolveTimeout = 30 * time.Second
	resolveMost    = time.Minute // between attempts
)

// errUnresolved reports a record under whose id something is still being deleted: its objects would be deleted as well.
var errUnresolved = errors.New("what the last owner of the spool left under this id is still being deleted")

// unresolved is the ids whose objects are being deleted, because no message can refer to them.
type unresolved struct {
	wake chan struct{}

	mu   sync.Mutex
	ids  map[string]bool
	more []spool.Intent // that resolve has not seen yet
}

func newUnresolved(left []spool.Intent) *unresolved {
	u := &unresolved{ids: map[string]bool{}, wake: make(chan struct{}, 1)}
	for _, i := range left {
		if i.State != spool.Publishing {
			u.ids[i.ID] = true
		}
	}
	return u
}

func (u *unresolved) has(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ids[id]
}

func (u *unresolved) done(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.ids, id)
}

// add has the objects of a transaction deleted that was refused, and could not be undone at once.
func (u *unresolved) add(i spool.Intent) {
	u.mu.Lock()
	u.ids[i.ID] = true
	u.more = append(u.more, i)
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// take returns what was added since the last call.
func (u *unresolved) take() []spool.Intent {
	u.mu.Lock()
	defer u.mu.Unlock()
	more := u.more
	u.more = nil
	return more
}

// resolve ends the intents that the last owner of the spool left behind, and those of transactions whose undoing has
// failed since: what was never published is deleted, until the store has confirmed it; what may have been is reported
// and stays. Intents of records in the spool are the replay's business.
func (b *Bridge) resolve(ctx context.Context) {
	var open []spool.Intent
	doubt := 0
	for _, i := range b.left {
		if i.State == spool.Publishing {
			doubt++
			continue
		}
		open = append(open, i)
	}
	if doubt > 0 {
		b.log.Warn("transactions are in doubt since a crash: a broker may hold their messages, and their objects stay", "count", doubt, "list", "lsmtpd sweep")
	}
	for wait := time.Second; ctx.Err() == nil; {
		if open = append(open, b.unresolved.take()...); len(open) == 0 {
			select {
			case <-b.unresolved.wake:
			case <-ctx.Done():
			}
			continue
		}
		again := b.deleteIntents(ctx, open)
		open = append(again, b.deleteTwice(ctx, without(open, again))...)
		if len(open) == 0 || ctx.Err() != nil {
			wait = time.Second
			continue
		}
		wait = min(2*wait, resolveMost)
		b.log.Warn("objects of unfinished transactions could not be deleted yet", "transactions", len(open), "again_in", wait)
		pause(ctx, wait)
	}
}

// without is list without those that are left.
func without(list, left []spool.Intent) (done []spool.Intent) {
	isLeft := map[string]bool{}
	for _, i := range left {
		isLeft[i.ID] = true
	}
	for _, i := range list {
		if !isLeft[i.ID] {
			done = append(done, i)
		}
	}
	return done
}

// deleteTwice deletes the objects of intents once more, after a while, and ends the intents. It returns those it could not end.
func (b *Bridge) deleteTwice(ctx context.Context, list []spool.Intent) (left []spool.Intent) {
	if len(list) == 0 {
		return nil
	}
	pause(ctx, resolveAgain)
	left = b.deleteIntents(ctx, list)
	for _, i := range without(list, left) {
		b.cfg.Spool.Done(i.ID)
		b.unresolved.done(i.ID)
	}
	if n := len(list) - len(left); n > 0 && ctx.Err() == nil {
		b.log.Info("objects of transactions that were never published are deleted", "transactions", n)
	}
	return left
}

// deleteIntents deletes the objects of intents, and returns those of which something may be left.
func (b *Bridge) deleteIntents(ctx context.Context, list []spool.Intent) (left []spool.Intent) {
	for _, i := range list {
		if err := b.deleteKeys(ctx, i.Keys); err != nil {
			b.log.Debug("objects could not be deleted", "transaction", i.ID, "error", err)
			left = append(left, i)
		}
	}
	return left
}

// deleteKeys deletes objects, some at a time, until one cannot be deleted.
func (b *Bridge) deleteKeys(ctx context.Context, keys []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(undoParallel)
	for _, key := range keys {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
			defer cancel()
			return objectstore.Discard(ctx, b.store, key)
		})
	}
	return g.Wait()
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
