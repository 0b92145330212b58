package bridge

import (
	"context"
	"crypto/tls"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/route"
	"lsmtpd/schema"
)

// Peer is what is known of the client. It does not change: after EHLO,
// STARTTLS, AUTH or XCLIENT there is a new Peer, and a new Session.
type Peer struct {
	Helo            string
	Address         string // IP address in text, "" on a unix socket
	Protocol        string // RFC 3848: SMTP, ESMTP, ESMTPS, ESMTPSA, LMTP …
	TLS             *tls.ConnectionState
	AuthenticatedAs string // "" for none
}

// Session is the mail transactions of one client, one after the other. Its
// methods are called one at a time. Errors are *smtp.SMTPError, ready to be sent.
type Session struct {
	bridge   *Bridge
	ctx      context.Context
	envelope schema.Envelope // without recipients
	rcpts    []recipient
	size     int64 // as MAIL declared it, 0 for not at all
}

// recipient is an accepted forward-path and the destination it goes to.
type recipient struct {
	address schema.Address
	target  route.Target
}

// NewSession begins a session; ctx ends with the connection.
func (b *Bridge) NewSession(ctx context.Context, p Peer) *Session {
	e := schema.Envelope{Helo: valid(p.Helo), ClientAddress: p.Address, Protocol: p.Protocol}
	if p.TLS != nil {
		e.TLS = &schema.TLS{Version: tls.VersionName(p.TLS.Version), CipherSuite: tls.CipherSuiteName(p.TLS.CipherSuite)}
	}
	if p.AuthenticatedAs != "" {
		e.AuthenticatedAs = &p.AuthenticatedAs
	}
	return &Session{bridge: b, ctx: ctx, envelope: e}
}

// Mail begins a transaction (RFC 5321 §3.3). It refuses mail that could not be
// delivered anyway, before a gigabyte of it is sent in vain.
func (s *Session) Mail(from string, o *smtp.MailOptions) error {
	s.Reset()
	if o == nil {
		o = &smtp.MailOptions{}
	}
	if limit := s.bridge.cfg.MaxMessageBytes; limit > 0 && o.Size > limit {
		return replyFor(errMessageTooLarge, &s.bridge.cfg)
	}
	if !s.bridge.spoolTakes(o.Size) {
		if err := s.bridge.ready(s.ctx); err != nil {
			s.bridge.refusedEarly(from, "broker", err)
			return replyFor(errNoBroker, &s.bridge.cfg)
		}
	}
	if err := s.bridge.health.err(); err != nil && s.bridge.needsStore(o.Size) && !s.bridge.spoolTakes(o.Size) {
		s.bridge.refusedEarly(from, "store", err)
		return replyFor(errNoStore, &s.bridge.cfg)
	}
	s.envelope.MailFrom, s.size = schema.Address{Email: valid(from), Parameters: mailParameters(o)}, o.Size
	return nil
}

// Rcpt adds a recipient to the transaction.
func (s *Session) Rcpt(to string, o *smtp.RcptOptions) error {
	if limit := s.bridge.cfg.MaxRecipients; limit > 0 && len(s.rcpts) >= limit {
		return replyFor(errTooManyRecipients, &s.bridge.cfg)
	}
	target, ok := s.bridge.routes.Load().Lookup(to)
	if !ok {
		return replyFor(errNoRoute, &s.bridge.cfg)
	}
	if len(s.rcpts) > 0 && target.Destination != s.rcpts[0].target.Destination && !s.mayDivide() {
		return replyFor(errOtherDestination, &s.bridge.cfg)
	}
	if err := s.bridge.reaches(s.ctx, target.Address, s.size); err != nil {
		s.bridge.refusedEarly(s.envelope.MailFrom.Email, "broker", err)
		return replyFor(errNoBroker, &s.bridge.cfg)
	}
	if err := s.bridge.health.err(); err != nil && target.Raw.Stores(s.bridge.cfg.StoreRaw) && !s.bridge.spoolTakes(s.size) {
		s.bridge.refusedEarly(s.envelope.MailFrom.Email, "store", err)
		return replyFor(errNoStore, &s.bridge.cfg)
	}
	s.rcpts = append(s.rcpts, recipient{address: schema.Address{Email: valid(to), Parameters: rcptParameters(o)}, target: target})
	return nil
}

