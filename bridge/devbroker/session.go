package devbroker

import (
	"fmt"

	"github.com/absmach/fluxmq/amqp1/performatives"
)

// session is one AMQP session (part 2 §2.5). Broker.mu guards it.
type session struct {
	c       *conn
	channel uint16 // the same in both directions
	links   map[uint32]endpoint
	ended   bool // our end frame is sent: all but the peer's is ignored

	// Transfers in, §2.5.6. Transfer ids below inLimit have been permitted; it never falls, so that what was under way
	// when a script closed the window is no violation.
	nextIncoming, inLimit uint32
	framesLeft            int // of a script; -1: no script
	unsettledIn           map[uint32]*inDelivery

	// Transfers out.
	nextOutgoing, remoteWindow uint32
	nextDelivery               uint32
	unsettledOut               map[uint32]*outDelivery
}

// endpoint is our end of a link: *incoming where the client sends, *outgoing where it receives.
type endpoint interface {
	base() *link
	flow(f *performatives.Flow) error
	// drop gives back what the link holds, when it or what it runs over is gone.
	drop()
	// sendFlow tells the state of the link, and with it that of the session.
	sendFlow()
}

// link is what both kinds have in common.
type link struct {
	s        *session
	q        *queue // nil when the attach was refused
	handle   uint32 // the same in both directions
	detached bool   // our detach is sent: all but the peer's is ignored
}

func (l *link) base() *link { return l }

// begin opens the session that the peer asks for.
func (c *conn) begin(channel uint16, p *performatives.Begin) error {
	if len(c.sessions) >= c.b.cfg.MaxSessions || int(channel) >= c.b.cfg.MaxSessions {
		return &connError{newError(performatives.ErrNotAllowed, fmt.Sprintf("begin on channel %d: channel-max is %d", channel, c.b.cfg.MaxSessions-1))}
	}
	s := &session{
		c: c, channel: channel,
		links:        make(map[uint32]endpoint),
		nextIncoming: p.NextOutgoingID,
		inLimit:      p.NextOutgoingID,
		framesLeft:   -1,
		unsettledIn:  make(map[uint32]*inDelivery),
		remoteWindow: p.IncomingWindow,
		unsettledOut: make(map[uint32]*outDelivery),
	}
	c.sessions[channel] = s
	c.send(channel, &performatives.Begin{
		RemoteChannel:  &channel,
		NextOutgoingID: s.nextOutgoing,
		IncomingWindow: s.openWindow(),
		OutgoingWindow: c.b.cfg.SessionWindow,
		HandleMax:      uint32(c.b.cfg.MaxLinks - 1),
	})
	return nil
}

// handle does what a frame on this session asks for. A *sessionError ends the session, a *connError the connection.
func (s *session) handle(perf any, payload []byte) error {
	if p, ok := perf.(*performatives.End); ok {
		if !s.ended {
			s.c.send(s.channel, &performatives.End{})
		}
		if p.Error != nil {
			s.c.log.Info("the client ended a session", "error", errorText(p.Error))
		}
		s.drop()
		delete(s.c.sessions, s.channel)
		return nil
	}
	if s.ended {
		return nil
	}
	switch p := perf.(type) {
	case *performatives.Attach:
		return s.attach(p)
	case *performatives.Detach:
		return s.detach(p)
	case *performatives.Flow:
		return s.flow(p)
	case *transfer:
		return s.transfer(p, payload)
	case *performatives.Disposition:
		s.disposition(p)
		return nil
	}
	return &connError{newError(performatives.ErrNotAllowed, fmt.Sprintf("%T is not allowed on an open connection", perf))}
}

// link returns the endpoint of a handle; it is nil, without an error, when the link is being detached.
func (s *session) link(handle uint32) (endpoint, error) {
	e := s.links[handle]
	if e == nil {
		return nil, &sessionError{newError(performatives.ErrUnattachedHandle, fmt.Sprintf("no link has the handle %d", handle))}
	}
	if e.base().detached {
		return nil, nil
	}
	return e, nil
}

// end ends the session from our side; err may be nil.
func (s *session) end(err *performatives.Error) {
	if s.ended {
		return
	}
	s.drop()
	s.ended = true
	s.c.send(s.channel, &performatives.End{Error: err})
}

// drop gives back what the links of the session hold.
func (s *session) drop() {
	for _, e := range s.links {
		e.drop()
	}
	clear(s.links)
	clear(s.unsettledIn)
}

