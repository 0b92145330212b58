package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// startTimeout bounds the time from the start of a server to its answer. They take two seconds alone on a machine.
	startTimeout = 90 * time.Second
	stopTimeout  = 30 * time.Second
	// probeInterval is the time between two attempts to use a server that is starting.
	probeInterval = 100 * time.Millisecond
)

// ErrExternal is returned when a test wants to start or end a server that it was given by the environment.
var ErrExternal = errors.New("the server comes from the environment and is not ours to start or end")

// Server is a server process that can be ended and started again, with the same ports and data. Its methods are safe
// for concurrent use; each returns when what it asked for has happened.
type Server struct {
	name    string
	command Command
	log     string                      // file of everything it has written, in all its lives
	dir     string                      // its data
	ready   func(context.Context) error // uses the server as a client would; nil when it answers

	mu   sync.Mutex
	proc *Process // the newest; nil before the first start, and for a server that is not ours
}

// newServer gives a server called name its folder and its log.
func newServer(name string) (*Server, error) {
	dir, err := serverDir(name)
	if err != nil {
		return nil, err
	}
	logs := dir
	if keep := os.Getenv("LSMTPD_TESTBED_LOGS"); keep != "" {
		if logs, err = filepath.Abs(keep); err == nil {
			err = os.MkdirAll(logs, 0o755)
		}
		if err != nil {
			return nil, fmt.Errorf("make the folder LSMTPD_TESTBED_LOGS asks for: %w", err)
		}
	}
	log := filepath.Base(os.Args[0]) + "." + filepath.Base(dir) + ".log"
	return &Server{name: name, dir: dir, log: filepath.Join(logs, log)}, nil
}

// Start starts the server and returns when it answers. Starting a running server only waits for the answer.
func (s *Server) Start() error { return s.start(context.Background()) }

func (s *Server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command.Path == "" {
		return fmt.Errorf("start %s: %w", s.name, ErrExternal)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if s.proc == nil || !s.proc.Running() {
		proc, err := start(s.command, s.log, s.log)
		if err != nil {
			return err
		}
		s.proc = proc
	}
	if err := s.await(ctx); err != nil {
		s.proc.Kill()
		return fmt.Errorf("%s does not answer: %w\nThe log %s ended:\n%s", s.name, err, s.log, tail(s.Log(), 4096))
	}
	return nil
}

// await calls ready until it succeeds. A server that has ended will not answer any more.
func (s *Server) await(ctx context.Context) error {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.proc.Done():
			return fmt.Errorf("the process ended (%v); last: %w", s.proc.state, err)
		case <-ctx.Done():
			return fmt.Errorf("waited in vain; last: %w", err)
		}
	}
}

// Stop ends the server in good order, with SIGTERM.
func (s *Server) Stop() error {
	return s.act("stop", func(p *Process) error { return p.Stop(stopTimeout) })
}

// Kill ends the server with SIGKILL, as a crash would.
func (s *Server) Kill() error {
	return s.act("kill", func(p *Process) error { p.Kill(); return nil })
}

// Pause stops the server's execution with SIGSTOP: its connections stay open and nothing is answered.
func (s *Server) Pause() error {
	return s.act("pause", func(p *Process) error { return p.Signal(syscall.SIGSTOP) })
}

// Resume continues a paused server.
func (s *Server) Resume() error {
	return s.act("resume", func(p *Process) error { return p.Signal(syscall.SIGCONT) })
}

func (s *Server) act(what string, f func(*Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command.Path == "" {
		return fmt.Errorf("%s %s: %w", what, s.name, ErrExternal)
	}
	if s.proc == nil {
		return nil
	}
	return f(s.proc)
}

// External reports whether the server was given by the environment, so that it cannot be started or ended.
func (s *Server) External() bool { return s.command.Path == "" }

// Process returns the newest process of the server; nil for an external one.
func (s *Server) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Pid returns the process id of the newest process of the server, 0 for an external one.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.Pid()
}

// PeakRSS is that of Process, for the newest process of the server.
func (s *Server) PeakRSS() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0, fmt.Errorf("peak memory of %s: %w", s.name, ErrExternal)
	}
	return s.proc.PeakRSS()
}

// Log returns what the server has written so far, in all its lives.
func (s *Server) Log() string {
	if s.External() {
		return ""
	}
	return contents(s.log)
}

// revive starts a shared server again that an earlier test has left stopped or paused.
func (s *Server) revive() error {
	if s.External() {
		return nil
	}
	// A process that has ended cannot be resumed; start looks after it.
	_ = s.Resume()
	return s.Start()
}

// private ends the server with the test, and removes its data.
func (s *Server) private(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s ended:\n%s", s.name, tail(s.Log(), 4096))
		}
		if err := errors.Join(s.Kill(), os.RemoveAll(s.dir)); err != nil {
			t.Errorf("end %s: %v", s.name, err)
		}
	})
}

// answersTCP reports whether something listens on every port of loopback given.
func answersTCP(ctx context.Context, ports ...int) error {
	var dialer net.Dialer
	for _, port := range ports {
		conn, err := dialer.DialContext(ctx, "tcp", loopback(port))
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}
