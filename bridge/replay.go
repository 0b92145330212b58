package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

const (
	// replayWorkers is how many records are being delivered at a time.
	replayWorkers = 48
	// replayPause is how long an address is left alone that has no link, and how soon after the link is back its
	// records flow again.
	replayPause = 250 * time.Millisecond
)

// errPoison reports a record on which the program has failed.
var errPoison = errors.New("panic")

// replayAll delivers what is in the spool, until ctx ends. What is under way then stays in the spool.
func (b *Bridge) replayAll(ctx context.Context) {
	if b.cfg.Spool == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.watchRequests(ctx) })
	for range replayWorkers {
		wg.Go(func() {
			for e := b.cfg.Spool.Take(ctx, b.mayReplay); e != nil; e = b.cfg.Spool.Take(ctx, b.mayReplay) {
				b.replay(ctx, e)
			}
		})
	}
	wg.Wait()
}

// mayReplay reports whether it is worth taking a record for an address, or a raw one.
func (b *Bridge) mayReplay(address string) bool {
	if address == "" {
		return b.health.err() == nil
	}
	return b.publisher.Health(address) == nil
}

// replay tries to deliver one record, and ends the entry one way or another.
func (b *Bridge) replay(ctx context.Context, e *spool.Entry) {
	failpoint.Hit("replay.begun")
	err := b.tryReplay(ctx, e)
	if err == nil && e.Kind == spool.Raw {
		return // prepared records have taken its place
	}
	var failure *publish.Error
	_ = errors.As(err, &failure)
	switch {
	case err == nil:
		failpoint.Hit("replay.settled")
		b.metrics.replayed.Inc()
		b.log.Info("replayed", "transaction", e.TransactionID, "delivery", e.ID, "address", e.Deliveries[0].Address)
		e.Remove()
	case ctx.Err() != nil:
		e.Again()
	case errors.Is(err, errNoStore), errors.Is(err, errMemory), errors.Is(err, errUnresolved):
		e.Pause(replayPause)
		e.Again()
	case errors.Is(err, errStore): // which may be up, and not take what is in this record; that sets none aside
		b.tryLater(e, err)
	case errors.Is(err, errNoBroker), failure != nil && failure.Outcome == publish.NeverSent:
		e.Pause(replayPause)
		e.Again()
	case errors.Is(err, spool.ErrDamaged), errors.Is(err, errPoison), errors.Is(err, errEnvelopeTooLarge),
		failure != nil && failure.Outcome == publish.RefusedForGood,
		b.cfg.SpoolMaxTries > 0 && e.Tries()+1 >= b.cfg.SpoolMaxTries:
		b.metrics.setAside.Inc()
		e.Aside(err)
	default:
		b.tryLater(e, err)
	}
}

// tryLater ends the entry of a try that failed by the record's fault, as far as is known.
func (b *Bridge) tryLater(e *spool.Entry, err error) {
	b.log.Warn("replay failed, tried again later", "transaction", e.TransactionID, "delivery", e.ID, "tries", e.Tries()+1, "error", err, "remedy", remedy(err))
	e.Later(err)
}

// tryReplay publishes the message of a prepared record, fitted to the link as it is now, or prepares that of a raw one.
func (b *Bridge) tryReplay(ctx context.Context, e *spool.Entry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPoison, p, debug.Stack())
		}
	}()
	if b.unresolved.has(e.ID) {
		return errUnresolved
	}
	if e.Kind == spool.Raw {
		return b.tryRaw(ctx, e)
	}
	address := e.Deliveries[0].Address
	if err := b.publisher.Health(address); err != nil {
		return fmt.Errorf("%w: %w", errNoBroker, err)
	}
	// The objects are the record's: an intent that is left from before must not outlive it.
	if _, lives := b.cfg.Spool.Intent(e.TransactionID); lives {
		if err := b.cfg.Spool.Drop(e.TransactionID); err != nil {
			return err
		}
	}
	t, m, err := b.reopen(ctx, e)
	if err != nil {
		return err
	}
	defer t.release()
	body, err := t.refit(ctx, e, m)
	if err != nil {
		return err
	}
	failpoint.Hit("replay.fitted")
	if hasObjects(m) {
		if err := e.MarkSent(); err != nil {
			return err
		}
	}
	settle, cancel := context.WithTimeout(ctx, b.cfg.SettleTimeout)
	defer cancel()
	soon, cancel := context.WithTimeout(settle, b.cfg.SpoolAfter) // an address without credit leaves the place to others
	defer cancel()
	return b.publisher.Publish(settle, publish.Delivery{
		Address: address, Body: body, Abandon: soon.Done(),
		Properties: properties(m, e.Deliveries[0].Subject, e.Deliveries[0].GroupID), Application: m.ApplicationProperties("//" + b.cfg.Hostname + "/lsmtpd"),
	})
}

