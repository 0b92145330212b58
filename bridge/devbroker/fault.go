package devbroker

import (
	"time"

	"github.com/absmach/fluxmq/amqp1/performatives"
	"github.com/absmach/fluxmq/amqp1/types"
)

// faultKind is what a rule does.
type faultKind string

const (
	faultOutcome faultKind = "outcome"
	faultSilence faultKind = "no answer"
	faultRefuse  faultKind = "refuse the attach"
	faultDetach  faultKind = "detach the link"
	faultEnd     faultKind = "end the session"
	faultClose   faultKind = "close the connection"
	faultReset   faultKind = "reset the connection"
)

type fault struct {
	kind    faultKind
	outcome any                  // of faultOutcome; nil: settled without one
	err     *performatives.Error // of the frame that does it; may be nil
}

var accepted = fault{kind: faultOutcome, outcome: &performatives.Accepted{}}

func rejection(condition types.Symbol, description string) fault {
	return fault{kind: faultOutcome, outcome: &performatives.Rejected{Error: newError(condition, description)}}
}

// A DeliveryRule says what becomes of deliveries. The last verb (Is..., DetachesLink, ...) holds; the modifiers (After, When, Stored,
// NotStored) may stand before or after it. A rule is best made before the delivery can arrive.
//
// Unless Stored or NotStored says otherwise, the message is stored when the verb is IsAccepted, IsNeverSettled or
// IsSettledWithoutOutcome, at the time it arrives, and not with any other verb.
type DeliveryRule struct {
	s           *Script
	first, last int // last 0: no end

	// Guarded by Broker.mu.
	fault   fault
	stored  *bool // nil: as the verb has it
	after   time.Duration
	when    <-chan struct{}
	cutAt   int // octets of the message after which the connection is reset; -1: not in mid-transfer
	arrived chan struct{}
	seen    bool
}

func (r *DeliveryRule) set(change func()) *DeliveryRule {
	r.s.b.mu.Lock()
	defer r.s.b.mu.Unlock()
	change()
	return r
}

func (r *DeliveryRule) verb(f fault) *DeliveryRule {
	return r.set(func() { r.fault, r.cutAt = f, -1 })
}

// IsAccepted stores the message and settles it as accepted. With After or When: late.
func (r *DeliveryRule) IsAccepted() *DeliveryRule { return r.verb(accepted) }

// IsRejected settles the delivery as rejected. With an empty condition the outcome carries no error, as from RabbitMQ.
func (r *DeliveryRule) IsRejected(condition, description string) *DeliveryRule {
	return r.verb(rejection(types.Symbol(condition), description))
}

// IsReleased settles the delivery as released.
func (r *DeliveryRule) IsReleased() *DeliveryRule {
	return r.verb(fault{kind: faultOutcome, outcome: &performatives.Released{}})
}

// IsModified settles the delivery as modified.
func (r *DeliveryRule) IsModified(deliveryFailed, undeliverableHere bool) *DeliveryRule {
	return r.verb(fault{kind: faultOutcome, outcome: &performatives.Modified{DeliveryFailed: deliveryFailed, UndeliverableHere: undeliverableHere}})
}

// IsSettledWithoutOutcome settles the delivery with no state at all.
func (r *DeliveryRule) IsSettledWithoutOutcome() *DeliveryRule {
	return r.verb(fault{kind: faultOutcome})
}

// IsNeverSettled leaves the delivery without an answer.
func (r *DeliveryRule) IsNeverSettled() *DeliveryRule { return r.verb(fault{kind: faultSilence}) }

// DetachesLink detaches the link instead of an answer, with an error unless the condition is empty.
func (r *DeliveryRule) DetachesLink(condition, description string) *DeliveryRule {
	return r.verb(fault{kind: faultDetach, err: newError(condition, description)})
}

// EndsSession ends the session instead of an answer, with an error unless the condition is empty.
func (r *DeliveryRule) EndsSession(condition, description string) *DeliveryRule {
	return r.verb(fault{kind: faultEnd, err: newError(condition, description)})
}

// ClosesConnection sends a close frame instead of an answer, with an error unless the condition is empty.
func (r *DeliveryRule) ClosesConnection(condition, description string) *DeliveryRule {
	return r.verb(fault{kind: faultClose, err: newError(condition, description)})
}

// ResetsConnection resets the TCP connection when the whole delivery has arrived, instead of an answer.
// With Stored the message is in the queue and its outcome never told. What the client has not read yet is lost with the
// connection, so outcomes of deliveries just before may be lost too.
func (r *DeliveryRule) ResetsConnection() *DeliveryRule { return r.verb(fault{kind: faultReset}) }

// ResetsConnectionInTransfer resets the TCP connection after the first transfer frame of the delivery.
func (r *DeliveryRule) ResetsConnectionInTransfer() *DeliveryRule {
	return r.ResetsConnectionAfterOctets(0)
}

