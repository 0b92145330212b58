package devbroker

import (
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

// The outcome of the second of three deliveries, and what the queue holds then.
func TestScriptedOutcomes(t *testing.T) {
	refused := &amqp.Error{Condition: "amqp:resource-limit-exceeded", Description: "full"}
	for _, tc := range []struct {
		name  string
		rule  func(*DeliveryRule)
		state amqp.DeliveryState
		kept  []string
		told  string
	}{
		{"accepted", func(r *DeliveryRule) { r.IsAccepted() }, &amqp.StateAccepted{}, []string{"msg-1", "msg-2", "msg-3"}, "accepted"},
		{"accepted, not stored", func(r *DeliveryRule) { r.IsAccepted().NotStored() }, &amqp.StateAccepted{}, []string{"msg-1", "msg-3"}, "accepted"},
		{"accepted after a while", func(r *DeliveryRule) { r.IsAccepted().After(time.Millisecond) }, &amqp.StateAccepted{}, []string{"msg-1", "msg-2", "msg-3"}, "accepted"},
		{"rejected", func(r *DeliveryRule) { r.IsRejected("amqp:resource-limit-exceeded", "full") }, &amqp.StateRejected{Error: refused}, []string{"msg-1", "msg-3"}, "rejected"},
		{"rejected without an error", func(r *DeliveryRule) { r.IsRejected("", "") }, &amqp.StateRejected{}, []string{"msg-1", "msg-3"}, "rejected"},
		{"rejected, stored", func(r *DeliveryRule) { r.Stored().IsRejected("", "") }, &amqp.StateRejected{}, []string{"msg-1", "msg-2", "msg-3"}, "rejected"},
		{"released", func(r *DeliveryRule) { r.IsReleased() }, &amqp.StateReleased{}, []string{"msg-1", "msg-3"}, "released"},
		{"modified, failed", func(r *DeliveryRule) { r.IsModified(true, false) }, &amqp.StateModified{DeliveryFailed: true}, []string{"msg-1", "msg-3"}, "modified"},
		{"modified, undeliverable here", func(r *DeliveryRule) { r.IsModified(false, true) }, &amqp.StateModified{UndeliverableHere: true}, []string{"msg-1", "msg-3"}, "modified"},
		{"settled without an outcome", func(r *DeliveryRule) { r.IsSettledWithoutOutcome() }, nil, []string{"msg-1", "msg-2", "msg-3"}, "none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, Config{})
			script := b.Script("in")
			tc.rule(script.Delivery(2))
			s := sender(t, url, "in")
			mustAccept(t, s, numbered(1))
			if state, err := send(t, s, numbered(2)); err != nil || !reflect.DeepEqual(state, tc.state) {
				t.Errorf("outcome: got %#v, %v, want %#v", state, err, tc.state)
			}
			mustAccept(t, s, numbered(3))
			wantIDs(t, b, "in", tc.kept...)
			if d := script.Deliveries(); len(d) != 3 || d[1].ID != "msg-2" || d[1].Outcome != tc.told || d[1].Octets == 0 || d[1].Stored != (len(tc.kept) == 3) {
				t.Errorf("log: got %+v, want msg-2 %s", d, tc.told)
			}
		})
	}
}

