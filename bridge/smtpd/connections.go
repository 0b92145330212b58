package smtpd

import "sync"

// connections is the set of open connections of a Server, with its limits.
type connections struct {
	max, maxPerIP int

	mu    sync.Mutex
	open  map[*session]string // the address counted, "" before it is known and on a unix socket
	perIP map[string]int
	gone  chan struct{} // closed and replaced whenever a connection ends
}

func newConnections(cfg *Config) *connections {
	return &connections{max: cfg.MaxConnections, maxPerIP: cfg.MaxConnectionsPerIP,
		open: map[*session]string{}, perIP: map[string]int{}, gone: make(chan struct{})}
}

// add takes s into the set, and reports whether there is room.
func (c *connections) add(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.max > 0 && len(c.open) >= c.max {
		return false
	}
	c.open[s] = ""
	return true
}

// enter counts s under the address of its client, and reports whether that may have another connection.
func (c *connections) enter(s *session, address string) bool {
	if address == "" {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.maxPerIP > 0 && c.perIP[address] >= c.maxPerIP {
		return false
	}
	c.open[s] = address
	c.perIP[address]++
	return true
}

// remove takes s out of the set.
func (c *connections) remove(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if address := c.open[s]; address != "" {
		if c.perIP[address]--; c.perIP[address] == 0 {
			delete(c.perIP, address)
		}
	}
	delete(c.open, s)
	close(c.gone)
	c.gone = make(chan struct{})
}

// len is the number of open connections.
func (c *connections) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// each calls f for every open connection, without holding the lock.
func (c *connections) each(f func(*session)) {
	c.mu.Lock()
	open := make([]*session, 0, len(c.open))
	for s := range c.open {
		open = append(open, s)
	}
	c.mu.Unlock()
	for _, s := range open {
		f(s)
	}
}

// waitEmpty waits until no connection is open, or until done.
func (c *connections) waitEmpty(done <-chan struct{}) bool {
	for {
		c.mu.Lock()
		n, gone := len(c.open), c.gone
		c.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-gone:
		case <-done:
			return false
		}
	}
}
