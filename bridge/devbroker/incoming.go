package devbroker

import (
	"fmt"
	"time"

	"github.com/absmach/fluxmq/amqp1/performatives"
)

// incoming is our end of a link on which the client sends.
type incoming struct {
	link
	deliveryCount uint32
	credit        uint32 // as the client knows it
	creditLimit   uint32 // the highest delivery-count ever permitted; see session.inLimit
	arrived       int    // deliveries on this link
	unsettled     int
	second        bool // rcv-settle-mode second: the client settles after us
	current       *inDelivery
}

// inDelivery is a delivery from its first frame to its settlement.
type inDelivery struct {
	l       *incoming
	id      uint32
	octets  []byte
	settled bool // the client has sent it settled
	rule    *DeliveryRule
	message *storedMessage // nil when it was not stored
	log     *Delivery
}

// transfer takes one frame of a delivery (part 2 §2.7.5).
func (l *incoming) transfer(t *transfer, payload []byte) error {
	if l.current == nil {
		if ok, err := l.start(t); !ok {
			return err
		}
	}
	d := l.current
	if t.aborted {
		l.takeCurrent()
		d.forget()
		return nil
	}
	b := l.s.c.b
	if largest := b.cfg.MaxMessageSize; uint64(len(d.octets)+len(payload)) > largest {
		l.s.sendDetach(l, newError(performatives.ErrMessageSizeExceeded, fmt.Sprintf("a message of more than %d octets", largest)))
		return nil
	}
	if t.More && b.octets+int64(len(payload)) > b.cfg.MaxOctets {
		l.s.sendDetach(l, newError(performatives.ErrResourceLimitExceeded, fmt.Sprintf("the node keeps no more than %d octets", b.cfg.MaxOctets)))
		return nil
	}
	b.octets += int64(len(payload))
	d.octets = append(d.octets, payload...)
	d.settled = d.settled || t.Settled
	if d.rule.cuts(len(d.octets)) {
		d.rule.hit()
		l.s.c.reset()
		return nil
	}
	if !t.More {
		d.complete(l.takeCurrent())
	}
	return nil
}

// takeCurrent ends the delivery under way, if there is one, and returns what has arrived of it.
func (l *incoming) takeCurrent() []byte {
	d := l.current
	if d == nil {
		return nil
	}
	octets := d.octets
	l.current, d.octets = nil, nil
	l.s.c.b.octets -= int64(len(octets))
	return octets
}

// start begins the delivery that t is the first frame of.
func (l *incoming) start(t *transfer) (ok bool, err error) {
	s := l.s
	if t.DeliveryID == nil {
		return false, &sessionError{newError(performatives.ErrInvalidField, "the first transfer of a delivery has no delivery-id")}
	}
	if s.unsettledIn[*t.DeliveryID] != nil {
		return false, &sessionError{newError(performatives.ErrNotAllowed, fmt.Sprintf("delivery-id %d is in use", *t.DeliveryID))}
	}
	if int32(l.creditLimit-l.deliveryCount) <= 0 {
		s.sendDetach(l, newError(performatives.ErrTransferLimitExceeded, "a delivery without link credit"))
		return false, nil
	}
	l.deliveryCount++
	l.credit -= min(l.credit, 1)
	l.arrived++
	l.unsettled++
	d := &inDelivery{l: l, id: *t.DeliveryID}
	d.rule, d.log = s.c.b.scripts[l.q.address].arrive()
	s.unsettledIn[d.id] = d
	l.current = d
	return true, nil
}