// What ends link, session or connection in place of an outcome; the message is in the queue only where the script says so.
func TestScriptedEndInPlaceOfAnOutcome(t *testing.T) {
	for _, tc := range []struct {
		name            string
		rule            func(*DeliveryRule) *DeliveryRule
		kind, condition string
	}{
		{"detach", func(r *DeliveryRule) *DeliveryRule { return r.DetachesLink("amqp:resource-deleted", "gone") }, "link", "amqp:resource-deleted"},
		{"detach without an error", func(r *DeliveryRule) *DeliveryRule { return r.DetachesLink("", "") }, "link", ""},
		{"end", func(r *DeliveryRule) *DeliveryRule { return r.EndsSession("amqp:internal-error", "oops") }, "session", "amqp:internal-error"},
		{"close", func(r *DeliveryRule) *DeliveryRule { return r.ClosesConnection("amqp:connection:forced", "bye") }, "connection", "amqp:connection:forced"},
		{"reset", func(r *DeliveryRule) *DeliveryRule { return r.ResetsConnection() }, "connection", ""},
	} {
		for _, stored := range []bool{false, true} {
			name, kept := tc.name+", not stored", []string{"msg-1"}
			if stored {
				name, kept = tc.name+", stored", []string{"msg-1", "msg-2"}
			}
			t.Run(name, func(t *testing.T) {
				b, url := Start(t, Config{})
				rule := tc.rule(b.Script("in").Delivery(2))
				if stored {
					rule.Stored()
				}
				s := sender(t, url, "in")
				mustAccept(t, s, numbered(1))
				_, err := send(t, s, numbered(2))
				wantRemote(t, "send", err, tc.kind, tc.condition)
				wantIDs(t, b, "in", kept...)
				for _, m := range b.Messages("in") {
					if want := m.ID == "msg-1"; m.Settled != want {
						t.Errorf("%s: settled is %v, want %v", m.ID, m.Settled, want)
					}
				}
				mustAccept(t, sender(t, url, "in"), numbered(3)) // the third delivery, on a new connection
			})
		}
	}
}

func TestResetInTransfer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		rule   func(*DeliveryRule)
		octets int
	}{
		{"after the first frame", func(r *DeliveryRule) { r.ResetsConnectionInTransfer() }, 300_000},
		{"after some octets", func(r *DeliveryRule) { r.ResetsConnectionAfterOctets(200_000) }, 300_000},
		{"a single frame", func(r *DeliveryRule) { r.ResetsConnectionInTransfer() }, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, Config{})
			tc.rule(b.Script("in").Delivery(1))
			body := make([]byte, tc.octets)
			rand.Read(body)
			_, err := send(t, sender(t, url, "in"), amqp.NewMessage(body))
			wantRemote(t, "send", err, "connection", "")
			wantIDs(t, b, "in")
			if d := b.Script("in").Deliveries(); len(d) != 1 || d[0].Octets != 0 || d[0].Stored {
				t.Errorf("log: got %+v, want one delivery that has not arrived", d)
			}
			mustAccept(t, sender(t, url, "in"), amqp.NewMessage(body))
		})
	}
}

// The peer sees a reset, not an end of the stream.
func TestResetIsAReset(t *testing.T) {
	b, url := Start(t, Config{})
	b.Script("in").Delivery(1).Stored().ResetsConnection()
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachSender("in")
	c.write(oneTransfer(0), dataSection("x")...)
	if _, err := c.br.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the transfer: got %v, want %v", err, syscall.ECONNRESET)
	}
	if m := b.Messages("in"); len(m) != 1 || m[0].Settled {
		t.Errorf("queue: got %+v, want one message, not settled", m)
	}
}

