package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// forcedEnd bounds the wait for sessions whose connection was closed.
	forcedEnd = 10 * time.Second
	// maxAcceptPause is the longest pause after a connection could not be accepted.
	maxAcceptPause = time.Second
	// courtesyTimeout bounds the reply to a client that is turned away.
	courtesyTimeout = time.Second
)

// Server receives mail on all its endpoints.
type Server struct {
	cfg       Config
	backend   Backend
	set       *connections
	metrics   *metrics
	listeners []net.Listener  // as the endpoints are
	ctx       context.Context // ends when transactions must end, too
	running   sync.WaitGroup  // sessions
	draining  chan struct{}   // closed when no new connection is taken
}

// Listen opens all endpoints and returns a Server that accepts on them once Run
// is called, and begins a Session of the backend for each client. Its errors
// name the endpoint and the setting.
func Listen(cfg Config, backend Backend) (*Server, error) {
	s := &Server{cfg: cfg, backend: backend, set: newConnections(&cfg), draining: make(chan struct{})}
	s.metrics = newMetrics(cfg.Registry, s.set)
	for _, e := range cfg.Listen {
		if e.Scheme == "smtps" && cfg.TLS == nil {
			return nil, errors.Join(fmt.Errorf("smtp.listen: %s: %w", e, errNoCertificate), s.closeListeners())
		}
		ln, err := e.listen()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("smtp.listen: cannot listen on %s: %w; free the %s or choose another", e, err, map[string]string{"tcp": "port", "unix": "socket"}[e.Network]), s.closeListeners())
		}
		s.listeners = append(s.listeners, ln)
	}
	return s, nil
}

// Addrs are the addresses listened on, in the order of the endpoints.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, ln := range s.listeners {
		addrs[i] = ln.Addr()
	}
	return addrs
}

// Run accepts mail until ctx ends. Then it takes no new transactions, lets
// running ones finish within ShutdownTimeout, ends what is left, and returns
// when every session has ended. A second end of patience is the caller's: force.
func (s *Server) Run(ctx context.Context, force context.Context) error {
	var endSessions context.CancelFunc
	s.ctx, endSessions = context.WithCancel(context.WithoutCancel(ctx))
	defer endSessions()

	var accepting sync.WaitGroup
	for i, e := range s.cfg.Listen {
		accepting.Go(func() { s.accept(e, s.listeners[i]) })
		s.cfg.Logger.Info("listening", "endpoint", e.Scheme+"://"+s.listeners[i].Addr().String())
	}
	<-ctx.Done()
	close(s.draining)
	err := s.closeListeners()
	accepting.Wait()
	s.drain(force)
	endSessions()
	s.end()
	return err
}

// accept serves the connections of one listener until it is closed.
func (s *Server) accept(e Endpoint, ln net.Listener) {
	pause := time.Millisecond
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = time.Millisecond
			s.serve(e, nc)
		case errors.Is(err, net.ErrClosed):
			return
		default: // no descriptor is free, or the client was gone at once
			s.cfg.Logger.Error("cannot accept a connection", "endpoint", e, "error", err)
			select {
			case <-time.After(pause):
			case <-s.draining:
			}
			pause = min(2*pause, maxAcceptPause)
		}
	}
}

// serve begins a session on a connection, which it owns from now on.
func (s *Server) serve(e Endpoint, nc net.Conn) {
	s.metrics.connections.WithLabelValues(e.Scheme).Inc()
	c := newSession(s, e, nc)
	if !s.set.add(c) {
		s.turnedAway(e, nc, limitConnections, addressOf(nc.RemoteAddr()))
		_ = nc.Close()
		return
	}
	s.running.Go(func() {
		defer s.set.remove(c)
		defer nc.Close()
		c.serve()
	})
}

// turnedAway tells a client that there are too many.
func (s *Server) turnedAway(e Endpoint, nc net.Conn, limit, address string) {
	s.metrics.limit(limit)
	s.cfg.Logger.Warn("connection refused", "client", address, "limit", "smtp."+limit)
	if e.Scheme == "smtps" {
		return // a reply would want a handshake first
	}
	_ = nc.SetWriteDeadline(time.Now().Add(courtesyTimeout))
	_, _ = io.WriteString(nc, "421 4.7.0 too many connections, try again later\r\n") // the client sees the close in any case
}

// drain waits for the running transactions, and ends sessions that have none.
func (s *Server) drain(force context.Context) {
	patience, cancel := context.WithTimeout(force, s.cfg.ShutdownTimeout)
	defer cancel()
	s.set.each(func(c *session) { c.conn.wake() })
	if !s.set.waitEmpty(patience.Done()) {
		s.cfg.Logger.Warn("shutdown: transactions are cut short")
	}
}

// end closes what is still open, and waits for the transactions to clean up.
func (s *Server) end() {
	s.set.each(func(c *session) { _ = c.conn.socket.Close() })
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(forcedEnd):
		s.cfg.Logger.Error("shutdown: transactions did not end in time")
	}
}

// Close closes the listeners of a Server that was never run.
func (s *Server) Close() error { return s.closeListeners() }

func (s *Server) closeListeners() error {
	var errs []error
	for _, ln := range s.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
