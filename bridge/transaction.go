package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/spool"
	"lsmtpd/extract"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// transaction is one message on its way.
type transaction struct {
	bridge    *Bridge
	id        string
	begun     time.Time // the time in id
	source    *source
	store     objectstore.Store // where its objects go
	threshold int64             // a larger part goes to the store, octets
	storeRaw  bool              // the raw message goes there, too
	share     *share

	headerRaw []byte // the header block, kept until the envelope fits
	blobs     map[string]schema.Blob
	texts     []keptText
	reports   map[string][]byte // by partId, what parts begin with that may belong to a report
	problems  []schema.Problem
	parts     int      // leaf parts read
	inline    int64    // octets kept in the envelope
	keys      []string // objects that may exist in the store
	head      *[]byte  // from headPool

	uncertain  bool // something may still come to be under one of them after it was deleted
	handedOver bool // a message that refers to the objects may be with the broker
}

// Deliver reads the message to its end of data and delivers it. It returns the
// transaction's id and an error for each recipient, in the order of Rcpt: nil
// is the promise of a 250, anything else an *smtp.SMTPError. Without recipients
// there is one error, and nothing is read.
//
// Body returns io.EOF after the end of data only; any other end must be an
// error that wraps ErrIncomplete, or an *smtp.SMTPError, the reply to a message
// that the reader refuses. After a decision to refuse, Deliver returns
// without having read all of body: the caller drains it. Ctx ends when the
// connection is reset, when it ends before the end of data, or when a shutdown
// is forced; what has been handed to the broker by then is carried on to its outcome.
func (s *Session) Deliver(ctx context.Context, body io.Reader) (id string, errs []error) {
	b := s.bridge
	if len(s.rcpts) == 0 {
		return "", []error{replyFor(errNoRecipients, &b.cfg)}
	}
	b.metrics.inFlight.Inc()
	defer b.metrics.inFlight.Dec()
	t := b.newTransaction(body)
	t.threshold, t.storeRaw = s.offloadThreshold(), s.storesRaw()
	deliveries := s.deliveries()
	if !s.spoolsRaw() || !t.spoolRaw(ctx, s, deliveries) {
		t.run(ctx, s, deliveries)
	}
	t.finish(s, deliveries)
	return t.id, replies(s, deliveries, &b.cfg)
}

func (b *Bridge) newTransaction(body io.Reader) *transaction {
	id := newID()
	t := &transaction{bridge: b, store: b.store, id: id.String(), begun: time.Unix(id.Time().UnixTime()), blobs: map[string]schema.Blob{}, problems: []schema.Problem{}}
	t.threshold = b.cfg.OffloadThreshold
	t.source = newSource(body, b.cfg.MaxMessageBytes, b.cfg.Digest, nil)
	return t
}

// run takes the message from its first octet to the outcome of its deliveries, and cleans up where none came of it.
func (t *transaction) run(ctx context.Context, s *Session, deliveries []*delivery) {
	defer t.release()
	defer func() {
		if p := recover(); p != nil {
			if !t.handedOver {
				t.undoOrLater(ctx)
			}
			panic(p) // the receiving side ends the session
		}
	}()
	email, err := t.receive(ctx)
	if err == nil {
		failpoint.Hit("data.ended")
		t.publish(ctx, s, email, deliveries)
	}
	for _, d := range deliveries {
		if err != nil {
			d.err = err
		}
	}
	if !keepsObjects(deliveries) {
		t.undoOrLater(ctx)
		return
	}
	t.intended(deliveries)
}

// release gives back what the transaction holds of budgets and pools.
func (t *transaction) release() {
	if t.share != nil {
		t.share.release()
	}
	if t.head != nil {
		headPool.Put(t.head)
		t.head = nil
	}
}

// receive reads the whole message: its parts are in blobs afterwards, and its
// Email is returned. The store has as long as the broker, from the end of data on.
func (t *transaction) receive(ctx context.Context) (*schema.Email, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.source.atEnd = func() {
		timer := time.AfterFunc(t.bridge.cfg.SettleTimeout, func() { cancel(errSettleTimeout) })
		context.AfterFunc(ctx, func() { timer.Stop() })
	}
	var err error
	if t.share, err = t.bridge.memory.take(ctx); err != nil {
		return nil, err
	}
	t.source.grow = func() error { return t.share.grow(ctx) }
	if t.storeRaw {
		t.store = t.store.Together()
		if err := t.startRaw(ctx); err != nil {
			return nil, err
		}
		defer func() { _ = t.endRaw(errAborted) }() // where it has not ended by then, the message has another error
	}
	x := extract.NewReader(t.source, t.bridge.cfg.Limits)
	defer x.Close()
	email, err := t.receiveParts(ctx, x)
	if failure := t.source.failure(); failure != nil {
		return nil, failure // whatever came of it: this is why
	}
	if err != nil {
		return nil, err
	}
	if t.source.err != io.EOF {
		return nil, fmt.Errorf("the end of data was not reached: %w", ErrIncomplete)
	}
	email.Size, email.SHA256, email.ReceivedAt = t.source.n, t.source.sum(), receivedAt(time.Now())
	email.BodyStructure = x.Structure()
	email.SortBody()
	email.Report = x.Report(func(partID string) []byte { return t.reports[partID] })
	t.addTexts(email, t.blobs)
	t.problems = append(t.problems, x.Problems()...)
	return email, t.addRaw(email)
}

