package devbroker

import (
	"slices"

	"github.com/absmach/fluxmq/amqp1/performatives"
)

// Every, in place of a number, means every attach or delivery.
const Every = 0

// A Script makes the node misbehave at one address, by the numbers of its deliveries and attaches:
//
//	in := broker.Script("in")
//	in.Delivery(2).IsRejected("amqp:resource-limit-exceeded", "full")
//	in.Delivery(3).Stored().ResetsConnection()
//	in.SenderAttach(4).IsRefused("amqp:not-found", "no such queue")
//	in.GivesNoCredit()
//
// Attaches and deliveries are counted from 1, over all connections, since the address was first given to Broker.Script.
// Where several rules fit, the one made last holds. Its methods are safe for concurrent use and take effect at once.
type Script struct {
	b       *Broker
	address string

	// Guarded by Broker.mu.
	deliveries, senderAttaches, receiverAttaches int
	deliveryRules                                []*DeliveryRule
	attachRules                                  []*AttachRule
	credit                                       int // deliveries a link gets credit for in all; -1: no limit
	window                                       int // transfer frames a session gets window for from the attach on; -1: no limit
	log                                          []*Delivery
}

// Script returns the script of an address, and makes an empty one the first time.
func (b *Broker) Script(address string) *Script {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.scripts[address]
	if s == nil {
		s = &Script{b: b, address: address, credit: -1, window: -1}
		b.scripts[address] = s
	}
	return s
}

// Clear removes all rules, gives credit and window again, and sets the counters back. What the rules have decided for
// deliveries that have arrived stays decided.
func (s *Script) Clear() {
	s.GivesCredit()
	s.OpensWindow()
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.deliveries, s.senderAttaches, s.receiverAttaches = 0, 0, 0
	s.deliveryRules, s.attachRules, s.log = nil, nil, nil
}

// Delivery makes a rule for the n-th delivery, or for Every. Until told otherwise the rule accepts it.
func (s *Script) Delivery(n int) *DeliveryRule {
	if n == Every {
		return s.addDeliveryRule(1, 0)
	}
	return s.addDeliveryRule(n, n)
}

// DeliveriesFrom makes a rule for the n-th delivery and all after it.
func (s *Script) DeliveriesFrom(n int) *DeliveryRule { return s.addDeliveryRule(n, 0) }

func (s *Script) addDeliveryRule(first, last int) *DeliveryRule {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	r := &DeliveryRule{s: s, first: first, last: last, fault: accepted, cutAt: -1, arrived: make(chan struct{})}
	s.deliveryRules = append(s.deliveryRules, r)
	return r
}

// SenderAttach makes a rule for the n-th link, or for Every one, on which a client wants to send to the address.
func (s *Script) SenderAttach(n int) *AttachRule { return s.addAttachRule(n, true) }

// ReceiverAttach makes a rule for the n-th link, or for Every one, on which a client wants to receive.
func (s *Script) ReceiverAttach(n int) *AttachRule { return s.addAttachRule(n, false) }

func (s *Script) addAttachRule(n int, sender bool) *AttachRule {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	r := &AttachRule{s: s, n: n, sender: sender}
	s.attachRules = append(s.attachRules, r)
	return r
}

// GivesNoCredit takes all link credit from senders, and gives none to new ones, until GivesCredit.
func (s *Script) GivesNoCredit() { s.GivesCreditFor(0) }

// GivesCreditFor lets every link send n deliveries in all, those it has sent included, and then none until GivesCredit.
func (s *Script) GivesCreditFor(n int) {
	s.eachSender(func(l *incoming) {
		if left := uint32(max(n-l.arrived, 0)); left < l.credit {
			l.setCredit(left)
		} else {
			l.replenish()
		}
	}, func() { s.credit = n })
}

// GivesCredit gives link credit as if there were no script.
func (s *Script) GivesCredit() {
	s.eachSender((*incoming).replenish, func() { s.credit = -1 })
}

// ClosesWindow sets the incoming-window of every session with a sender for the address to 0, while link credit stays, as
// RabbitMQ does when memory is short, until OpensWindow.
func (s *Script) ClosesWindow() { s.ClosesWindowAfter(0) }

// ClosesWindowAfter lets n more transfer frames through on every session that has, or will have, a sender for the address.
func (s *Script) ClosesWindowAfter(n int) { s.setWindow(n) }

// OpensWindow opens the incoming-window of the sessions again.
func (s *Script) OpensWindow() { s.setWindow(-1) }

func (s *Script) setWindow(frames int) {
	s.eachSender(func(l *incoming) {
		l.s.framesLeft = frames
		l.s.c.send(l.s.channel, l.s.newFlow())
	}, func() { s.window = frames })
}

// DetachesSenders detaches every link on which a client sends to the address, now. The condition may be empty.
func (s *Script) DetachesSenders(condition, description string) {
	s.eachSender(func(l *incoming) { l.s.sendDetach(l, newError(condition, description)) }, func() {})
}

// eachSender calls change, and then f for every attached link that sends to the address, all under the lock.
func (s *Script) eachSender(f func(*incoming), change func()) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	change()
	for c := range s.b.conns {
		for _, session := range c.sessions {
			for _, e := range session.links {
				if l, ok := e.(*incoming); ok && !l.detached && l.q.address == s.address && !c.closing {
					f(l)
				}
			}
		}
	}
}

// arrive counts a delivery at its first frame, and returns its rule and its place in the log, both nil without a script.
func (s *Script) arrive() (*DeliveryRule, *Delivery) {
	if s == nil {
		return nil, nil
	}
	s.deliveries++
	d := &Delivery{Number: s.deliveries}
	s.log = appendBounded(s.log, d)
	for _, r := range slices.Backward(s.deliveryRules) {
		if s.deliveries >= r.first && (r.last == 0 || s.deliveries <= r.last) {
			return r, d
		}
	}
	return nil, d
}

// attachRule counts an attach and returns its rule, if any.
func (s *Script) attachRule(sender bool) *AttachRule {
	if s == nil {
		return nil
	}
	n := &s.receiverAttaches
	if sender {
		n = &s.senderAttaches
	}
	*n++
	for _, r := range slices.Backward(s.attachRules) {
		if r.sender == sender && (r.n == Every || r.n == *n) {
			return r
		}
	}
	return nil
}

// A Delivery is one delivery that has arrived at an address with a script.
type Delivery struct {
	Number  int    // as the script counts it
	ID      string // message-id as text; empty while only a part has arrived
	Octets  int    // of the encoded message; 0 while only a part has arrived
	Stored  bool   // it was put into the queue
	Outcome string // accepted, rejected, released, modified, none (settled without one); empty when nothing was told
}

// Deliveries returns the deliveries that have arrived, in order; no more than the last 1000.
func (s *Script) Deliveries() []Delivery {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	out := make([]Delivery, len(s.log))
	for i, d := range s.log {
		out[i] = *d
	}
	return out
}

func (d *Delivery) arrived(id string, octets int) {
	if d != nil {
		d.ID, d.Octets = id, octets
	}
}

func (d *Delivery) stored() {
	if d != nil {
		d.Stored = true
	}
}

func (d *Delivery) decided(outcome any) {
	if d == nil {
		return
	}
	switch outcome.(type) {
	case *performatives.Accepted:
		d.Outcome = "accepted"
	case *performatives.Rejected:
		d.Outcome = "rejected"
	case *performatives.Released:
		d.Outcome = "released"
	case *performatives.Modified:
		d.Outcome = "modified"
	case nil:
		d.Outcome = "none"
	}
}
