package publish

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

var (
	errAbandoned = errors.New("given up before the transfer began")
	errStarting  = errors.New("not connected yet")
	errClosed    = errors.New("publisher closed")
	// errConnection stands for the end of a connection that go-amqp gives no error for.
	errConnection = errors.New("the broker closed the connection")
)

// destination keeps a link to one address attached.
type destination struct {
	address string
	conn    *connection

	// Of the Publisher, guarded by its mutex:
	kept bool      // whether there are deliveries or not
	used time.Time // when somebody last asked for it
	end  func()    // ends run; nil before it

	mu      sync.Mutex
	link    *link         // nil while down
	err     error         // why it is down
	fresh   bool          // no attempt has ended yet since the start or since the link was lost
	backoff time.Duration // 0 after an accepted delivery
	refusal error         // why a link was lost, where the next is no better by itself; nil after an accepted delivery
	changed chan struct{} // closed and replaced whenever one of the above changes
	// maxSize and fansOut are those of the last link, for a message that is fitted while the link is down.
	maxSize int64
	fansOut bool
}

func newDestination(address string, conn *connection) *destination {
	return &destination{address: address, conn: conn, err: errStarting, fresh: true, changed: make(chan struct{}),
		fansOut: conn.cfg.fansOut(address, nil)}
}

// run attaches the link, again and again as it is lost, until ctx ends.
func (d *destination) run(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := d.open(ctx)
		if err != nil {
			d.set(func() { d.link, d.err, d.fresh = nil, err, false })
			d.conn.cfg.Logger.Warn("broker unavailable", "address", d.address, "error", err, "remedy", Remedy(err))
			d.wait(ctx)
			continue
		}
		d.set(func() {
			d.link, d.err, d.fresh = l, nil, false
			d.maxSize, d.fansOut = int64(min(l.sender.MaxMessageSize(), 1<<62)), l.fansOut
		})
		d.conn.cfg.Logger.Info("link attached", "address", d.address, "max_message_size", l.sender.MaxMessageSize())
		for _, caveat := range d.conn.cfg.caveats(d.address, l.conn.Properties()) {
			d.conn.cfg.Logger.Info("not verified", "address", d.address, "caveat", caveat)
		}
		d.hold(ctx, l)
	}
	d.set(func() { d.link, d.err, d.fresh = nil, errClosed, false })
}

// open makes a link on the shared connection. A connection on which that failed
// is thrown away where nobody else can be using it for good: it did not answer, or died.
func (d *destination) open(ctx context.Context) (*link, error) {
	conn, err := d.conn.get(ctx)
	if err != nil {
		return nil, err
	}
	l, err := openLink(ctx, d.conn.cfg, conn, d.address)
	if err != nil && (errors.Is(err, context.DeadlineExceeded) || isDone(conn)) {
		d.conn.drop(conn)
	}
	return l, err
}

// hold keeps l in service until it dies or ctx ends.
func (d *destination) hold(ctx context.Context, l *link) {
	attached := time.Now()
	select {
	case <-l.dead:
	case <-l.conn.Done():
		l.fail(cmp.Or(l.conn.Err(), errConnection))
	case <-ctx.Done():
		l.fail(errClosed)
	}
	<-l.dead
	d.set(func() {
		d.link, d.err, d.fresh = nil, l.err, true
		if hopeless(conditionOf(l.err)) {
			d.refusal = l.err
		}
	})
	if ctx.Err() == nil {
		d.conn.cfg.Logger.Warn("link lost", "address", d.address, "error", l.err, "remedy", Remedy(l.err))
	}
	l.close()
	d.mu.Lock()
	if time.Since(attached) > maxBackoff {
		d.backoff = 0 // it stood long enough to be called working
	}
	again := d.backoff > 0
	d.backoff = max(d.backoff, minBackoff)
	d.mu.Unlock()
	if again {
		d.wait(ctx) // no link since has accepted anything: the next may be no better
	}
}

// accepted notes that links to this address work, so that the next loss of one is met without delay.
func (d *destination) accepted() {
	d.mu.Lock()
	d.backoff, d.refusal = 0, nil
	d.mu.Unlock()
}

// set changes the state under the lock and wakes who waits for a change.
func (d *destination) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait sleeps for the backoff with full jitter in its upper half, and doubles it.
func (d *destination) wait(ctx context.Context) {
	d.mu.Lock()
	b := max(d.backoff, minBackoff)
	d.backoff = min(2*b, maxBackoff)
	d.mu.Unlock()
	pause(ctx, b/2+rand.N(b/2))
}

// await returns the attached link, waiting for it while patient says so of the state.
// Otherwise, or when ctx or abandon ends, it returns why there is none.
func (d *destination) await(ctx context.Context, abandon <-chan struct{}, patient func() bool) (*link, error) {
	for {
		d.mu.Lock()
		l, err, changed, wait := d.link, d.err, d.changed, d.err == nil || patient()
		d.mu.Unlock()
		if l != nil {
			return l, nil
		}
		if !wait || errors.Is(err, errClosed) {
			return nil, err
		}
		select {
		case <-changed:
		case <-abandon:
			return nil, errAbandoned
		case <-ctx.Done():
			return nil, err
		}
	}
}
