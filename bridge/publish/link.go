package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"lsmtpd/bridge/failpoint"
)

// watchdogGrace is how long a send may take to return once its delivery is
// given up. After it the watchdog closes the link, the only thing that frees a
// send that waits for a closed session window (RabbitMQ's memory alarm).
const watchdogGrace = 250 * time.Millisecond

// beginSession is what was being done when a session was refused; Remedy looks for it.
const beginSession = "begin session"

// link is an attached sending link with its session. It lives until the first
// error that concerns all its deliveries; then it is dead and another is made.
type link struct {
	conn    *amqp.Conn
	session *amqp.Session
	sender  *amqp.Sender
	fansOut bool
	artemis bool

	slots chan struct{} // one for each unsettled delivery, maxInFlight of them
	turn  chan struct{} // held around SendWithReceipt, whose own mutex no context can leave

	dead chan struct{} // closed by fail
	once sync.Once
	err  error // why it is dead; valid once dead is closed

	mu         sync.Mutex
	closed     bool           // stragglers is waited for
	stragglers sync.WaitGroup // deliveries whose caller stopped waiting for the outcome
	unsettled  atomic.Int32   // how many of them there are
}

// openLink begins a session on conn and attaches a sending link to address.
func openLink(ctx context.Context, cfg Config, conn *amqp.Conn, address string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", beginSession, err)
	}
	sender, err := session.NewSender(ctx, address, &amqp.SenderOptions{TargetCapabilities: cfg.targetCapabilities(conn.Properties())})
	if err != nil {
		// The broker may have ended the session already; what counts is why it refused the link.
		_ = session.Close(ctx)
		return nil, fmt.Errorf("attach to %q: %w", address, err)
	}
	return &link{
		conn: conn, session: session, sender: sender,
		fansOut: cfg.fansOut(address, conn.Properties()),
		artemis: isArtemis(conn.Properties()),
		slots:   make(chan struct{}, maxInFlight),
		turn:    make(chan struct{}, 1),
		dead:    make(chan struct{}),
	}, nil
}

// fail makes the link dead. The first reason counts.
func (l *link) fail(err error) {
	l.once.Do(func() {
		l.err = cmp.Or(err, errConnection)
		close(l.dead)
	})
}

