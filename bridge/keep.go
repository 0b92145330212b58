package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/spool"
	"lsmtpd/schema"
)

// errSpool reports that the spool could not note what was about to be done to the store.
var errSpool = errors.New("spool failed")

// intend notes that an object is about to be put under key.
func (t *transaction) intend(key string) error {
	if t.bridge.cfg.Spool == nil {
		return nil
	}
	if err := t.bridge.cfg.Spool.Uploading(t.id, key); err != nil {
		if len(t.keys) == 0 {
			t.bridge.cfg.Spool.Done(t.id) // nothing is uploaded, so nobody will end it
		}
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	return nil
}

// intendPublishing notes that a message that refers to the objects is about to be sent.
func (t *transaction) intendPublishing() error {
	if t.bridge.cfg.Spool == nil || len(t.keys) == 0 {
		return nil
	}
	if err := t.bridge.cfg.Spool.Publishing(t.id); err != nil {
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	return nil
}

// intendDeletion notes that the objects are about to be deleted. Before the transaction is handed over, that is what
// its intent means anyway.
func (t *transaction) intendDeletion() {
	if t.bridge.cfg.Spool == nil || !t.handedOver {
		return
	}
	if err := t.bridge.cfg.Spool.Refused(t.id); err != nil {
		// After a crash they count as in doubt, and stay.
		t.bridge.log.Warn("a refusal could not be noted in the spool", "transaction", t.id, "error", err)
	}
}

// intended ends the intent of a transaction of which deliveries came of. What is in doubt keeps it.
func (t *transaction) intended(list []*delivery) {
	if t.bridge.cfg.Spool == nil || len(t.keys) == 0 {
		return
	}
	answered, kept := false, false
	for _, d := range list {
		answered = answered || d.err == nil
		kept = kept || d.spooled
	}
	if kept {
		// The records hold the objects; where this fails, a replay does it before it sends anything.
		if err := t.bridge.cfg.Spool.Drop(t.id); err != nil {
			t.bridge.log.Warn("an intent could not be dropped", "transaction", t.id, "error", err)
		}
	} else if answered {
		t.bridge.cfg.Spool.Done(t.id)
	}
}

// deliver publishes a delivery, or keeps it in the spool where the broker cannot settle it in time. Without a spool,
// and where the spool cannot take it, the broker has all the time there is. So it has once a transfer was begun: a slow
// broker would get a second copy of everything that is sent again too soon.
func (t *transaction) deliver(ctx, client context.Context, m *schema.Message, d *delivery) {
	defer func() { d.body = nil }()
	if t.bridge.cfg.Spool == nil || t.bridge.cfg.Spool.Room(int64(len(d.body))) != nil {
		t.send(ctx, client.Done(), m, d)
		return
	}
	wait := t.bridge.cfg.SpoolAfter
	if end, bounded := ctx.Deadline(); bounded {
		wait = min(wait, time.Until(end)) // the reply is due then
	}
	soon, cancel := context.WithTimeout(client, wait)
	if err := t.bridge.publisher.Ready(soon, d.destination.Address); err != nil {
		d.err = &publish.Error{Outcome: publish.NeverSent, Err: fmt.Errorf("no link: %w", err)}
	} else {
		t.send(ctx, soon.Done(), m, d)
	}
	cancel()
	if !spoolable(d.err) || client.Err() != nil && !d.mayBeHeld {
		return
	}
	if err := t.keep(m, d); err != nil && ctx.Err() == nil {
		doubt := d.mayBeHeld
		t.send(ctx, client.Done(), m, d)
		d.mayBeHeld = d.err != nil && (d.mayBeHeld || doubt)
	}
}

// setAside keeps a delivery that was refused for good among those set aside, where another of the transaction was
// accepted or spooled: there is one reply for all, and a client that sent it all again would send that one twice.
func (t *transaction) setAside(list []*delivery, messages []*schema.Message) {
	if t.bridge.cfg.Spool == nil || !slices.ContainsFunc(list, func(d *delivery) bool { return d.err == nil }) {
		return
	}
	for i, d := range list {
		var e *publish.Error
		if !errors.As(d.err, &e) || e.Outcome != publish.RefusedForGood {
			continue
		}
		if err := t.bridge.cfg.Spool.AddFailed(d.record(messages[i]), d.err); err != nil {
			t.bridge.log.Error("a refused delivery could not be set aside", "transaction", t.id, "delivery", d.id, "error", err)
			continue
		}
		t.bridge.log.Error("delivery refused for good and set aside, others of its transaction were not", "transaction", t.id, "delivery", d.id, "address", d.destination.Address, "error", d.err, "remedy", remedy(d.err))
		t.bridge.metrics.setAside.Inc()
		d.err, d.spooled, d.mayBeHeld = nil, true, false
	}
}

// spoolable reports whether a delivery that was not accepted may be tried again later.
func spoolable(err error) bool {
	var e *publish.Error
	return errors.As(err, &e) && e.Outcome != publish.RefusedForGood
}

// keep puts a delivery into the spool, from where it is published without anybody's help.
func (t *transaction) keep(m *schema.Message, d *delivery) error {
	err := t.bridge.cfg.Spool.Add(d.record(m))
	if err != nil {
		t.bridge.log.Error("a delivery could not be spooled", "transaction", t.id, "delivery", d.id, "error", err)
		d.mayBeHeld = d.mayBeHeld || errors.Is(err, spool.ErrMayReturn)
		return err
	}
	t.bridge.log.Info("delivery spooled", "transaction", t.id, "delivery", d.id, "address", d.destination.Address, "sent", d.mayBeHeld, "cause", d.err)
	t.bridge.metrics.spooled.Inc()
	d.err, d.spooled, d.mayBeHeld = nil, true, false
	return nil
}

// record is the delivery as the spool keeps it.
func (d *delivery) record(m *schema.Message) spool.Message {
	return spool.Message{
		Delivery: d.kept(m.Envelope.RcptTo),
		Message:  m, Sent: d.mayBeHeld,
	}
}

// kept is what the spool has to know of the delivery.
func (d *delivery) kept(rcpts []schema.Address) spool.Delivery {
	return spool.Delivery{ID: d.id, Address: d.destination.Address, Subject: d.destination.Subject, GroupID: d.destination.GroupID, RcptTo: rcpts}
}

// spoolTakes reports whether the spool can take a message now.
func (b *Bridge) spoolTakes(octets int64) bool {
	return b.cfg.Spool != nil && b.cfg.Spool.Room(octets) == nil
}

// defaultSpoolAfter is Config.SpoolAfter where that is 0.
const defaultSpoolAfter = 5 * time.Second
