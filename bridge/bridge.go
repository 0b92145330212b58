package bridge

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/route"
	"lsmtpd/bridge/spool"
	"lsmtpd/extract"
	"lsmtpd/objectstore"
)

// Config steers the transaction. Sizes are octets.
type Config struct {
	Hostname string // names this instance in the CloudEvents source
	Address  string // the destination of every recipient, where there is no Routes
	Routes   *route.Table

	MaxMessageBytes int64 // largest message as received, dot-stuffing undone; 0 for no limit
	MaxRecipients   int   // per transaction

	OffloadThreshold int64          // a part larger than this goes to the store
	MaxInlineBytes   int64          // parts kept in the envelope, all together
	Limits           extract.Limits // of the MIME structure and the header
	Memory           int64          // all envelopes being built or sent, at least MinMemory
	Digest           bool           // compute SHA-256 of parts and message
	StoreRaw         bool           // keep the raw message in the store, where a route does not say otherwise

	Bounce          bool          // a delivery refused for good is answered 554, not 451
	SettleTimeout   time.Duration // from the end of data to the reply
	MaxPublishBytes int64         // largest published message, where the link takes no less

	// Spool keeps what the broker cannot settle in time, and what is being done to the store. Nil for none; the caller
	// closes it, after Run.
	Spool         *spool.Spool
	SpoolAlways   bool          // every message goes to the spool as it arrives, and is read and published from there
	SpoolMaxTries int           // failed ones after which a record is set aside; 0 for no limit
	SpoolAfter    time.Duration // how long a delivery waits for a link and credit before it is spooled; 0 for 5 s
}

// publisher is what the transaction needs of publish.Publisher.
type publisher interface {
	Keep(addresses ...string)
	Ready(ctx context.Context, address string) error
	Publish(ctx context.Context, d publish.Delivery) error
	MaxMessageSize(address string) int64
	FansOut(address string) bool
	Health(address string) error
	Refusal(address string) error
}

// Bridge makes sessions. It is safe for concurrent use.
type Bridge struct {
	cfg        Config
	publisher  publisher
	store      objectstore.Store
	health     *storeHealth
	memory     *memory
	metrics    *metrics
	routes     atomic.Pointer[route.Table]
	left       []spool.Intent // by the last owner of the spool
	unresolved *unresolved
	log        *slog.Logger
}

// CheckConfig reports settings that do not go together, by the names of the configuration.
func CheckConfig(cfg Config) error {
	if least := MinMemory(cfg); cfg.Memory < least {
		return fmt.Errorf("message.memory: %d octets are too few for one message at the limits of message.max_* and broker.max_message_bytes; want at least %d, or lower limits", cfg.Memory, least)
	}
	return nil
}

// New returns a Bridge that publishes with p and keeps objects in store. Its
// metrics are registered with reg, its log lines go to log.
func New(cfg Config, p *publish.Publisher, store objectstore.Store, reg prometheus.Registerer, log *slog.Logger) (*Bridge, error) {
	if err := CheckConfig(cfg); err != nil {
		return nil, err
	}
	cfg.SpoolAfter = cmp.Or(cfg.SpoolAfter, defaultSpoolAfter)
	if cfg.Routes == nil {
		cfg.Routes = route.NewTable(nil, cfg.Address, cfg.Hostname)
	}
	b := &Bridge{
		cfg: cfg, publisher: p, store: store,
		health:  newStoreHealth(store, log),
		memory:  newMemory(cfg),
		metrics: newMetrics(reg),
		log:     log,
	}
	b.SetRoutes(cfg.Routes)
	if cfg.Spool != nil {
		b.left = cfg.Spool.Orphans()
	}
	b.unresolved = newUnresolved(b.left)
	return b, nil
}

// SetRoutes puts routes in the place of those in force. Transactions that have begun keep the destinations of the
// recipients they have. It is safe at any time.
func (b *Bridge) SetRoutes(t *route.Table) {
	b.publisher.Keep(t.Addresses()...)
	b.routes.Store(t)
}

// BrokerHealth returns why no destination can take mail at the moment, or nil. It does not wait.
func (b *Bridge) BrokerHealth() (err error) {
	for _, address := range b.routes.Load().Addresses() {
		if err = b.publisher.Health(address); err == nil {
			return nil
		}
	}
	return err
}

// BrokerRefusal returns why the broker has refused to take anything at a destination since it last accepted a
// delivery there, or nil. Mail is tried all the same.
func (b *Bridge) BrokerRefusal() error {
	for _, address := range b.routes.Load().Addresses() {
		if err := b.publisher.Refusal(address); err != nil {
			return err
		}
	}
	return nil
}

// Run watches the store's health, and delivers what is in the spool, until ctx ends.
func (b *Bridge) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { b.replayAll(ctx) })
	wg.Go(func() { b.resolve(ctx) })
	b.health.run(ctx)
	wg.Wait()
}

// SpoolHealth returns why the spool cannot take a message at the moment, or nil, also where there is no spool.
func (b *Bridge) SpoolHealth() error {
	if b.cfg.Spool == nil {
		return nil
	}
	return b.cfg.Spool.Room(0)
}

// StoreHealth returns why the store cannot take objects at the moment, or nil.
func (b *Bridge) StoreHealth() error { return b.health.err() }
