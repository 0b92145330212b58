package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/Azure/go-amqp"
)

// connection is a connection that destinations share. Whoever needs
// it and finds it gone dials it; the others wait for that attempt.
type connection struct {
	cfg          Config
	destinations int // that share it; guarded by the Publisher's mutex

	mu    sync.Mutex // held while dialling, which dialTimeout bounds for each URL
	conn  *amqp.Conn
	at    int // index of the URL of conn
	first int // index of the URL that is tried first
}

// get returns the open connection, or tries every URL once for a new one: in order, unless the last one was dropped.
func (c *connection) get(ctx context.Context) (*amqp.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && !isDone(c.conn) {
		return c.conn, nil
	}
	c.conn = nil
	var errs []error
	for i := range c.cfg.URLs {
		at := (c.first + i) % len(c.cfg.URLs)
		u := c.cfg.URLs[at]
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, err := amqp.Dial(dialCtx, dialURL(u), c.cfg.connOptions(u))
		cancel()
		if err == nil {
			c.cfg.Logger.Info("broker connected", "broker", redact(u), "product", conn.Properties()["product"])
			c.conn, c.at, c.first = conn, at, 0
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("connect to %s: %w", redact(u), err))
	}
	return nil, errors.Join(errs...)
}

// isDone reports whether conn has ended. After a clean close its Err is nil all the same.
func isDone(conn *amqp.Conn) bool { return isClosed(conn.Done()) }

// drop closes conn, on which nothing could be begun, so that the next get dials anew: the next URL, because a broker
// that takes connections and does no more would keep the others from being tried for ever.
func (c *connection) drop(conn *amqp.Conn) {
	c.mu.Lock()
	if c.conn == conn {
		c.first = (c.at + 1) % len(c.cfg.URLs)
	}
	c.mu.Unlock()
	c.hangUp(conn)
}

func (c *connection) hangUp(conn *amqp.Conn) {
	if err := conn.Close(); err != nil {
		c.cfg.Logger.Debug("broker connection closed", slog.Any("error", err))
	}
}

// close ends the connection for good.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.hangUp(c.conn)
		c.conn = nil
	}
}

// Dial opens a connection of its own to the first broker of cfg that answers,
// for a consumer or a check; the caller closes it. The context bounds the
// whole attempt.
func Dial(ctx context.Context, cfg Config) (*amqp.Conn, error) {
	c := connection{cfg: cfg}
	return c.get(ctx)
}

// TryLink attaches a sending link on conn as a Publisher would, and detaches it again.
func TryLink(ctx context.Context, cfg Config, conn *amqp.Conn, address string) error {
	l, err := openLink(ctx, cfg, conn, address)
	if err == nil {
		l.close()
	}
	return err
}

// ReceiverOptions are the options of a receiving link on conn to an address that a Publisher sends to.
func ReceiverOptions(cfg Config, conn *amqp.Conn) *amqp.ReceiverOptions {
	return &amqp.ReceiverOptions{SourceCapabilities: cfg.targetCapabilities(conn.Properties())}
}
