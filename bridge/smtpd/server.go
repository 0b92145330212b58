package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
)

// maxLineLength bounds a command. go-smtp has the same limit for lines of DATA,
// so it lies far above RFC 5321's 512 octets.
const maxLineLength = 1 << 20

// forcedEnd bounds the wait for sessions whose connection was closed.
const forcedEnd = 10 * time.Second

// Server receives mail on all its endpoints.
type Server struct {
	cfg       Config
	bridge    *bridge.Bridge
	set       *connections
	listeners []net.Listener // as the endpoints are
	draining  atomic.Bool
	force     context.Context // ends when transactions must end, too
	running   sync.WaitGroup  // transactions
}

// Listen opens all endpoints and returns a Server that accepts on them once Run
// is called. Its errors name the endpoint and the setting.
func Listen(cfg Config, b *bridge.Bridge) (*Server, error) {
	s := &Server{cfg: cfg, bridge: b, set: newConnections(&cfg)}
	for _, e := range cfg.Listen {
		if e.Scheme == "smtps" && cfg.TLS == nil {
			return nil, errors.Join(fmt.Errorf("smtp.listen: %s: %w", e, errNoCertificate), s.closeListeners())
		}
		ln, err := listen(e)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("smtp.listen: cannot listen on %s: %w; free the %s or choose another", e, err, map[string]string{"tcp": "port", "unix": "socket"}[e.Network]), s.closeListeners())
		}
		s.listeners = append(s.listeners, ln)
	}
	return s, nil
}

// listen opens one endpoint. The socket file of a process that is gone is
// replaced; one that somebody answers on is in use.
func listen(e Endpoint) (net.Listener, error) {
	ln, err := net.Listen(e.Network, e.Address)
	if e.Network != "unix" || !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	if nc, dialErr := net.DialTimeout(e.Network, e.Address, time.Second); dialErr == nil {
		return nil, errors.Join(err, nc.Close())
	} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(e.Address); err != nil {
		return nil, err
	}
	return net.Listen(e.Network, e.Address)
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
	var endTransactions context.CancelFunc
	s.force, endTransactions = context.WithCancel(context.WithoutCancel(ctx))
	defer endTransactions()

	failed := make(chan error, len(s.listeners))
	var accepting sync.WaitGroup
	for i, e := range s.cfg.Listen {
		accepting.Go(func() { failed <- s.serve(e, s.listeners[i]) })
		s.cfg.Logger.Info("listening", "endpoint", e.Scheme+"://"+s.listeners[i].Addr().String())
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("accept: %w", err)
	}
	s.draining.Store(true)
	closeErr := s.closeListeners()
	accepting.Wait()
	s.drain(force)
	endTransactions()
	s.end()
	return errors.Join(err, closeErr)
}

// serve accepts on one listener until it is closed.
func (s *Server) serve(e Endpoint, ln net.Listener) error {
	ln = &listener{ln, s.set}
	if e.Scheme == "smtps" {
		ln = tls.NewListener(ln, s.cfg.TLS)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return s.newSession(c, e.Scheme), nil }))
	srv.Domain = s.cfg.Hostname
	srv.LMTP = e.Scheme == "lmtp"
	srv.MaxRecipients = s.cfg.MaxRecipients
	srv.MaxLineLength = maxLineLength
	srv.EnableSMTPUTF8 = true
	srv.EnableBINARYMIME = true
	srv.ErrorLog = errorLog{s.cfg.Logger}
	if s.cfg.MaxMessageBytes > 0 {
		// QUIRK: in DATA, go-smtp refuses a message of exactly its limit. The bridge holds the true one.
		srv.MaxMessageBytes = s.cfg.MaxMessageBytes + 1
	}
	if e.Scheme == "smtp" {
		srv.TLSConfig = s.cfg.TLS
	}
	return srv.Serve(ln)
}

// drain waits for the running transactions, and ends sessions that have none.
func (s *Server) drain(force context.Context) {
	patience, cancel := context.WithTimeout(force, s.cfg.ShutdownTimeout)
	defer cancel()
	s.set.each((*conn).expire)
	if !s.set.waitEmpty(patience.Done()) {
		s.cfg.Logger.Warn("shutdown: transactions are cut short")
	}
}

// end closes what is still open, and waits for the transactions to clean up.
func (s *Server) end() {
	s.set.each(func(c *conn) { _ = c.Close() })
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

// errorLog takes go-smtp's complaints, which concern single connections.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, v ...any) {
	l.log.Debug("smtp", "detail", fmt.Sprintf(format, v...))
}
func (l errorLog) Println(v ...any) { l.log.Debug("smtp", "detail", fmt.Sprint(v...)) }