// close detaches the link, ends its session and waits for the deliveries that nobody waits for any more.
func (l *link) close() {
	l.fail(errors.New("link closed"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	errSender, errSession := l.sender.Close(ctx), l.session.Close(ctx)
	if errSender != nil && errSession != nil && errors.Is(errSession, context.DeadlineExceeded) {
		// A peer that does not answer the end of a session gets no other one: the connection is thrown away.
		_ = l.conn.Close()
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stragglers.Wait()
}

// send transfers msg and waits for its outcome: nil for accepted, else an
// *Error. It returns soon after ctx ends. A closed abandon gives the delivery
// up while nothing of it was written, and means nothing afterwards.
func (l *link) send(ctx context.Context, abandon <-chan struct{}, msg *amqp.Message) error {
	if err := l.acquire(ctx, abandon, l.slots); err != nil {
		return err
	}
	receipt, err := l.transfer(ctx, abandon, msg)
	if err != nil {
		<-l.slots
		return err
	}
	failpoint.Hit("transfer.begun")
	state, err := receipt.Wait(ctx)
	if err == nil {
		failpoint.Hit("transfer.settled")
	}
	switch {
	case err == nil:
		<-l.slots
		err = outcomeOf(state)
		if errors.Is(err, errNoState) {
			l.fail(err) // a broker that settles like this is asked again with the backoff of a lost link
		}
		return err
	case ctx.Err() != nil:
		l.leave(receipt)
		return &Error{Outcome: InDoubt, Err: fmt.Errorf("no outcome in time: %w", ctx.Err())}
	}
	<-l.slots
	l.fail(err)
	return &Error{Outcome: InDoubt, Condition: conditionOf(err), Err: fmt.Errorf("link lost before the outcome: %w", err)}
}

// acquire takes a token of sem, or says why the delivery was never sent.
func (l *link) acquire(ctx context.Context, abandon <-chan struct{}, sem chan struct{}) error {
	select {
	case sem <- struct{}{}:
		return nil
	case <-l.dead:
		return &Error{Outcome: NeverSent, Condition: conditionOf(l.err), Err: l.err}
	case <-ctx.Done():
		return &Error{Outcome: NeverSent, Err: fmt.Errorf("no room on the link in time: %w", ctx.Err())}
	case <-abandon:
		return &Error{Outcome: NeverSent, Err: errAbandoned}
	}
}

// transfer writes the frames of one delivery. Only one is written at a time.
func (l *link) transfer(ctx context.Context, abandon <-chan struct{}, msg *amqp.Message) (*amqp.SendReceipt, error) {
	if err := l.acquire(ctx, abandon, l.turn); err != nil {
		return nil, err
	}
	defer func() { <-l.turn }()
	g := newGate()
	stop := l.watch(ctx, abandon, g)
	receipt, err := l.sender.SendWithReceipt(g, msg, nil)
	stop()
	if err == nil {
		return &receipt, nil
	}
	return nil, l.transferError(ctx, g, err)
}

// transferError sorts the error of a send that gave no receipt.
func (l *link) transferError(ctx context.Context, g *gate, err error) error {
	condition := conditionOf(err)
	if isLocal(err, amqp.ErrCondMessageSizeExceeded) && g.abandon() {
		return &Error{Outcome: TooLarge, Condition: condition, Err: err}
	}
	wasOpen, noCredit := g.begun(), isLocal(err, amqp.ErrCondTransferLimitExceeded)
	// Abandoned while it waited for credit, the send leaves the link as it was. Any other end of a send without a receipt is the link's.
	if wasOpen || !noCredit {
		l.fail(err)
	}
	if g.abandon() {
		if cause := ctx.Err(); cause != nil && noCredit {
			err = fmt.Errorf("no link credit in time: %w", cause)
		}
		return &Error{Outcome: NeverSent, Condition: condition, Err: err}
	}
	return &Error{Outcome: InDoubt, Condition: condition, Err: fmt.Errorf("transfer broken off: %w", err)}
}

// isLocal recognises an error that go-amqp made of itself: the peer's are
// wrapped in a LinkError, SessionError or ConnError. Message-size-exceeded means
// that nothing was sent, transfer-limit-exceeded that the context ended while the send waited for link credit.
func isLocal(err error, condition amqp.ErrCond) bool {
	e, ok := err.(*amqp.Error) //nolint:errorlint // a wrapped one is the peer's
	return ok && e.Condition == condition
}

// watch gives the send of g up when ctx ends or abandon closes, and closes the
// link when the send does not return then. Stop ends the watch and waits for it.
func (l *link) watch(ctx context.Context, abandon <-chan struct{}, g *gate) (stop func()) {
	returned, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-returned:
			return
		case <-ctx.Done():
			g.abandon()
		case <-abandon:
			if !g.abandon() {
				// The transfer has begun: it is carried on to its outcome.
				select {
				case <-returned:
					return
				case <-ctx.Done():
				}
			}
		case <-l.dead:
		}
		l.bite(returned)
	}()
	return func() { close(returned); <-watched }
}

// bite closes the sender when the send has not returned within the grace.
func (l *link) bite(returned <-chan struct{}) {
	grace := time.NewTimer(watchdogGrace)
	defer grace.Stop()
	select {
	case <-returned:
		return
	case <-grace.C:
	}
	l.fail(errors.New("a send did not return: link closed by the watchdog"))
	ctx, cancel := context.WithTimeout(context.Background(), watchdogGrace)
	defer cancel()
	if err := l.sender.Close(ctx); err != nil && ctx.Err() != nil {
		_ = l.conn.Close() // the peer does not answer the detach either
	}
}

// leave has somebody else wait for the outcome of a delivery. On a link that is closed there is nothing to wait for.
func (l *link) leave(receipt *amqp.SendReceipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		<-l.slots
		return
	}
	l.stragglers.Go(func() { l.awaitStraggler(receipt) })
}

// awaitStraggler keeps the slot of a delivery until it is settled after all or the link is dead.
// Where half of the link's room is lost to such deliveries, it fails the link.
func (l *link) awaitStraggler(receipt *amqp.SendReceipt) {
	defer l.unsettled.Add(-1)
	if l.unsettled.Add(1) >= maxInFlight/2 {
		l.fail(errors.New("the broker leaves deliveries unsettled: link given up"))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := receipt.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		l.fail(err)
	}
	<-l.slots
}