// ResetsConnectionAfterOctets resets the TCP connection after the transfer frame with which n octets or more of the
// encoded message have arrived, be it the last one or not. The message is not stored, and After and When do not delay it.
func (r *DeliveryRule) ResetsConnectionAfterOctets(n int) *DeliveryRule {
	return r.set(func() { r.fault, r.cutAt = fault{kind: faultReset}, n })
}

// After delays what the rule does.
func (r *DeliveryRule) After(d time.Duration) *DeliveryRule { return r.set(func() { r.after = d }) }

// When delays what the rule does until ch is closed, or gives a value.
func (r *DeliveryRule) When(ch <-chan struct{}) *DeliveryRule { return r.set(func() { r.when = ch }) }

// Stored puts the message into the queue when it arrives, whatever the verb.
func (r *DeliveryRule) Stored() *DeliveryRule { return r.set(func() { r.stored = new(true) }) }

// NotStored keeps the message out of the queue, whatever the verb.
func (r *DeliveryRule) NotStored() *DeliveryRule { return r.set(func() { r.stored = new(false) }) }

// Arrived is closed when the first delivery of the rule has arrived and, without After or When, the rule has been applied.
func (r *DeliveryRule) Arrived() <-chan struct{} { return r.arrived }

// plan returns what to do and whether to store the message; r may be nil.
func (r *DeliveryRule) plan() (f fault, stored bool) {
	if r == nil {
		return accepted, true
	}
	if r.stored != nil {
		return r.fault, *r.stored
	}
	_, isAccepted := r.fault.outcome.(*performatives.Accepted)
	return r.fault, isAccepted || r.fault.kind == faultSilence || r.fault.kind == faultOutcome && r.fault.outcome == nil
}

// cuts reports whether the connection is to be reset now that so many octets have arrived; r may be nil.
func (r *DeliveryRule) cuts(octets int) bool { return r != nil && r.cutAt >= 0 && octets >= r.cutAt }

// hit closes Arrived; r may be nil.
func (r *DeliveryRule) hit() {
	if r != nil && !r.seen {
		r.seen = true
		close(r.arrived)
	}
}

// An AttachRule says what becomes of an attach. The last verb holds; without one the attach is answered as usual.
type AttachRule struct {
	s      *Script
	n      int
	sender bool
	fault  fault // guarded by Broker.mu
}

func (r *AttachRule) verb(f fault) {
	r.s.b.mu.Lock()
	defer r.s.b.mu.Unlock()
	r.fault = f
}

// IsRefused refuses the link as AMQP 1.0 part 2 §2.6.3 has it: an attach without a terminus, then a detach with the error.
func (r *AttachRule) IsRefused(condition, description string) {
	r.verb(fault{kind: faultRefuse, err: newError(condition, description)})
}

// EndsSession refuses the link as RabbitMQ does: the session ends with the error.
func (r *AttachRule) EndsSession(condition, description string) {
	r.verb(fault{kind: faultEnd, err: newError(condition, description)})
}

// DetachesLink attaches the link and detaches it at once, with an error unless the condition is empty.
func (r *AttachRule) DetachesLink(condition, description string) {
	r.verb(fault{kind: faultDetach, err: newError(condition, description)})
}

// ClosesConnection answers with a close frame, with an error unless the condition is empty.
func (r *AttachRule) ClosesConnection(condition, description string) {
	r.verb(fault{kind: faultClose, err: newError(condition, description)})
}

// ResetsConnection resets the TCP connection.
func (r *AttachRule) ResetsConnection() { r.verb(fault{kind: faultReset}) }

// IsNeverAnswered leaves the attach without an answer.
func (r *AttachRule) IsNeverAnswered() { r.verb(fault{kind: faultSilence}) }

// before does what stands in the way of the link; it reports false when the link is to be attached.
func (r *AttachRule) before(s *session, a *performatives.Attach) bool {
	switch r.fault.kind {
	case faultRefuse:
		s.refuse(a, r.fault.err)
	case faultEnd:
		s.end(r.fault.err)
	case faultClose:
		s.c.close(r.fault.err)
	case faultReset:
		s.c.reset()
	case faultSilence:
		s.links[a.Handle] = &incoming{link: link{s: s, handle: a.Handle, detached: true}}
	default:
		return false
	}
	s.c.log.Info("scripted fault", "address", r.s.address, "kind", r.fault.kind, "error", errorText(r.fault.err))
	return true
}

// CloseConnections closes every connection from our side, with an error unless the condition is empty.
func (b *Broker) CloseConnections(condition, description string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.close(newError(condition, description))
	}
}

// ResetConnections ends every connection by a TCP reset, as a crash would.
func (b *Broker) ResetConnections() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.reset()
	}
}

// RefuseConnections answers the open frame of new connections by a close frame, with an error unless the condition is
// empty, until AcceptConnections: so Artemis refuses a login that SASL let pass, and Broker-J one that comes too early.
func (b *Broker) RefuseConnections(condition, description string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusing, b.refusal = true, newError(condition, description)
}

// AcceptConnections ends RefuseConnections.
func (b *Broker) AcceptConnections() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusing, b.refusal = false, nil
}