func (s *session) detach(p *performatives.Detach) error {
	e := s.links[p.Handle]
	if e == nil {
		return &sessionError{newError(performatives.ErrUnattachedHandle, fmt.Sprintf("detach of handle %d, which no link has", p.Handle))}
	}
	delete(s.links, p.Handle)
	if !e.base().detached {
		e.drop()
		s.c.send(s.channel, &performatives.Detach{Handle: p.Handle, Closed: p.Closed})
	}
	return nil
}

// sendDetach detaches a link from our side; err may be nil.
func (s *session) sendDetach(e endpoint, err *performatives.Error) {
	if l := e.base(); !l.detached && !s.ended {
		e.drop()
		l.detached = true
		s.c.send(s.channel, &performatives.Detach{Handle: l.handle, Closed: true, Error: err})
	}
}

// openWindow returns the incoming-window to announce, and permits that many transfers.
func (s *session) openWindow() uint32 {
	window := s.c.b.cfg.SessionWindow
	if s.framesLeft >= 0 {
		window = min(window, uint32(s.framesLeft))
	}
	if limit := s.nextIncoming + window; int32(limit-s.inLimit) > 0 {
		s.inLimit = limit
	}
	return window
}

// newFlow returns a flow frame with the session's state.
func (s *session) newFlow() *performatives.Flow {
	next := s.nextIncoming
	return &performatives.Flow{
		NextIncomingID: &next,
		IncomingWindow: s.openWindow(),
		NextOutgoingID: s.nextOutgoing,
		OutgoingWindow: s.c.b.cfg.SessionWindow,
	}
}

func (s *session) flow(f *performatives.Flow) error {
	underWay := s.nextOutgoing // what the peer did not know of yet; the first transfer had the id 0
	if f.NextIncomingID != nil {
		underWay -= *f.NextIncomingID
	}
	s.remoteWindow = f.IncomingWindow - min(underWay, f.IncomingWindow)
	s.c.wakeWriter()
	if f.Handle == nil {
		if f.Echo {
			s.c.send(s.channel, s.newFlow())
		}
		return nil
	}
	e, err := s.link(*f.Handle)
	if e == nil {
		return err
	}
	if err := e.flow(f); err != nil {
		return err
	}
	if f.Echo && !e.base().detached {
		e.sendFlow()
	}
	return nil
}

func (s *session) transfer(t *transfer, payload []byte) error {
	if int32(s.inLimit-s.nextIncoming) <= 0 {
		return &sessionError{newError(performatives.ErrWindowViolation, "a transfer beyond the incoming-window")}
	}
	s.nextIncoming++
	if s.framesLeft > 0 {
		s.framesLeft--
	}
	e, err := s.link(t.Handle)
	if err != nil {
		return err
	}
	if l, ok := e.(*incoming); ok {
		if err := l.transfer(t, payload); err != nil {
			return err
		}
	} else if e != nil {
		return &sessionError{newError(performatives.ErrNotAllowed, "a transfer on a link that receives")}
	}
	if !s.ended && s.framesLeft < 0 && s.inLimit-s.nextIncoming < s.c.b.cfg.SessionWindow/2+1 {
		s.c.send(s.channel, s.newFlow())
	}
	return nil
}

// disposition settles deliveries of either direction (part 2 §2.7.6).
func (s *session) disposition(d *performatives.Disposition) {
	last := d.First
	if d.Last != nil {
		last = *d.Last
	}
	if d.Role == performatives.RoleSender { // the client has sent them; in mode second it settles after us
		if d.Settled {
			eachID(s.unsettledIn, d.First, last, func(in *inDelivery) { in.forget() })
		}
		return
	}
	eachID(s.unsettledOut, d.First, last, func(out *outDelivery) { out.settle(d.State, d.Settled) })
	if d.State != nil && !d.Settled {
		s.c.send(s.channel, &performatives.Disposition{
			Role: performatives.RoleSender, First: d.First, Last: d.Last, Settled: true, State: d.State,
		})
	}
}

// eachID calls f for the deliveries first to last that are in m. The range comes from the peer and may be anything.
func eachID[D any](m map[uint32]D, first, last uint32, f func(D)) {
	if span := last - first; int64(span) < int64(len(m)) {
		for i := uint32(0); i <= span; i++ {
			if d, ok := m[first+i]; ok {
				f(d)
			}
		}
		return
	}
	for id, d := range m {
		if id-first <= last-first {
			f(d)
		}
	}
}
