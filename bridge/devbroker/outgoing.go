package devbroker

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

// outgoing is our end of a link on which the client receives. The writer of the connection pulls its frames by pump, so
// that a message is taken from the queue only when it can be written: a receiver that does not read holds one message up,
// and nobody else.
type outgoing struct {
	link
	deliveryCount, credit uint32
	drain                 bool
	presettled            bool         // snd-settle-mode settled
	largest               uint64       // the client's max-message-size; 0: none
	current               *outDelivery // of which some frames are still to be sent
}

// outDelivery is a message on its way to a receiver, until it is settled.
type outDelivery struct {
	l       *outgoing
	m       *storedMessage
	id      uint32
	rest    []byte // not sent yet
	started bool
	settled bool
}

// pump returns the next transfer frame that link credit and session window allow.
func (l *outgoing) pump() (outFrame, bool) {
	s := l.s
	if l.detached || s.ended {
		return outFrame{}, false
	}
	if l.current == nil && !l.take() {
		return outFrame{}, false
	}
	if s.remoteWindow == 0 {
		return outFrame{}, false
	}
	d := l.current
	t := &performatives.Transfer{Handle: l.handle, Settled: l.presettled, More: true}
	if !d.started {
		d.started = true
		var format uint32
		t.DeliveryID, t.MessageFormat = &d.id, &format
		t.DeliveryTag = binary.BigEndian.AppendUint32(nil, d.id)
	}
	body := l.encode(t)
	room := int(s.c.maxFrame) - frames.HeaderSize - len(body)
	if len(d.rest) <= room {
		t.More = false
		body, room = l.encode(t), len(d.rest)
		l.current = nil
	}
	f := outFrame{channel: s.channel, body: body, payload: d.rest[:room]}
	d.rest = d.rest[room:]
	s.nextOutgoing++
	s.remoteWindow--
	if l.current == nil && l.presettled && !d.settled {
		d.end()
		l.q.remove(d.m)
	}
	return f, true
}

func (l *outgoing) encode(t *performatives.Transfer) []byte {
	body, _ := t.Encode() // fails only for values of unknown types, and a transfer has none
	return body
}

// take begins a new delivery, if there are a message, credit and window for it.
func (l *outgoing) take() bool {
	m := l.q.next()
	if m == nil || l.credit == 0 {
		if l.drain {
			l.drained()
		}
		return false
	}
	if l.s.remoteWindow == 0 {
		return false
	}
	if l.largest > 0 && uint64(len(m.octets)) > l.largest {
		l.s.sendDetach(l, newError(performatives.ErrMessageSizeExceeded,
			fmt.Sprintf("the next message has %d octets, the receiver takes %d", len(m.octets), l.largest)))
		return false
	}
	octets := m.octets
	if m.deliveryCount > 0 {
		if counted, err := withDeliveryCount(octets, m.deliveryCount); err == nil {
			octets = counted
		}
	}
	l.q.acquire()
	d := &outDelivery{l: l, m: m, id: l.s.nextDelivery, rest: octets}
	l.s.nextDelivery++
	l.s.unsettledOut[d.id] = d
	l.current = d
	l.deliveryCount++
	l.credit--
	return true
}

// drained uses up the credit there are no messages for, and says so (part 2 §2.6.7).
func (l *outgoing) drained() {
	l.deliveryCount += l.credit
	l.credit = 0
	l.sendFlow()
	l.drain = false
}

func (l *outgoing) sendFlow() {
	f := l.s.newFlow()
	count, credit, available := l.deliveryCount, l.credit, uint32(len(l.q.ready))
	f.Handle, f.DeliveryCount, f.LinkCredit, f.Available, f.Drain = &l.handle, &count, &credit, &available, l.drain
	l.s.c.send(l.s.channel, f)
}

// flow takes the credit that the receiver gives.
func (l *outgoing) flow(f *performatives.Flow) error {
	if f.LinkCredit == nil {
		return nil
	}
	sent := l.deliveryCount // as the receiver does not know it yet
	if f.DeliveryCount != nil {
		sent -= *f.DeliveryCount
	}
	l.credit = *f.LinkCredit - min(sent, *f.LinkCredit)
	l.drain = f.Drain
	l.s.c.wakeWriter()
	return nil
}

// settle applies the outcome that the receiver has decided on. A nil outcome, settled, gives the message back.
func (d *outDelivery) settle(outcome any, settled bool) {
	switch o := outcome.(type) {
	case nil:
		if !settled {
			return // nothing decided
		}
		d.end()
		d.l.q.requeue(d.m)
	case *performatives.Released:
		d.end()
		d.l.q.requeue(d.m)
	case *performatives.Modified:
		d.end()
		if o.DeliveryFailed {
			d.m.deliveryCount++
		}
		if o.UndeliverableHere {
			d.l.q.remove(d.m)
		} else {
			d.l.q.requeue(d.m)
		}
	default: // accepted; rejected, and there is no dead letter queue
		d.end()
		d.l.q.remove(d.m)
	}
}

// end forgets the delivery, not the message.
func (d *outDelivery) end() {
	d.settled = true
	delete(d.l.s.unsettledOut, d.id)
}

// drop gives the unsettled messages back, as deliveries that failed.
func (l *outgoing) drop() {
	if l.detached {
		return
	}
	delete(l.q.receivers, l)
	l.s.c.senders = slices.DeleteFunc(l.s.c.senders, func(o *outgoing) bool { return o == l })
	for _, d := range l.s.unsettledOut {
		if d.l == l {
			d.end()
			d.m.deliveryCount++
			l.q.requeue(d.m)
		}
	}
	l.current = nil
}
