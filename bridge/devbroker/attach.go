package devbroker

import (
	"fmt"

	"github.com/absmach/fluxmq/amqp1/performatives"
	"github.com/absmach/fluxmq/amqp1/types"
)

// maxAddress is how long an address may be, in octets.
const maxAddress = 1024

// attach makes our end of a link (part 2 §2.6.3), or does what the script of the address says.
func (s *session) attach(a *performatives.Attach) error {
	if s.links[a.Handle] != nil {
		return &sessionError{newError(performatives.ErrHandleInUse, fmt.Sprintf("handle %d is in use", a.Handle))}
	}
	if int64(a.Handle) >= int64(s.c.b.cfg.MaxLinks) {
		return &connError{newError(performatives.ErrFramingError, fmt.Sprintf("handle %d: handle-max is %d", a.Handle, s.c.b.cfg.MaxLinks-1))}
	}
	b, address := s.c.b, addressOf(a)
	b.logAttachment(s.c, a)
	script := b.scripts[address]
	rule := script.attachRule(a.Role == performatives.RoleSender)
	if rule != nil && rule.before(s, a) {
		return nil
	}
	if err := unsupported(a); err != nil {
		s.refuse(a, err)
		return nil
	}
	q := b.queueFor(address)
	if q == nil {
		s.refuse(a, newError(performatives.ErrResourceLimitExceeded, fmt.Sprintf("more than %d addresses", b.cfg.MaxQueues)))
		return nil
	}
	var e endpoint
	if a.Role == performatives.RoleSender {
		e = s.attachIncoming(a, q, script)
	} else {
		e = s.attachOutgoing(a, q)
	}
	if rule != nil && rule.fault.kind == faultDetach {
		s.sendDetach(e, rule.fault.err)
	}
	return nil
}

// unsupported says what this node has not got.
func unsupported(a *performatives.Attach) *performatives.Error {
	address := addressOf(a)
	switch {
	case a.Role == performatives.RoleSender && (a.Target == nil || a.Target.Dynamic),
		a.Role == performatives.RoleReceiver && (a.Source == nil || a.Source.Dynamic), address == "":
		return newError(performatives.ErrNotImplemented, "a link needs an address: no dynamic node, no anonymous relay, no transactions")
	case len(address) > maxAddress:
		return newError(performatives.ErrInvalidField, fmt.Sprintf("the address has %d octets, at most %d are accepted", len(address), maxAddress))
	case a.Role == performatives.RoleReceiver && a.Source.DistributionMode == "copy":
		return newError(performatives.ErrNotImplemented, "distribution-mode copy (browsing)")
	}
	return nil
}

// answer is the attach frame that answers a, with modes, source and target as asked.
func answer(a *performatives.Attach, maxMessageSize uint64) *performatives.Attach {
	return &performatives.Attach{
		Name: a.Name, Handle: a.Handle, Role: !a.Role,
		SndSettleMode: a.SndSettleMode, RcvSettleMode: a.RcvSettleMode,
		Source: a.Source, Target: a.Target,
		MaxMessageSize: maxMessageSize,
	}
}

// refuse answers an attach as §2.6.3 wants it: an attach without the terminus at our end, then a detach with the error.
func (s *session) refuse(a *performatives.Attach, err *performatives.Error) {
	resp := answer(a, 0)
	if a.Role == performatives.RoleSender {
		resp.Target = nil
	} else {
		resp.Source = nil
	}
	s.c.log.Info("attach refused", "address", addressOf(a), "error", errorText(err))
	s.c.send(s.channel, resp)
	l := &incoming{link: link{s: s, handle: a.Handle}}
	s.links[a.Handle] = l
	s.sendDetach(l, err)
}

func (s *session) attachIncoming(a *performatives.Attach, q *queue, script *Script) endpoint {
	l := &incoming{
		link:          link{s: s, q: q, handle: a.Handle},
		deliveryCount: a.InitialDeliveryCount,
		creditLimit:   a.InitialDeliveryCount,
		second:        a.RcvSettleMode != nil && *a.RcvSettleMode == 1,
	}
	s.links[a.Handle] = l
	if script != nil && script.window >= 0 {
		s.framesLeft = script.window
		s.c.send(s.channel, s.newFlow()) // before the client learns of link credit
	}
	s.c.send(s.channel, answer(a, s.c.b.cfg.MaxMessageSize))
	l.replenish()
	return l
}

func (s *session) attachOutgoing(a *performatives.Attach, q *queue) endpoint {
	resp := answer(a, 0)
	src := *a.Source
	src.DistributionMode, src.Capabilities = "", capabilities(src.Capabilities)
	resp.Source = &src
	l := &outgoing{
		link:       link{s: s, q: q, handle: a.Handle},
		presettled: a.SndSettleMode != nil && *a.SndSettleMode == 1,
		largest:    a.MaxMessageSize,
	}
	s.links[a.Handle] = l
	s.c.senders = append(s.c.senders, l)
	q.receivers[l] = struct{}{}
	s.c.send(s.channel, resp)
	return l
}

// capabilities keeps of those asked for what this node has: every address is a queue.
func capabilities(asked []types.Symbol) []types.Symbol {
	if performatives.HasCapability(asked, performatives.CapQueue) {
		return []types.Symbol{performatives.CapQueue}
	}
	return nil
}
