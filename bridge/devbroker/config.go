package devbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/types"
)

// Config is what a Broker is made of. The zero Config is a broker that anybody may use.
type Config struct {
	// Username and Password are the only credentials accepted, by SASL PLAIN. With an empty Username PLAIN takes any
	// credentials, and SASL ANONYMOUS, as well as no SASL at all, is allowed too.
	Username, Password string

	// ContainerID is the container-id of the open frame. Default: "lsmtpd-devbroker".
	ContainerID string
	// Properties are the connection properties of the open frame, of types AMQP knows: strings, sized numbers, booleans.
	// Default: product "lsmtpd devbroker". A test poses as another product by {"product": "apache-activemq-artemis"}.
	Properties map[string]any

	// MaxFrameSize is the largest frame accepted, in octets, at least 512; it is announced. Default: 65536.
	MaxFrameSize uint32
	// MaxMessageSize is the largest message accepted, in octets; it is announced on attach. Default: 16 MiB.
	MaxMessageSize uint64
	// LinkCredit is how many deliveries a sender may have on a link without an outcome. Default: 1000.
	LinkCredit uint32
	// SessionWindow is the incoming-window of a session, in transfer frames. Default: 2048.
	SessionWindow uint32
	// IdleTimeout is how long a peer may be silent before its connection is closed; half of it is announced as the
	// idle-time-out of the open frame. Negative: for ever. Default: 1 minute.
	IdleTimeout time.Duration

	// MaxConnections bounds the connections; one more is closed at once. Default: 256.
	MaxConnections int
	// MaxSessions bounds the sessions of a connection; it is announced as channel-max. Default: 64.
	MaxSessions int
	// MaxLinks bounds the links of a session, at least 2; it is announced as handle-max. Default: 64.
	MaxLinks int
	// MaxQueues bounds the addresses in use; an attach to one more is refused. Default: 256.
	MaxQueues int
	// MaxQueueMessages and MaxQueueOctets bound what a queue keeps, in messages and in octets of their encoded form;
	// past them a message is rejected with amqp:resource-limit-exceeded. Default: 100000, and 256 MiB.
	MaxQueueMessages int
	MaxQueueOctets   int64
	// MaxOctets bounds what all queues keep, and what has arrived of deliveries that are not complete yet, in octets. Past
	// it a message is rejected, and a link with half a message detached, with amqp:resource-limit-exceeded. Default: 1 GiB.
	MaxOctets int64

	// TLS makes every connection begin with a TLS handshake. A client certificate that it verifies is offered
	// SASL EXTERNAL. Nil: no TLS.
	TLS *tls.Config
	// Logger gets one line for each connection, attach and fault. Nil: no log.
	Logger *slog.Logger
}

// Times no configuration changes.
const (
	handshakeTimeout = 10 * time.Second // from accept to the open frame
	writeTimeout     = time.Minute      // one write to a peer that does not read
	closeTimeout     = 2 * time.Second  // from our close frame to the peer's
)

// maxPending is how many octets of replies may wait for a peer that sends but does not read, before it is no longer read.
const maxPending = 1 << 20

func (c Config) withDefaults() Config {
	setDefault(&c.ContainerID, "lsmtpd-devbroker")
	setDefault(&c.MaxFrameSize, frames.DefaultMaxFrameSize)
	setDefault(&c.MaxMessageSize, 16<<20)
	setDefault(&c.LinkCredit, 1000)
	setDefault(&c.SessionWindow, 2048)
	setDefault(&c.IdleTimeout, time.Minute)
	setDefault(&c.MaxConnections, 256)
	setDefault(&c.MaxSessions, 64)
	setDefault(&c.MaxLinks, 64)
	setDefault(&c.MaxQueues, 256)
	setDefault(&c.MaxQueueMessages, 100_000)
	setDefault(&c.MaxQueueOctets, 256<<20)
	setDefault(&c.MaxOctets, 1<<30)
	if c.Properties == nil {
		c.Properties = map[string]any{"product": "lsmtpd devbroker"}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate says what of c, its defaults filled in, cannot work.
func (c Config) validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("devbroker: "+format, args...))
		}
	}
	need(c.MaxFrameSize >= frames.MinFrameSize, "MaxFrameSize is %d, need at least %d octets", c.MaxFrameSize, frames.MinFrameSize)
	need(c.MaxConnections > 0, "MaxConnections is %d, need at least 1", c.MaxConnections)
	need(c.MaxSessions >= 1 && c.MaxSessions <= 65536, "MaxSessions is %d, need 1 to 65536", c.MaxSessions)
	need(c.MaxLinks >= 2 && c.MaxLinks <= 65536, "MaxLinks is %d, need 2 to 65536", c.MaxLinks)
	need(c.MaxQueues > 0, "MaxQueues is %d, need at least 1", c.MaxQueues)
	need(c.MaxQueueMessages > 0, "MaxQueueMessages is %d, need at least 1", c.MaxQueueMessages)
	need(c.MaxQueueOctets > 0, "MaxQueueOctets is %d, need at least 1", c.MaxQueueOctets)
	need(c.MaxOctets > 0, "MaxOctets is %d, need at least 1", c.MaxOctets)
	need(c.LinkCredit <= 1<<30, "LinkCredit is %d, need at most %d", c.LinkCredit, 1<<30)
	need(c.SessionWindow <= 1<<30, "SessionWindow is %d, need at most %d", c.SessionWindow, 1<<30)
	need(c.Username != "" || c.Password == "", "a Password needs a Username")
	if _, err := c.open().Encode(); err != nil {
		errs = append(errs, fmt.Errorf("devbroker: encode Properties: %w", err))
	}
	return errors.Join(errs...)
}

// open is the open frame of every connection.
func (c Config) open() *openFrame {
	o := &openFrame{
		ContainerID:  c.ContainerID,
		MaxFrameSize: c.MaxFrameSize,
		ChannelMax:   uint16(c.MaxSessions - 1),
		Properties:   make(map[types.Symbol]any, len(c.Properties)),
	}
	if c.IdleTimeout > 0 {
		o.IdleTimeOut = max(1, uint32(min((c.IdleTimeout/2).Milliseconds(), 1<<31)))
	}
	for k, v := range c.Properties {
		o.Properties[types.Symbol(k)] = v
	}
	return o
}