// complete stores the message and does what the script says, at once or when its time has come.
func (d *inDelivery) complete(octets []byte) {
	q, c := d.l.q, d.l.s.c
	f, stored := d.rule.plan()
	sections, err := sectionsOf(octets)
	if err != nil {
		f, stored = rejection(performatives.ErrDecodeError, err.Error()), false
	}
	d.log.arrived(messageID(sections), len(octets))
	if stored {
		m := &storedMessage{id: messageID(sections), octets: octets, settled: d.settled}
		if q.put(m) {
			d.message = m
			d.log.stored()
		} else if f.kind == faultOutcome {
			f = rejection(performatives.ErrResourceLimitExceeded, fmt.Sprintf("the queue %q is full", q.address))
		}
	}
	if d.rule != nil && (d.rule.after > 0 || d.rule.when != nil) {
		after, when := d.rule.after, d.rule.when
		c.wg.Go(func() { d.decideLater(f, after, when) })
	} else {
		d.decide(f)
	}
	d.rule.hit()
}

// decideLater waits first; it gives up when the connection ends.
func (d *inDelivery) decideLater(f fault, after time.Duration, when <-chan struct{}) {
	c := d.l.s.c
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.done:
		return
	}
	if when != nil {
		select {
		case <-when:
		case <-c.done:
			return
		}
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	d.decide(f)
}

// decide does what f says, unless link, session or connection is gone.
func (d *inDelivery) decide(f fault) {
	s := d.l.s
	if s.c.stopped || s.c.closing || s.unsettledIn[d.id] != d {
		return
	}
	if f.kind != faultOutcome {
		s.c.log.Info("scripted fault", "address", d.l.q.address, "kind", f.kind, "error", errorText(f.err))
	}
	switch f.kind {
	case faultOutcome:
		d.settle(f.outcome)
	case faultSilence:
	case faultDetach:
		s.sendDetach(d.l, f.err)
	case faultEnd:
		s.end(f.err)
	case faultClose:
		s.c.close(f.err)
	case faultReset:
		s.c.reset()
	}
}

// settle tells the client the outcome; nil is none.
func (d *inDelivery) settle(outcome any) {
	if d.message != nil {
		d.message.settled = true
		d.l.s.c.b.notify()
	}
	if d.settled {
		d.forget()
		return
	}
	d.log.decided(outcome)
	d.l.s.c.send(d.l.s.channel, &performatives.Disposition{
		Role: performatives.RoleReceiver, First: d.id, Settled: !d.l.second, State: outcome,
	})
	if !d.l.second { // else the client settles, see session.disposition
		d.forget()
	}
}

// forget ends the delivery, which makes room for another.
func (d *inDelivery) forget() {
	if d.l.s.unsettledIn[d.id] == d {
		delete(d.l.s.unsettledIn, d.id)
		d.l.unsettled--
		d.l.replenish()
	}
}

// replenish gives link credit when half of it is used up, so that no more than Config.LinkCredit deliveries are unsettled.
func (l *incoming) replenish() {
	limit, held := l.s.c.b.cfg.LinkCredit, uint32(l.unsettled)
	if l.detached || l.s.ended || l.credit+held > limit/2 {
		return
	}
	credit := limit - held
	if script := l.s.c.b.scripts[l.q.address]; script != nil && script.credit >= 0 {
		credit = min(credit, uint32(max(script.credit-l.arrived, 0)))
	}
	if credit > l.credit {
		l.setCredit(credit)
	}
}

func (l *incoming) setCredit(credit uint32) {
	l.credit = credit
	if limit := l.deliveryCount + credit; int32(limit-l.creditLimit) > 0 {
		l.creditLimit = limit
	}
	l.sendFlow()
}

func (l *incoming) sendFlow() {
	f := l.s.newFlow()
	count, credit := l.deliveryCount, l.credit
	f.Handle, f.DeliveryCount, f.LinkCredit = &l.handle, &count, &credit
	l.s.c.send(l.s.channel, f)
}

// flow has nothing to do: what the client has available is not needed to give it credit.
func (l *incoming) flow(*performatives.Flow) error { return nil }

// drop forgets what is unsettled; what was stored stays.
func (l *incoming) drop() {
	for id, d := range l.s.unsettledIn {
		if d.l == l {
			delete(l.s.unsettledIn, id)
		}
	}
	l.takeCurrent()
}
