package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/route"
	"lsmtpd/schema"
)

// delivery is the message for one destination, with the recipients that go there.
type delivery struct {
	id          string // UUIDv7, the same on every resend
	destination route.Destination
	rcpts       []int // indexes into the session's recipients
	body        []byte
	err         error // nil once the broker has accepted it
	mayBeHeld   bool  // not accepted, but the broker may hold it
	spooled     bool  // on disk, to be published later
}

// deliveries groups the recipients by destination, in the order of their first recipients.
func (s *Session) deliveries() []*delivery {
	var list []*delivery
	for i, r := range s.rcpts {
		at := slices.IndexFunc(list, func(d *delivery) bool { return d.destination == r.target.Destination })
		if at < 0 {
			at = len(list)
			list = append(list, &delivery{id: newID().String(), destination: r.target.Destination})
		}
		list[at].rcpts = append(list[at].rcpts, i)
	}
	return list
}

// newID is the id of a new transaction or delivery.
func newID() uuid.UUID { return failpoint.ID(uuid.Must(uuid.NewV7())) }

// publish fits and publishes every delivery, and notes in each what became of it.
func (t *transaction) publish(ctx context.Context, s *Session, email *schema.Email, list []*delivery) {
	settle, cancel := context.WithDeadline(context.WithoutCancel(ctx), t.source.ended.Add(t.bridge.cfg.SettleTimeout))
	defer cancel()
	messages := make([]*schema.Message, len(list))
	for i, d := range list {
		messages[i] = t.message(s, email, d)
		if d.body, d.err = t.fit(settle, messages[i], t.bridge.linkLimit(d.destination.Address)); d.err != nil {
			for _, other := range list {
				other.err = d.err // none has been sent yet: refuse the transaction as one
			}
			return
		}
	}
	if err := t.intendPublishing(); err != nil {
		for _, d := range list {
			d.err = err
		}
		return
	}
	t.handedOver = true
	var wg sync.WaitGroup
	for i, d := range list[1:] {
		wg.Go(func() { t.deliver(settle, ctx, messages[i+1], d) })
	}
	t.deliver(settle, ctx, messages[0], list[0])
	wg.Wait()
	if !s.answersEach() {
		t.setAside(list, messages)
	}
	t.bridge.metrics.settle.Observe(time.Since(t.source.ended).Seconds())
}

// send publishes one delivery.
func (t *transaction) send(ctx context.Context, abandon <-chan struct{}, m *schema.Message, d *delivery) {
	d.err = t.bridge.publisher.Publish(ctx, publish.Delivery{
		Address: d.destination.Address, Body: d.body, Abandon: abandon,
		Properties:  properties(m, d.destination.Subject, d.destination.GroupID),
		Application: m.ApplicationProperties("//" + t.bridge.cfg.Hostname + "/lsmtpd"),
	})
	d.mayBeHeld = false
	if d.err == nil {
		return
	}
	var e *publish.Error
	if errors.As(d.err, &e) {
		refused := e.Outcome == publish.RefusedForNow || e.Outcome == publish.RefusedForGood
		d.mayBeHeld = e.Outcome == publish.InDoubt || refused && t.bridge.publisher.FansOut(d.destination.Address)
	}
	if d.mayBeHeld {
		t.bridge.metrics.inDoubt.Inc()
		t.bridge.log.Warn("delivery in doubt", "transaction", t.id, "delivery", d.id, "address", d.destination.Address, "objects", len(t.keys), "error", d.err)
	}
	d.err = fmt.Errorf("deliver to %q: %w", d.destination.Address, d.err)
}

// properties are those of a message with what its route adds.
func properties(m *schema.Message, subject, groupID string) schema.Properties {
	p := m.Properties()
	p.Subject, p.GroupID = subject, groupID
	return p
}

// message is what delivery d publishes. Deliveries of one transaction share email and blobs.
func (t *transaction) message(s *Session, email *schema.Email, d *delivery) *schema.Message {
	m := &schema.Message{
		Schema: schema.ID, ID: d.id, TransactionID: t.id,
		Envelope: s.envelope, Email: *email, Blobs: t.blobs, Problems: t.problems,
	}
	m.Envelope.RcptTo = make([]schema.Address, len(d.rcpts))
	for i, r := range d.rcpts {
		m.Envelope.RcptTo[i] = s.rcpts[r].address
	}
	return m
}

// keepsObjects reports whether a broker holds, or may hold, a message that refers to the objects.
func keepsObjects(list []*delivery) bool {
	return slices.ContainsFunc(list, func(d *delivery) bool { return d.err == nil || d.mayBeHeld })
}

// replies is the reply for each recipient, in order.
func replies(s *Session, list []*delivery, cfg *Config) []error {
	errs := make([]error, len(s.rcpts))
	for _, d := range list {
		for _, r := range d.rcpts {
			errs[r] = replyFor(d.err, cfg)
		}
	}
	return errs
}

// deleteAll removes the transaction's objects, some at a time, and returns the keys of those that could not be.
func (t *transaction) deleteAll(ctx context.Context) (left []string) {
	var (
		g  errgroup.Group
		mu sync.Mutex
	)
	g.SetLimit(undoParallel)
	for _, key := range t.keys {
		g.Go(func() error {
			if err := t.bridge.store.Delete(ctx, key); err != nil {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, key)
			}
			failpoint.Hit("undo.deleted")
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors
	return left
}