func TestSettledWhenTheTestSays(t *testing.T) {
	b, url := Start(t, Config{})
	now := make(chan struct{})
	rule := b.Script("in").Delivery(1).When(now)
	never := b.Script("in").Delivery(3).IsNeverSettled()
	s := sender(t, url, "in")
	ctx := testContext(t)
	held, err := s.SendWithReceipt(ctx, numbered(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-rule.Arrived()
	if m := b.Messages("in"); len(m) != 1 || m[0].Settled {
		t.Errorf("queue: got %+v, want one message, not settled", m)
	}
	mustAccept(t, s, numbered(2))
	close(now)
	if state, err := held.Wait(ctx); err != nil || !reflect.DeepEqual(state, &amqp.StateAccepted{}) {
		t.Errorf("outcome: got %#v, %v, want accepted", state, err)
	}

	unanswered, err := s.SendWithReceipt(ctx, numbered(3), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-never.Arrived()
	mustAccept(t, s, numbered(4))
	done, cancel := context.WithCancel(ctx)
	cancel()
	if state, err := unanswered.Wait(done); !errors.Is(err, context.Canceled) {
		t.Errorf("outcome: got %#v, %v, want none", state, err)
	}
	wantIDs(t, b, "in", "msg-1", "msg-2", "msg-3", "msg-4")
}

func TestScriptedCredit(t *testing.T) {
	b, url := Start(t, Config{})
	script := b.Script("in")
	script.GivesCreditFor(2)
	s := sender(t, url, "in")
	mustAccept(t, s, numbered(1), numbered(2))
	wantNoCredit := func(s *amqp.Sender) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := s.SendWithReceipt(ctx, numbered(0), nil)
		wantRemote(t, "send without credit", err, "plain", "amqp:link:transfer-limit-exceeded")
	}
	wantNoCredit(s)
	script.GivesCredit()
	mustAccept(t, s, numbered(3))

	script.GivesNoCredit()
	wantNoCredit(sender(t, url, "in"))
	script.GivesCredit()
	mustAccept(t, s, numbered(4))
	wantIDs(t, b, "in", "msg-1", "msg-2", "msg-3", "msg-4")
}

// With the window closed and link credit left, go-amqp's send hangs until the window opens.
func TestScriptedWindow(t *testing.T) {
	b, url := Start(t, Config{})
	script := b.Script("in")
	script.ClosesWindowAfter(2)
	s := sender(t, url, "in")
	mustAccept(t, s, numbered(1), numbered(2))
	sent := make(chan error, 1)
	ctx := testContext(t)
	go func() {
		receipt, err := s.SendWithReceipt(ctx, numbered(3), nil)
		if err == nil {
			_, err = receipt.Wait(ctx)
		}
		sent <- err
	}()
	mustAccept(t, sender(t, url, "other"), numbered(1)) // other sessions go on
	select {
	case err := <-sent:
		t.Fatalf("sent through a closed window: %v", err)
	default:
	}
	wantIDs(t, b, "in", "msg-1", "msg-2")
	script.OpensWindow()
	if err := <-sent; err != nil {
		t.Errorf("send through the opened window: %v", err)
	}
	script.ClosesWindow()
	s2 := sender(t, url, "in") // a new session gets no window either
	go func() {
		_, err := s2.SendWithReceipt(ctx, numbered(4), nil)
		sent <- err
	}()
	if err := s2.Close(ctx); err != nil { // what frees such a send
		t.Errorf("close: %v", err)
	}
	if err := <-sent; err == nil {
		t.Errorf("sent through a closed window")
	}
	wantIDs(t, b, "in", "msg-1", "msg-2", "msg-3")
}

// The closed window is told even where no link credit is given.
func TestScriptedWindowWithoutCredit(t *testing.T) {
	b, url := Start(t, Config{})
	b.Script("in").ClosesWindow()
	b.Script("in").GivesNoCredit()
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	if f := attachExpectingFlow(c, "in"); f.IncomingWindow != 0 || f.Handle != nil {
		t.Errorf("flow: got %+v, want incoming-window 0, no link", f)
	}
	b.Script("in").OpensWindow()
	if f := expect[*performatives.Flow](c); f.IncomingWindow != 2048 {
		t.Errorf("flow: got %+v, want incoming-window 2048", f)
	}
}

func TestScriptedAttach(t *testing.T) {
	for _, tc := range []struct {
		name            string
		rule            func(*AttachRule)
		kind, condition string
	}{
		{"refused", func(r *AttachRule) { r.IsRefused("amqp:not-found", "no such queue") }, "plain", "amqp:not-found"},
		{"session ended", func(r *AttachRule) { r.EndsSession("amqp:not-found", "no queue") }, "session", "amqp:not-found"},
		{"connection closed", func(r *AttachRule) { r.ClosesConnection("amqp:unauthorized-access", "no") }, "connection", "amqp:unauthorized-access"},
		{"connection reset", func(r *AttachRule) { r.ResetsConnection() }, "connection", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, Config{})
			tc.rule(b.Script("in").SenderAttach(1))
			tc.rule(b.Script("in").ReceiverAttach(2))
			_, err := newSession(t, dial(t, url, nil), nil).NewSender(testContext(t), "in", nil)
			wantRemote(t, "first sender", err, tc.kind, tc.condition)
			mustAccept(t, sender(t, url, "in"), numbered(1))
			receiver(t, url, "in")
			_, err = newSession(t, dial(t, url, nil), nil).NewReceiver(testContext(t), "in", nil)
			wantRemote(t, "second receiver", err, tc.kind, tc.condition)
		})
	}
}