// reopen makes of a record what fit needs, with its share of memory.
func (b *Bridge) reopen(ctx context.Context, e *spool.Entry) (*transaction, *schema.Message, error) {
	t := b.newTransaction(strings.NewReader(""))
	// What is moved to the store now is under the delivery's id: other deliveries of the transaction may move the same.
	t.id, t.begun = e.ID, timeOf(e.ID, t.begun)
	t.source.err, t.source.ended = io.EOF, time.Now()
	var err error
	if t.share, err = b.memory.take(ctx); err != nil {
		return nil, nil, err
	}
	if err = t.share.use(ctx, octetCost*e.Size); err != nil {
		t.release()
		return nil, nil, err
	}
	m, err := e.Message()
	if err != nil {
		t.release()
		return nil, nil, err
	}
	t.blobs, t.headerRaw = m.Blobs, headerBlock(m.Email.Headers)
	return t, m, nil
}

// refit fits the message of a record to the link. What that moves to the store is noted in the record before anything
// is sent, so that every later try refers to the same objects.
func (t *transaction) refit(ctx context.Context, e *spool.Entry, m *schema.Message) ([]byte, error) {
	if err := t.discardRefit(ctx, m); err != nil {
		return nil, err
	}
	body, err := t.fit(ctx, m, t.bridge.linkLimit(e.Deliveries[0].Address))
	if err == nil && len(t.keys) > 0 {
		var placed bool
		placed, err = e.Rewrite(spool.Message{Delivery: e.Deliveries[0], Message: m})
		if placed {
			err = errors.Join(err, t.bridge.cfg.Spool.Drop(t.id))
			return body, err
		}
	}
	if err != nil {
		t.undo(ctx)
	}
	return body, err
}

// discardRefit deletes what an earlier try moved to the store and did not come to note in the record.
func (t *transaction) discardRefit(ctx context.Context, m *schema.Message) error {
	i, lives := t.bridge.cfg.Spool.Intent(t.id)
	if !lives {
		return nil
	}
	for _, key := range i.Keys {
		if refersTo(m, key) {
			continue
		}
		if err := objectstore.Discard(ctx, t.bridge.store, key); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	return t.bridge.cfg.Spool.Drop(t.id)
}

// refersTo reports whether a blob of the message is the object that was put under key.
func refersTo(m *schema.Message, key string) bool {
	for _, blob := range m.Blobs {
		if blob.Stored != nil && ownKey(blob.Stored) == key {
			return true
		}
	}
	return false
}

// hasObjects reports whether the message refers to any: then it matters for ever whether it was sent.
func hasObjects(m *schema.Message) bool {
	for _, blob := range m.Blobs {
		if blob.Stored != nil {
			return true
		}
	}
	return false
}

// headerBlock is the header block that the fields stand for: the message keeps a blob of one that they cannot reproduce.
func headerBlock(fields []schema.Header) []byte {
	var b []byte
	for _, f := range fields {
		b = append(append(append(append(b, f.Name...), ':'), f.Value...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// timeOf is the time in an id, or otherwise where there is none.
func timeOf(id string, otherwise time.Time) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return otherwise
	}
	return time.Unix(u.Time().UnixTime())
}