// receivedAt is a time as the message carries it.
func receivedAt(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// receiveParts reads the header and every part, and then on to the end of data.
func (t *transaction) receiveParts(ctx context.Context, x *extract.Reader) (*schema.Email, error) {
	email := &schema.Email{}
	t.source.expectHeader(true)
	h, err := x.Header()
	if err != nil {
		return nil, err
	}
	t.source.expectHeader(false)
	if err := t.addHeader(ctx, h, email); err != nil {
		return nil, err
	}
	for {
		t.source.expectHeader(true)
		p, err := x.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		t.source.expectHeader(false)
		if err := t.addPart(ctx, p); err != nil {
			return nil, err
		}
	}
	t.source.expectHeader(false)
	_, err = io.Copy(io.Discard, t.source)
	return email, err
}

// addHeader describes the header in email. A block that its fields cannot reproduce is a blob as well.
func (t *transaction) addHeader(ctx context.Context, h *extract.Header, email *schema.Email) error {
	if err := t.share.use(ctx, headerCost(h.Fields)+int64(len(h.Raw))); err != nil {
		return err
	}
	t.problems = append(t.problems, h.Describe(email)...)
	t.headerRaw = h.Raw
	if h.Exact || len(h.Raw) == 0 && h.Rest == nil {
		return nil
	}
	block := io.Reader(bytes.NewReader(h.Raw))
	if h.Rest != nil {
		block = io.MultiReader(block, h.Rest)
		email.HeadersTruncated = true
	}
	if _, _, err := t.addBlob(ctx, schema.HeadersBlobID, "headers", block, 0); err != nil {
		return fmt.Errorf("header block: %w", err)
	}
	email.HeadersBlobID = optional(schema.HeadersBlobID)
	return nil
}

const (
	// undoTimeout bounds the clean-up, whose end the client waits for.
	undoTimeout  = 30 * time.Second
	undoParallel = 4
)

// undo removes the objects of a transaction that was refused. False: something may be left, and the intent stays.
func (t *transaction) undo(ctx context.Context) bool {
	if len(t.keys) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	t.intendDeletion()
	left := t.deleteAll(ctx)
	if len(left) > 0 {
		t.bridge.metrics.leftBehind.Add(float64(len(left)))
		t.bridge.log.Error("objects of a refused message left in the store", "transaction", t.id, "count", len(left), "first_key", left[0])
	}
	if len(left) > 0 || t.uncertain {
		return false
	}
	if t.bridge.cfg.Spool != nil {
		t.bridge.cfg.Spool.Done(t.id)
	}
	return true
}

// undoOrLater is undo for a transaction that is over: with a spool, what may be left is deleted later.
func (t *transaction) undoOrLater(ctx context.Context) {
	if !t.undo(ctx) && t.bridge.cfg.Spool != nil {
		t.bridge.unresolved.add(spool.Intent{ID: t.id, Keys: t.keys})
	}
}

// finish writes the transaction's one log line and counts it.
func (t *transaction) finish(s *Session, list []*delivery) {
	var cause error
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.id
		cause = errors.Join(cause, d.err)
	}
	outcome, took := outcomeFor(cause), time.Since(t.begun)
	if cause == nil && slices.ContainsFunc(list, func(d *delivery) bool { return d.spooled }) {
		outcome = "spooled"
	}
	t.bridge.metrics.ended(outcome, t.source.n, took)
	level, attrs := slog.LevelInfo, []any{
		"transaction", t.id, "deliveries", ids, "outcome", outcome, "octets", t.source.n, "parts", t.parts, "objects", len(t.keys),
		"mail_from", s.envelope.MailFrom.Email, "recipients", len(s.rcpts), "client", s.envelope.ClientAddress,
		"protocol", s.envelope.Protocol, "duration", took.Round(time.Microsecond),
	}
	if cause != nil {
		level, attrs = slog.LevelWarn, append(attrs, "error", cause, "remedy", remedy(cause), "objects_kept", keepsObjects(list) && len(t.keys) > 0)
	}
	t.bridge.log.Log(context.Background(), level, "transaction", attrs...)
}

// remedy says what an operator can do about the end of a transaction, "" where it is the client's own doing.
func remedy(cause error) string {
	var delivery *publish.Error
	if errors.As(cause, &delivery) {
		return publish.Remedy(cause)
	}
	if errors.Is(cause, errStore) {
		return objectstore.Remedy(cause)
	}
	return ""
}
