package devbroker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/absmach/fluxmq/amqp1/performatives"
)

// A Broker is an AMQP 1.0 node whose addresses are queues in memory. Its methods are safe for concurrent use.
//
// There is one lock. It guards the queues, the scripts and the state of every connection, session and link, and is never
// held while a connection is read or written, or anything is waited for. Config.Logger is called under it.
type Broker struct {
	cfg Config

	mu          sync.Mutex
	queues      map[string]*queue
	octets      int64 // in all queues and incomplete deliveries
	scripts     map[string]*Script
	conns       map[*conn]struct{}
	refusal     *performatives.Error // of new connections; see RefuseConnections
	refusing    bool
	attachments []Attachment
	changed     chan struct{} // closed at the next change of a queue; nil while nobody waits
}

// New returns a Broker with empty queues. What is wrong in cfg, Serve reports.
func New(cfg Config) *Broker {
	return &Broker{
		cfg:     cfg.withDefaults(),
		queues:  make(map[string]*queue),
		scripts: make(map[string]*Script),
		conns:   make(map[*conn]struct{}),
	}
}

// Serve accepts connections from ln until ctx ends, and closes ln. It then ends its connections with
// amqp:connection:forced and returns nil once every goroutine it started has returned, within some 2 s. It returns an
// error when Config is wrong or ln fails. The queues outlive it: to serve again, or on several listeners at a time, is fine.
func (b *Broker) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	if err := b.cfg.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()

	var (
		wg   sync.WaitGroup
		mine = make(map[*conn]struct{})
		err  error
	)
	for {
		var nc net.Conn
		if nc, err = ln.Accept(); err != nil {
			break
		}
		c := b.register(nc)
		if c == nil {
			nc.Close()
			continue
		}
		b.mu.Lock()
		mine[c] = struct{}{}
		b.mu.Unlock()
		wg.Go(func() {
			c.run()
			b.mu.Lock()
			delete(b.conns, c)
			delete(mine, c)
			b.mu.Unlock()
		})
	}
	b.mu.Lock()
	for c := range mine {
		c.close(newError(performatives.ErrConnectionForced, "the broker is shutting down"))
	}
	b.mu.Unlock()
	wg.Wait()
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("devbroker: accept: %w", err)
}

// register makes a connection of nc, or returns nil when there are too many.
func (b *Broker) register(nc net.Conn) *conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.conns) >= b.cfg.MaxConnections {
		b.cfg.Logger.Warn("connection refused: too many", "remote", nc.RemoteAddr(), "limit", b.cfg.MaxConnections)
		return nil
	}
	c := newConn(b, nc)
	if b.cfg.TLS != nil {
		c.nc = tls.Server(nc, b.cfg.TLS)
	}
	b.conns[c] = struct{}{}
	return c
}

// queueFor returns the queue of an address and makes it when it is new; nil when there are too many.
func (b *Broker) queueFor(address string) *queue {
	q := b.queues[address]
	if q == nil && len(b.queues) < b.cfg.MaxQueues {
		q = newQueue(b, address)
		b.queues[address] = q
	}
	return q
}

// notify wakes whoever waits for a change.
func (b *Broker) notify() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// wait blocks until ok, called under the lock and again after each change, returns true, or ctx ends.
func (b *Broker) wait(ctx context.Context, ok func() bool) error {
	for {
		b.mu.Lock()
		if ok() {
			b.mu.Unlock()
			return nil
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TB is the part of testing.TB that Start uses.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start serves a new Broker on a free port of 127.0.0.1 until the test ends. The URL, amqp:// or with Config.TLS amqps://,
// carries no credentials.
func Start(t TB, cfg Config) (b *Broker, url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for the devbroker: %v", err)
	}
	b = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("serve the devbroker: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("the devbroker did not stop within 10 s")
		}
	})
	scheme := "amqp"
	if cfg.TLS != nil {
		scheme = "amqps"
	}
	return b, scheme + "://" + ln.Addr().String()
}
