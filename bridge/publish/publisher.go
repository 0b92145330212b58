package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/go-amqp"

	"lsmtpd/schema"
)

// FirstAttemptWait is how long Ready waits for the first attempt since the start or since a lost link.
const FirstAttemptWait = 5 * time.Second

// Delivery is a message for one address, encoded.
type Delivery struct {
	Address     string
	Body        []byte // the data section; not changed, and not used after Publish has returned
	Properties  schema.Properties
	Application map[string]any
	// Abandon, when closed, gives the delivery up as long as nothing of it was sent. Nil: never.
	Abandon <-chan struct{}
}

// Publisher publishes deliveries. Its methods are safe for concurrent use.
type Publisher struct {
	cfg Config

	mu           sync.Mutex
	ctx          context.Context // of Run; nil before it and after
	connections  []*connection
	destinations map[string]*destination
	running      sync.WaitGroup
}

// New returns a Publisher that connects once Run is called.
func New(cfg Config) *Publisher {
	return &Publisher{cfg: cfg, destinations: map[string]*destination{}}
}

// Run keeps connections and links up until ctx ends, and returns when all of
// them are closed. A delivery that is under way then is in doubt.
func (p *Publisher) Run(ctx context.Context) {
	p.mu.Lock()
	p.ctx = ctx
	for _, d := range p.destinations {
		p.start(d)
	}
	p.mu.Unlock()
	for ctx.Err() == nil {
		p.closeIdle(time.Now())
		pause(ctx, idleCheck)
	}
	p.mu.Lock()
	p.ctx = nil
	p.mu.Unlock()
	p.running.Wait()
	for _, c := range p.connections {
		c.close()
	}
}

// Ready returns nil when address can take deliveries now, else why not. While
// the first attempt since the start, or since the link was lost, still runs, it
// waits for that attempt, at most 5 s.
func (p *Publisher) Ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, FirstAttemptWait)
	defer cancel()
	d := p.destination(address)
	_, err := d.await(ctx, nil, func() bool { return d.fresh })
	return err
}

// Health returns why address cannot take deliveries at the moment, or nil. It does not wait.
func (p *Publisher) Health(address string) error {
	d := p.destination(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Refusal returns why the broker ended a link to address whose user may not send there, until it accepts a delivery
// again. Meanwhile a link may well be attached, and deliveries are tried: only one of them can show that the right is there.
func (p *Publisher) Refusal(address string) error {
	d := p.destination(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refusal
}

// MaxMessageSize is the largest message, in octets of all its sections, that
// the link to address takes; 0 means that the broker named no limit, or that there was no link yet.
func (p *Publisher) MaxMessageSize(address string) int64 {
	d := p.destination(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.maxSize
}

// FansOut reports whether a delivery to address may reach several queues, so
// that one that was refused may still be held by one of them.
func (p *Publisher) FansOut(address string) bool {
	d := p.destination(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fansOut
}

// InFlight is the number of deliveries that are being transferred or wait for their outcome.
func (p *Publisher) InFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, d := range p.destinations {
		d.mu.Lock()
		if d.link != nil {
			n += len(d.link.slots)
		}
		d.mu.Unlock()
	}
	return n
}

// Publish sends a delivery and returns nil when the broker has accepted it,
// else an *Error. Until ctx ends it waits for a link, for credit and for the
// outcome, and sends again, with the same id, what a lost link left in doubt.
// A delivery that was ever in doubt and is not accepted later stays in doubt.
func (p *Publisher) Publish(ctx context.Context, dl Delivery) error {
	d := p.destination(dl.Address)
	if err := ctx.Err(); err != nil {
		return &Error{Outcome: NeverSent, Err: fmt.Errorf("no time left to send: %w", err)}
	}
	var doubt error
	abandon := dl.Abandon
	for {
		l, err := d.await(ctx, dl.Abandon, func() bool { return true })
		if err != nil {
			err = &Error{Outcome: NeverSent, Condition: conditionOf(err), Err: fmt.Errorf("no link: %w", err)}
			return errors.Join(doubt, err)
		}
		err = l.send(ctx, abandon, message(dl, l.artemis))
		var e *Error
		if !errors.As(err, &e) {
			d.accepted()
			return nil
		}
		switch {
		case e.Outcome == InDoubt:
			doubt, abandon = err, nil // to give it up is too late, and would end the link
		case e.Outcome != NeverSent:
			return errors.Join(doubt, err)
		}
		if ctx.Err() != nil || isClosed(dl.Abandon) && doubt == nil || e.Outcome == InDoubt && hopeless(e.Condition) {
			return errors.Join(doubt, err)
		}
		d.lost(ctx, l)
	}
}

// hopeless reports whether a link was lost for a reason that another link will meet as well, as Broker-J
// detaches a link whose user may not send.
func hopeless(condition string) bool {
	return condition == string(amqp.ErrCondNotAllowed) || condition == string(amqp.ErrCondUnauthorizedAccess)
}

// lost waits until a dead link is no longer the destination's, so that it is not tried again.
func (d *destination) lost(ctx context.Context, l *link) {
	for {
		d.mu.Lock()
		gone, changed := d.link != l, d.changed
		d.mu.Unlock()
		select {
		case <-l.dead:
		default:
			return // not dead: the delivery alone had bad luck
		}
		if gone {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// message is a delivery in AMQP's sections. On Artemis, _AMQ_DUPL_ID makes the broker drop a second copy.
func message(dl Delivery, artemis bool) *amqp.Message {
	optional := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	application := dl.Application
	if artemis {
		application = make(map[string]any, len(dl.Application)+1)
		for k, v := range dl.Application {
			application[k] = v
		}
		application["_AMQ_DUPL_ID"] = dl.Properties.MessageID
	}
	m := &amqp.Message{
		Header: &amqp.MessageHeader{Durable: true, Priority: 4},
		Properties: &amqp.MessageProperties{
			MessageID:    dl.Properties.MessageID,
			To:           &dl.Address,
			Subject:      optional(dl.Properties.Subject),
			ContentType:  optional(dl.Properties.ContentType),
			GroupID:      optional(dl.Properties.GroupID),
			CreationTime: &dl.Properties.CreationTime,
		},
		ApplicationProperties: application,
		Data:                  [][]byte{dl.Body},
	}
	if dl.Properties.CorrelationID != "" {
		m.Properties.CorrelationID = dl.Properties.CorrelationID
	}
	return m
}
