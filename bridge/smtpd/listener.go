package smtpd

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// connections is the set of open connections of a Server, with its limits.
type connections struct {
	max, maxPerIP int
	idle          time.Duration
	log           *slog.Logger

	mu    sync.Mutex
	open  map[*conn]struct{}
	perIP map[string]int
	gone  chan struct{} // closed and replaced whenever a connection ends
}

func newConnections(cfg *Config) *connections {
	return &connections{max: cfg.MaxConnections, maxPerIP: cfg.MaxConnectionsPerIP, idle: cfg.IdleTimeout, log: cfg.Logger,
		open: map[*conn]struct{}{}, perIP: map[string]int{}, gone: make(chan struct{})}
}

// add takes c into the set, or returns the reply that turns it away.
func (s *connections) add(nc net.Conn) (*conn, string) {
	ip := addressOf(nc.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.max > 0 && len(s.open) >= s.max:
		return nil, "421 4.7.0 too many connections, try again later\r\n"
	case s.maxPerIP > 0 && ip != "" && s.perIP[ip] >= s.maxPerIP:
		return nil, "421 4.7.0 too many connections from your address, try again later\r\n"
	}
	c := &conn{Conn: nc, idle: s.idle}
	c.onClose = func() { s.remove(c, ip) }
	s.open[c] = struct{}{}
	s.perIP[ip]++
	return c, ""
}

func (s *connections) remove(c *conn, ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
	close(s.gone)
	s.gone = make(chan struct{})
}

// each calls f for every open connection, without holding the lock.
func (s *connections) each(f func(*conn)) {
	s.mu.Lock()
	open := make([]*conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		f(c)
	}
}

// waitEmpty waits until no connection is open, or until done.
func (s *connections) waitEmpty(done <-chan struct{}) bool {
	for {
		s.mu.Lock()
		n, gone := len(s.open), s.gone
		s.mu.Unlock()
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

// listener accepts connections into the set.
type listener struct {
	net.Listener
	set *connections
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, refusal := l.set.add(nc)
		if refusal == "" {
			return c, nil
		}
		l.set.log.Warn("connection refused", "client", addressOf(nc.RemoteAddr()), "reply", refusal[:len(refusal)-2])
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(nc, refusal) // a courtesy: the client sees the close in any case
		_ = nc.Close()
	}
}

// addressOf is the IP address of a peer in text, "" on a unix socket.
func addressOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return ""
}