func TestDetachedRightAfterAttach(t *testing.T) {
	b, url := Start(t, Config{})
	b.Script("in").SenderAttach(Every).DetachesLink("amqp:link:detach-forced", "go away")
	b.Script("in").GivesNoCredit()
	s := sender(t, url, "in")
	_, err := send(t, s, numbered(1))
	wantRemote(t, "send", err, "link", "amqp:link:detach-forced")
}

func TestAttachNeverAnswered(t *testing.T) {
	b, url := Start(t, Config{})
	b.Script("in").SenderAttach(Every).IsNeverAnswered()
	session := newSession(t, dial(t, url, nil), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := session.NewSender(ctx, "in", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("attach: got %v, want no answer", err)
	}
	if a := b.Attachments(); len(a) != 1 || a[0].Address != "in" {
		t.Errorf("attachments: got %+v, want the one to in", a)
	}
}

func TestFaultsAtAnyTime(t *testing.T) {
	for _, tc := range []struct {
		name            string
		fault           func(*Broker)
		kind, condition string
	}{
		{"detach", func(b *Broker) { b.Script("in").DetachesSenders("amqp:resource-deleted", "deleted") }, "link", "amqp:resource-deleted"},
		{"close", func(b *Broker) { b.CloseConnections("amqp:internal-error", "shutdown") }, "connection", "amqp:internal-error"},
		{"reset", func(b *Broker) { b.ResetConnections() }, "connection", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, Config{})
			held := b.Script("in").Delivery(1).IsNeverSettled()
			s := sender(t, url, "in")
			receipt, err := s.SendWithReceipt(testContext(t), numbered(1), nil)
			if err != nil {
				t.Fatal(err)
			}
			<-held.Arrived()
			tc.fault(b)
			_, err = receipt.Wait(testContext(t))
			wantRemote(t, "unsettled delivery", err, tc.kind, tc.condition)
		})
	}
}

func TestConnectionsRefused(t *testing.T) {
	b, url := Start(t, Config{})
	b.RefuseConnections("amqp:connection:forced", "not active")
	conn := dial(t, url, nil) // the open frame comes before the close frame
	_, err := conn.NewSession(testContext(t), nil)
	wantRemote(t, "begin", err, "connection", "amqp:connection:forced")
	b.AcceptConnections()
	mustAccept(t, sender(t, url, "in"), numbered(1))
}

func TestClear(t *testing.T) {
	b, url := Start(t, Config{})
	script := b.Script("in")
	script.Delivery(Every).IsReleased()
	script.GivesCreditFor(1)
	s := sender(t, url, "in")
	if state, err := send(t, s, numbered(1)); err != nil || !reflect.DeepEqual(state, &amqp.StateReleased{}) {
		t.Fatalf("outcome: got %#v, %v, want released", state, err)
	}
	script.Clear()
	script.Delivery(2).IsReleased()
	mustAccept(t, s, numbered(2))
	if state, err := send(t, s, numbered(3)); err != nil || !reflect.DeepEqual(state, &amqp.StateReleased{}) {
		t.Errorf("outcome: got %#v, %v, want released", state, err)
	}
}

// The rule made last holds.
func TestRulesInOrder(t *testing.T) {
	b, url := Start(t, Config{})
	script := b.Script("in")
	script.DeliveriesFrom(2).IsReleased()
	script.Delivery(3).IsAccepted()
	s := sender(t, url, "in")
	for n, want := range []amqp.DeliveryState{&amqp.StateAccepted{}, &amqp.StateReleased{}, &amqp.StateAccepted{}, &amqp.StateReleased{}} {
		if state, err := send(t, s, numbered(n+1)); err != nil || !reflect.DeepEqual(state, want) {
			t.Errorf("delivery %d: got %#v, %v, want %#v", n+1, state, err, want)
		}
	}
	wantIDs(t, b, "in", "msg-1", "msg-3")
}
