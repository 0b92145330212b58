package spool

import "sync"

// sharedSync makes concurrent callers share the calls of a function that makes durable all that was done before it
// began: who comes while it runs shares the next call with all others who come until that begins.
type sharedSync struct {
	sync func() error

	turn sync.Mutex // held while sync runs

	mu   sync.Mutex
	next *round // has not begun yet; nil when nobody waits for it
}

// round is one call of the function, err valid once done is closed.
type round struct {
	done chan struct{}
	err  error
}

// do returns after a call of the function that began after do was called.
func (s *sharedSync) do() error {
	s.mu.Lock()
	if r := s.next; r != nil {
		s.mu.Unlock()
		<-r.done
		return r.err
	}
	r := &round{done: make(chan struct{})}
	s.next = r
	s.mu.Unlock()

	s.turn.Lock()
	s.mu.Lock()
	s.next = nil // who comes from now on is too late for this call
	s.mu.Unlock()
	r.err = s.sync()
	s.turn.Unlock()
	close(r.done)
	return r.err
}
