package publish

import (
	"context"
	"slices"
	"time"
)

const (
	// perConnection is how many destinations share a connection: RabbitMQ allows 64 sessions on one.
	perConnection = 48
	// idleTime is how long a destination that nobody keeps is held without a delivery. It is longer than any delivery takes.
	idleTime  = 15 * time.Minute
	idleCheck = time.Minute
)

// Keep makes exactly these addresses destinations whose links are kept attached whether there are deliveries or not:
// opening early means knowing early. Publish opens any other, which is closed when there was no delivery for a while.
func (p *Publisher) Keep(addresses ...string) {
	for _, address := range addresses {
		p.destination(address)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, d := range p.destinations {
		d.kept = slices.Contains(addresses, address)
	}
}

// destination finds the destination of an address, or makes it.
func (p *Publisher) destination(address string) *destination {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.destinations[address]
	if d == nil {
		d = newDestination(address, p.connection())
		p.destinations[address] = d
		if p.ctx != nil {
			p.start(d)
		}
	}
	d.used = time.Now()
	return d
}

// connection finds a connection with room for a destination, or makes one. The caller holds mu.
func (p *Publisher) connection() *connection {
	for _, c := range p.connections {
		if c.destinations < perConnection {
			c.destinations++
			return c
		}
	}
	c := &connection{cfg: p.cfg, destinations: 1}
	p.connections = append(p.connections, c)
	return c
}

// start runs a destination. The caller holds mu.
func (p *Publisher) start(d *destination) {
	ctx, cancel := context.WithCancel(p.ctx)
	d.end = cancel
	p.running.Go(func() {
		defer cancel()
		d.run(ctx)
	})
}

// closeIdle ends destinations that nobody keeps or needs: their addresses come from recipients, of which there is no end.
func (p *Publisher) closeIdle(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, d := range p.destinations {
		if d.kept || now.Sub(d.used) < idleTime {
			continue
		}
		d.end()
		d.conn.destinations--
		delete(p.destinations, address)
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
