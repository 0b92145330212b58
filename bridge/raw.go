package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/bridge/spool"
	"lsmtpd/schema"
)

// errSpoolFull reports that the spool could not take the rest of a message.
var errSpoolFull = errors.New("no room in the spool")

// rawBuffers lends what raw messages are copied with.
var rawBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// spoolsRaw reports whether a message goes to the spool as it arrives: always, or where it may need a store that is down.
func (s *Session) spoolsRaw() bool {
	cfg := &s.bridge.cfg
	if cfg.Spool == nil {
		return false
	}
	storeNeeded := s.size == 0 || s.size > s.offloadThreshold() || s.storesRaw()
	return cfg.SpoolAlways || storeNeeded && s.bridge.health.err() != nil
}

// spoolRaw takes the message into the spool, octet for octet. False, with nothing read, where the spool cannot take it.
func (t *transaction) spoolRaw(ctx context.Context, s *Session, deliveries []*delivery) bool {
	w, err := t.bridge.cfg.Spool.NewRaw(t.id)
	if err != nil {
		t.bridge.log.Warn("a message could not be spooled as it came", "transaction", t.id, "error", err)
		return false
	}
	defer w.Abort()
	err = t.takeRaw(ctx, w, s, deliveries)
	for _, d := range deliveries {
		d.err, d.spooled = err, err == nil
	}
	if err == nil {
		t.bridge.metrics.spooled.Add(float64(len(deliveries)))
	}
	return true
}

// takeRaw copies the message to its record, and makes that durable.
func (t *transaction) takeRaw(ctx context.Context, w *spool.RawWriter, s *Session, deliveries []*delivery) error {
	buffer := rawBuffers.Get().(*[64 << 10]byte)
	defer rawBuffers.Put(buffer)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{t.source}, buffer[:])
	if failure := t.source.failure(); failure != nil {
		return failure // whatever came of it: this is why
	}
	if err == nil && ctx.Err() != nil {
		return fmt.Errorf("the client is gone: %w", ErrIncomplete) // it will send the mail again
	}
	if err == nil {
		failpoint.Hit("data.ended")
		err = w.Commit(s.rawHeader(t, deliveries))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errSpoolFull, err)
	}
	return nil
}

// rawHeader is what a raw record says beside the octets.
func (s *Session) rawHeader(t *transaction, list []*delivery) spool.Header {
	envelope := s.envelope
	h := spool.Header{TransactionID: t.id, ReceivedAt: receivedAt(t.source.ended), Envelope: &envelope, OffloadThreshold: t.threshold, StoreRaw: t.storeRaw}
	for _, d := range list {
		rcpts := make([]schema.Address, len(d.rcpts))
		for i, r := range d.rcpts {
			rcpts[i] = s.rcpts[r].address
		}
		h.Deliveries = append(h.Deliveries, d.kept(rcpts))
	}
	return h
}

// tryRaw reads a raw record as it would have been read when it came, and puts prepared records in its place. Without an
// error the entry has ended.
func (b *Bridge) tryRaw(ctx context.Context, e *spool.Entry) error {
	if err := b.health.err(); err != nil {
		return fmt.Errorf("%w: %w", errNoStore, err)
	}
	if i, lives := b.cfg.Spool.Intent(e.ID); lives { // of a try that a crash ended
		if err := b.deleteKeys(ctx, i.Keys); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	if err := e.Verify(); err != nil {
		return err
	}
	t := b.newTransaction(e.Payload())
	t.id, t.begun, t.source.limit = e.ID, timeOf(e.ID, t.begun), 0 // it was small enough when it was promised
	t.threshold, t.storeRaw = e.OffloadThreshold, e.StoreRaw
	defer t.release()
	email, err := t.receive(ctx)
	if err == nil {
		failpoint.Hit("replay.extracted")
		email.ReceivedAt = e.ReceivedAt
		err = e.Replace(t.messages(e, email))
	}
	if err != nil {
		t.undo(ctx)
	}
	return err
}

// messages are those of a raw record's deliveries.
func (t *transaction) messages(e *spool.Entry, email *schema.Email) []spool.Message {
	list := make([]spool.Message, len(e.Deliveries))
	for i, d := range e.Deliveries {
		m := &schema.Message{Schema: schema.ID, ID: d.ID, TransactionID: t.id, Envelope: *e.Envelope, Email: *email, Blobs: t.blobs, Problems: t.problems}
		m.Envelope.RcptTo = d.RcptTo
		list[i] = spool.Message{Delivery: d, Message: m}
	}
	return list
}
