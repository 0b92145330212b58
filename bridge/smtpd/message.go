package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
)

// message is a body as it arrives, by DATA or BDAT. Its reader returns io.EOF at the end of data only.
type message interface {
	io.Reader
	// await waits for the first octets, so that a message holds nothing before. Read returns its error as well.
	await() error
	// whole reports whether the end of data was read.
	whole() bool
	// drained begins a new life of a reader whose message was refused: what still arrives is read, whatever it is.
	drained()
}

// body is a message as the Session reads it: every end but the true one wraps
// bridge.ErrIncomplete, or is the reply to a message that we refuse.
type body struct {
	s *session
	m message
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.m.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		b.s.watch.dataEnded()
		if b.s.conn.buffered() == 0 { // the client waits: nothing is held back while the message is delivered
			_ = b.s.conn.flush() // the next read or write fails, too
		}
		return n, io.EOF
	}
	var refusal *smtp.SMTPError
	if !errors.As(err, &refusal) {
		err = fmt.Errorf("%w: %w", bridge.ErrIncomplete, err)
		b.s.watch.cancel(err)
	}
	return n, err
}

// receive hands a message to the Session, reads what is left of it, and answers. The transaction is over then.
func (s *session) receive(m message) {
	defer s.reset()
	s.transactions++
	id, errs := s.deliver(m)
	end := s.drain(m)
	switch end {
	case stalled:
		s.reply(421, "4.4.2", "the message came too slowly")
		s.close(lingering)
		return
	case lost:
		s.lost(nil)
		return
	case abandoned:
		return
	}
	s.commands, s.errors = 0, 0
	s.answer(id, errs, m.whole())
	if end == overdrawn {
		s.hangUp(unreadRest)
	}
}

// unreadRest is why a connection is closed on which too much of a refused message follows.
const unreadRest = "the rest of the message is not read, make another connection"

// answer replies to a message (RFC 5321 §4.1.1.4).
func (s *session) answer(id string, errs []error, whole bool) {
	for i, err := range errs {
		if err == nil && !whole {
			errs[i] = errInternal // the promise of a 250 needs the whole message, whatever a Session says
		}
	}
	s.server.metrics.countRefusal(errs[0])
	if s.endpoint.Scheme == "lmtp" && whole {
		s.answerEach(id, errs)
		return
	}
	for _, err := range errs {
		if err != nil {
			s.replyError(err)
			return
		}
	}
	s.promise(id)
	s.reply(250, "2.0.0", "queued as "+id)
}

// deliver lets the Session take the message.
func (s *session) deliver(m message) (id string, errs []error) {
	s.conn.inMessage.Store(true)
	defer s.conn.inMessage.Store(false)
	s.conn.pace = pace{}
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	if err := m.await(); err != nil {
		cancel(err)
	}
	s.watch.begin(cancel)
	defer s.watch.end()
	id, errs = s.backend().Deliver(ctx, body{s, m})
	if len(errs) == 0 {
		errs = []error{errInternal}
	}
	return id, errs
}

// answerEach replies for each recipient (RFC 2033 §4.2).
func (s *session) answerEach(id string, errs []error) {
	promised := false
	for i, rcpt := range s.rcpts {
		err := errs[min(i, len(errs)-1)]
		if err != nil {
			s.replyError(forRecipient(rcpt, err))
			continue
		}
		if !promised {
			s.promise(id)
			promised = true
		}
		s.reply(250, "2.0.0", "<"+rcpt+"> queued as "+id)
	}
}

// promise notes that the reply made next promises the delivery of a message.
func (s *session) promise(id string) { s.conn.promises = append(s.conn.promises, id) }

// ending is how a message came to its end on the wire.
type ending int

const (
	complete  ending = iota // it was read, or this chunk of it
	overdrawn               // after a refusal, more of it than is read
	stalled                 // the client has stopped, or nearly so
	lost                    // the client is gone
	abandoned               // another command came in the place of BDAT
)

// drain reads what is left of a message.
func (s *session) drain(m message) ending {
	if m.whole() {
		return complete
	}
	s.conn.inMessage.Store(true) // a shutdown leaves time for it
	defer s.conn.inMessage.Store(false)
	m.drained()
	s.conn.until = after(s.server.cfg.DrainTimeout)
	defer func() { s.conn.until = time.Time{} }()
	scratch := windows.Get().(*[window]byte)
	defer windows.Put(scratch)
	limit := s.server.cfg.DrainBytes
	for drained := int64(0); ; {
		n, err := m.Read(scratch[:])
		drained += int64(n)
		switch {
		case err == io.EOF:
			return complete
		case errors.Is(err, errAbandoned):
			return abandoned
		case errors.Is(err, errDrained):
			s.server.metrics.limit(limitDrainTimeout)
			return overdrawn
		case limit > 0 && drained > limit:
			s.server.metrics.limit(limitDrainBytes)
			return overdrawn
		case errors.Is(err, errTooSlow):
			s.server.metrics.limit(limitMinRate)
			return stalled
		case errors.Is(err, errTimeout):
			s.server.metrics.limit(limitDataTimeout)
			return stalled
		case err != nil:
			return lost
		}
	}
}