// mayDivide reports whether the transaction may have several destinations: where there is one reply for all, a spool
// has to keep the deliveries that fail while others do not.
func (s *Session) mayDivide() bool {
	return s.bridge.cfg.Spool != nil || s.answersEach()
}

// answersEach reports whether each recipient gets a reply of its own (RFC 2033 §4.2).
func (s *Session) answersEach() bool { return strings.HasPrefix(s.envelope.Protocol, "LMTP") }

// offloadThreshold is the smallest that a recipient's route asks for.
func (s *Session) offloadThreshold() int64 {
	smallest := s.bridge.cfg.OffloadThreshold
	for i, r := range s.rcpts {
		threshold := r.target.OffloadThreshold
		if threshold == route.DefaultThreshold {
			threshold = s.bridge.cfg.OffloadThreshold
		}
		if i == 0 || threshold < smallest {
			smallest = threshold
		}
	}
	return smallest
}

// storesRaw reports whether a recipient's route asks for the raw message.
func (s *Session) storesRaw() bool {
	return slices.ContainsFunc(s.rcpts, func(r recipient) bool { return r.target.Raw.Stores(s.bridge.cfg.StoreRaw) })
}

// Reset forgets the transaction (RFC 5321 §4.1.1.5).
func (s *Session) Reset() {
	s.envelope.MailFrom = schema.Address{}
	s.rcpts, s.size = nil, 0
}

// ready returns nil when a destination can take mail now. While first attempts still run, it waits for one, as long as
// one of them may take, however many there are.
func (b *Bridge) ready(ctx context.Context) (err error) {
	if err = b.BrokerHealth(); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publish.FirstAttemptWait)
	defer cancel()
	for _, address := range b.routes.Load().Addresses() {
		if err = b.publisher.Ready(ctx, address); err == nil {
			return nil
		}
	}
	return err
}

// needsStore reports whether it is known at MAIL that a message of so many octets has something for the store.
func (b *Bridge) needsStore(octets int64) bool {
	raw, _ := b.routes.Load().StoresRaw(b.cfg.StoreRaw)
	return raw || octets > b.cfg.MaxInlineBytes
}

// reaches returns nil when a message can be taken for an address now, by the broker or the spool: MAIL knows of one
// destination only that it can. Of one that comes of the recipient's domain it is known when there is a message: a link
// for each that a client names would be its to make.
func (b *Bridge) reaches(ctx context.Context, address string, octets int64) error {
	if !slices.Contains(b.routes.Load().Addresses(), address) {
		return nil
	}
	if b.publisher.Health(address) == nil || b.spoolTakes(octets) {
		return nil
	}
	return b.publisher.Ready(ctx, address)
}

// mailParameters are the ESMTP parameters of MAIL by lower-case keyword (RFC 8621 §7), nil for none.
func mailParameters(o *smtp.MailOptions) map[string]*string {
	p := map[string]*string{}
	value := func(keyword, v string) {
		if v != "" {
			v = valid(v)
			p[keyword] = &v
		}
	}
	value("body", string(o.Body))
	value("ret", string(o.Return))
	value("envid", o.EnvelopeID)
	if o.Size > 0 {
		value("size", strconv.FormatInt(o.Size, 10))
	}
	if o.Auth != nil {
		value("auth", *o.Auth)
	}
	if o.UTF8 {
		p["smtputf8"] = nil
	}
	if o.RequireTLS {
		p["requiretls"] = nil
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// rcptParameters are the ESMTP parameters of RCPT by lower-case keyword, nil for none.
func rcptParameters(o *smtp.RcptOptions) map[string]*string {
	if o == nil {
		return nil
	}
	p := map[string]*string{}
	if len(o.Notify) > 0 {
		notify := make([]string, len(o.Notify))
		for i, n := range o.Notify {
			notify[i] = string(n)
		}
		v := strings.Join(notify, ",")
		p["notify"] = &v
	}
	if o.OriginalRecipient != "" {
		v := valid(string(o.OriginalRecipientType) + ";" + o.OriginalRecipient)
		p["orcpt"] = &v
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// valid is s as JSON can carry it: what a client sent need not be UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
