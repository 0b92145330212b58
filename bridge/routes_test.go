package bridge_test

import (
	"bytes"
	"errors"
	"testing"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/route"
	"lsmtpd/bridge/spool"
)

// table is two routes, the second with a threshold of its own.
func table(t *testing.T) *route.Table {
	t.Helper()
	var routes []route.Route
	for _, r := range []struct {
		match, address, subject string
		threshold               int64
	}{{"invoices@example.com", address, "invoice", route.DefaultThreshold}, {"*@example.org", "other", "", 5}} {
		p, err := route.ParsePattern(r.match)
		if err != nil {
			t.Fatal(err)
		}
		a, err := route.ParseTemplate(r.address, route.MaxAddress)
		if err != nil {
			t.Fatal(err)
		}
		s, err := route.ParseTemplate(r.subject, route.MaxAddress)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, route.Route{Match: []route.Pattern{p}, Address: a, Subject: s, OffloadThreshold: r.threshold})
	}
	return route.NewTable(routes, "", "mx.example.com")
}

func TestRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		protocol string
		spool    bool
		second   string // the reply to the second recipient, whose destination is another
	}{
		"smtp":            {protocol: "ESMTP", second: "452 4.5.3"},
		"smtp with spool": {protocol: "ESMTP", spool: true, second: "250"},
		"lmtp":            {protocol: "LMTP", second: "250"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, options{bridge: func(cfg *bridge.Config) {
				cfg.Routes = table(t)
				if c.spool {
					cfg.Spool = newSpool(t, spool.Config{})
				}
			}})
			eventually(t, "both links are attached", func() bool { return b.publisher.Health(address) == nil && b.publisher.Health("other") == nil })
			s := b.NewSession(t.Context(), bridge.Peer{Protocol: c.protocol})
			if err := s.Mail("a@example.org", nil); err != nil {
				t.Fatal(err)
			}
			rcpts := 0
			for _, r := range []struct{ to, want string }{
				{"nobody@example.com", "550 5.1.1"}, {"Invoices@example.com", "250"}, {"in@example.org", c.second}, {"postmaster", "250"},
			} {
				got := replyText(t, s.Rcpt(r.to, nil))
				if got != r.want {
					t.Errorf("RCPT TO:<%s>: %s, want %s", r.to, got, r.want)
				}
				if got == "250" {
					rcpts++
				}
			}
			_, errs := s.Deliver(t.Context(), bytes.NewReader(letter(10)))
			for _, err := range errs {
				if got := replyText(t, err); got != "250" {
					t.Errorf("%s, want 250", got)
				}
			}
			first, second := b.published(), len(b.broker.Messages("other"))
			if len(errs) != rcpts || len(first) != 1 || len(first[0].Envelope.RcptTo) != 2 || (second == 1) != (c.second == "250") {
				t.Errorf("%d replies for %d recipients, %d messages to the first address, %d to the second", len(errs), rcpts, len(first), second)
			}
			// The smaller of the thresholds holds for both.
			if got := len(b.objects()) > 0; got != (c.second == "250") {
				t.Errorf("objects %v", b.objects())
			}
		})
	}
}

// TestRefusedBesideAccepted: one reply stands for two deliveries, of which the broker refuses one for good.
func TestRefusedBesideAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		protocol string
		want     [2]string
		failed   int64
	}{
		"smtp": {protocol: "ESMTP", want: [2]string{"250", "250"}, failed: 1},
		"lmtp": {protocol: "LMTP", want: [2]string{"250", "451 4.3.5"}},
	} {
		t.Run(name, func(t *testing.T) {
			sp := newSpool(t, spool.Config{})
			b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Routes, cfg.Spool = table(t), sp }})
			eventually(t, "both links are attached", func() bool { return b.publisher.Health(address) == nil && b.publisher.Health("other") == nil })
			b.broker.Script("other").Delivery(1).IsRejected("amqp:not-allowed", "")
			s := b.NewSession(t.Context(), bridge.Peer{Protocol: c.protocol})
			if err := errors.Join(s.Mail("a@example.org", nil), s.Rcpt("invoices@example.com", nil), s.Rcpt("in@example.org", nil)); err != nil {
				t.Fatal(err)
			}
			_, errs := s.Deliver(t.Context(), bytes.NewReader(letter(10)))
			for i, want := range c.want {
				if got := replyText(t, errs[i]); got != want {
					t.Errorf("recipient %d: %s, want %s", i+1, got, want)
				}
			}
			if st := sp.Stats(); st.Failed != c.failed || st.Waiting != 0 || len(b.objects()) == 0 {
				t.Errorf("%+v, objects %v; want %d set aside, and the objects", st, b.objects(), c.failed)
			}
		})
	}
}

// TestOneDestinationAway: mail for it is refused before it is sent, and other mail flows.
func TestOneDestinationAway(t *testing.T) {
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Routes = table(t) }})
	b.broker.Script("other").SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "deleted")
	b.losesBroker()
	eventually(t, "one link is attached again, the other refused", func() bool {
		return b.publisher.Health(address) == nil && b.publisher.Ready(t.Context(), "other") != nil
	})
	for to, want := range map[string]string{"in@example.org": "451 4.3.2", "invoices@example.com": "250"} {
		s := b.NewSession(t.Context(), bridge.Peer{Protocol: "ESMTP"})
		if err := s.Mail("a@example.org", nil); err != nil {
			t.Fatal(err)
		}
		if got := replyText(t, s.Rcpt(to, nil)); got != want {
			t.Errorf("RCPT TO:<%s>: %s, want %s", to, got, want)
		}
	}
}

// TestNamedDestination: a destination that comes of the recipient's domain is made for a message, not for a command.
func TestNamedDestination(t *testing.T) {
	pattern, err := route.ParsePattern("*@*.example.org")
	if err != nil {
		t.Fatal(err)
	}
	to, err := route.ParseTemplate("to.{rcpt.domain}", route.MaxAddress)
	if err != nil {
		t.Fatal(err)
	}
	routes := route.NewTable([]route.Route{{Match: []route.Pattern{pattern}, Address: to, OffloadThreshold: route.DefaultThreshold}}, address, "mx.example.com")
	b := newBed(t, options{bridge: func(cfg *bridge.Config) { cfg.Routes = routes }})
	eventually(t, "the link for postmaster is attached", func() bool { return b.publisher.Health(address) == nil })
	before := len(b.broker.Attachments())
	s, err := b.session(0, "in@a.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(b.broker.Attachments()); got != before {
		t.Errorf("%d links attached by a command", got-before)
	}
	if _, errs := s.Deliver(t.Context(), bytes.NewReader(letter(10))); errs[0] != nil || len(b.broker.Messages("to.a.example.org")) != 1 {
		t.Errorf("%v, %d messages; want it delivered", errs[0], len(b.broker.Messages("to.a.example.org")))
	}
}
