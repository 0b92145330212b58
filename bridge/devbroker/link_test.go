package devbroker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

func ptr[T any](v T) *T { return &v }

// What a receiver decides about the first of two messages.
func TestReceiverOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		decide func(context.Context, *amqp.Receiver, *amqp.Message) error
		kept   []string
		count  uint32 // of the header, at the second delivery
	}{
		{"accepted", func(ctx context.Context, r *amqp.Receiver, m *amqp.Message) error { return r.AcceptMessage(ctx, m) }, []string{"msg-2"}, 0},
		{"rejected", func(ctx context.Context, r *amqp.Receiver, m *amqp.Message) error {
			return r.RejectMessage(ctx, m, &amqp.Error{Condition: "amqp:decode-error"})
		}, []string{"msg-2"}, 0},
		{"released", func(ctx context.Context, r *amqp.Receiver, m *amqp.Message) error { return r.ReleaseMessage(ctx, m) }, []string{"msg-1", "msg-2"}, 7},
		{"modified, failed", func(ctx context.Context, r *amqp.Receiver, m *amqp.Message) error {
			return r.ModifyMessage(ctx, m, &amqp.ModifyMessageOptions{DeliveryFailed: true})
		}, []string{"msg-1", "msg-2"}, 8},
		{"modified, undeliverable here", func(ctx context.Context, r *amqp.Receiver, m *amqp.Message) error {
			return r.ModifyMessage(ctx, m, &amqp.ModifyMessageOptions{UndeliverableHere: true})
		}, []string{"msg-2"}, 0},
	} {
		for _, mode := range []amqp.ReceiverSettleMode{amqp.ReceiverSettleModeFirst, amqp.ReceiverSettleModeSecond} {
			t.Run(tc.name+", mode "+mode.String(), func(t *testing.T) {
				b, url := Start(t, Config{})
				one := numbered(1)
				one.Header = &amqp.MessageHeader{Durable: true, Priority: 9, TTL: time.Minute, DeliveryCount: 7}
				mustAccept(t, sender(t, url, "in"), one, numbered(2))
				r := newReceiver(t, newSession(t, dial(t, url, nil), nil), "in", &amqp.ReceiverOptions{
					Credit: -1, SettlementMode: mode.Ptr()})
				if err := r.IssueCredit(1); err != nil {
					t.Fatal(err)
				}
				err := tc.decide(testContext(t), r, mustReceive(t, r))
				if rejected := (*amqp.Error)(nil); err != nil && !errors.As(err, &rejected) { // go-amqp gives back what it rejects with
					t.Fatalf("settle: %v", err)
				}
				if _, err := b.waitReady(testContext(t), "in", len(tc.kept)); err != nil {
					t.Fatalf("wait for the queue: %v", err)
				}
				wantIDs(t, b, "in", tc.kept...)
				if err := r.IssueCredit(1); err != nil {
					t.Fatal(err)
				}
				m := mustReceive(t, r)
				if m.Properties.MessageID != tc.kept[0] {
					t.Errorf("next message: got %v, want %v", m.Properties.MessageID, tc.kept[0])
				}
				want := *one.Header
				want.DeliveryCount = tc.count
				if tc.count > 0 && !reflect.DeepEqual(*m.Header, want) {
					t.Errorf("header: got %+v, want %+v", *m.Header, want)
				}
			})
		}
	}
}

// waitReady waits until n messages stand in the queue that no receiver has.
func (b *Broker) waitReady(ctx context.Context, address string, n int) ([]Message, error) {
	err := b.wait(ctx, func() bool { q := b.queues[address]; return q != nil && len(q.ready) == n && len(q.kept) == n })
	return b.Messages(address), err
}

func TestSenderSettlesFirst(t *testing.T) {
	b, url := Start(t, Config{LinkCredit: 2})
	s := newSender(t, newSession(t, dial(t, url, nil), nil), "in", &amqp.SenderOptions{SettlementMode: amqp.SenderSettleModeSettled.Ptr()})
	for n := range 10 { // more than the credit: settled deliveries give it back
		if err := s.Send(testContext(t), numbered(n), nil); err != nil {
			t.Fatalf("send %d: %v", n, err)
		}
	}
	msgs, err := b.WaitMessages(testContext(t), "in", 10)
	if err != nil || !msgs[9].Settled {
		t.Errorf("queue: got %+v, %v, want 10 messages, settled", msgs, err)
	}

	r := newReceiver(t, newSession(t, dial(t, url, nil), nil), "in", &amqp.ReceiverOptions{
		RequestedSenderSettleMode: amqp.SenderSettleModeSettled.Ptr()})
	for n := range 10 {
		if m := mustReceive(t, r); m.Properties.MessageID != fmt.Sprintf("msg-%d", n) {
			t.Errorf("message %d: got %v", n, m.Properties.MessageID)
		}
	}
	if err := b.WaitEmpty(testContext(t), "in"); err != nil {
		t.Errorf("settled deliveries stand in the queue: %v", err)
	}
}

// rcv-settle-mode second: the client settles after our outcome, which gives credit back.
func TestReceiverSettlesSecond(t *testing.T) {
	b, url := Start(t, Config{LinkCredit: 1})
	s := newSender(t, newSession(t, dial(t, url, nil), nil), "in", &amqp.SenderOptions{
		RequestedReceiverSettleMode: amqp.ReceiverSettleModeSecond.Ptr()})
	b.Script("in").Delivery(2).IsRejected("amqp:not-allowed", "")
	mustAccept(t, s, numbered(1))
	if state, err := send(t, s, numbered(2)); err != nil || reflect.TypeOf(state) != reflect.TypeFor[*amqp.StateRejected]() {
		t.Errorf("outcome: got %#v, %v, want rejected", state, err)
	}
	mustAccept(t, s, numbered(3))
	wantIDs(t, b, "in", "msg-1", "msg-3")
}

func TestDrain(t *testing.T) {
	b, url := Start(t, Config{})
	for range 2 {
		if ok, err := b.Put("in", dataSection("x")); !ok || err != nil {
			t.Fatalf("put: %v, %v", ok, err)
		}
	}
	c := newRawClient(t, url)
	c.open()
	c.begin(100)
	c.attachReceiver("in", 0)
	drain := performatives.Flow{NextIncomingID: ptr(uint32(0)), IncomingWindow: 100, OutgoingWindow: 100,
		Handle: ptr(uint32(0)), DeliveryCount: ptr(uint32(0)), LinkCredit: ptr(uint32(10)), Drain: true}
	c.write(&drain)
	expect[*transfer](c)
	expect[*transfer](c)
	if f := expect[*performatives.Flow](c); *f.DeliveryCount != 10 || *f.LinkCredit != 0 || !f.Drain {
		t.Errorf("flow after the drain: got delivery-count %d, credit %d, drain %v, want 10, 0, true", *f.DeliveryCount, *f.LinkCredit, f.Drain)
	}
	b.Put("in", dataSection("y"))
	more := performatives.Flow{NextIncomingID: ptr(uint32(2)), IncomingWindow: 100, OutgoingWindow: 100,
		Handle: ptr(uint32(0)), DeliveryCount: ptr(uint32(10)), LinkCredit: ptr(uint32(1)), Echo: true}
	c.write(&more)
	if f := expect[*performatives.Flow](c); *f.LinkCredit != 1 || *f.Available != 1 || f.Drain || f.Echo {
		t.Errorf("echo: got %+v, want credit 1, available 1", f)
	}
	if tr := expect[*transfer](c); *tr.DeliveryID != 2 {
		t.Errorf("third transfer: got delivery-id %d, want 2", *tr.DeliveryID)
	}

	// go-amqp drains with a link-credit of 0.
	r := newReceiver(t, newSession(t, dial(t, url, nil), nil), "other", &amqp.ReceiverOptions{Credit: -1})
	s := sender(t, url, "other")
	for range 2 {
		if err := r.IssueCredit(10); err != nil {
			t.Fatal(err)
		}
		mustAccept(t, s, numbered(1))
		if err := r.AcceptMessage(testContext(t), mustReceive(t, r)); err != nil {
			t.Fatalf("accept: %v", err)
		}
		if err := r.DrainCredit(testContext(t), nil); err != nil {
			t.Fatalf("drain: %v", err)
		}
	}
}

func TestFullQueueRejects(t *testing.T) {
	octets, err := numbered(1).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		cfg  Config
	}{
		{"messages", Config{MaxQueueMessages: 2}},
		{"octets", Config{MaxQueueOctets: 3*int64(len(octets)) - 1}},
		{"octets of all queues", Config{MaxOctets: 3*int64(len(octets)) - 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, tc.cfg)
			s := sender(t, url, "in")
			mustAccept(t, s, numbered(1), numbered(2))
			state, err := send(t, s, numbered(3))
			rejected, ok := state.(*amqp.StateRejected)
			if !ok || rejected.Error == nil || rejected.Error.Condition != "amqp:resource-limit-exceeded" {
				t.Fatalf("third message: got %#v, %v, want it rejected with amqp:resource-limit-exceeded", state, err)
			}
			b.Purge("in")
			mustAccept(t, s, numbered(4))
			wantIDs(t, b, "in", "msg-4")
			if b.Purge("in"); b.octets != 0 {
				t.Errorf("octets after the purge: got %d, want 0", b.octets)
			}
		})
	}
}

func TestTooManyAddresses(t *testing.T) {
	_, url := Start(t, Config{MaxQueues: 1})
	session := newSession(t, dial(t, url, nil), nil)
	newSender(t, session, "one", nil)
	_, err := session.NewSender(testContext(t), "two", nil)
	wantRemote(t, "attach", err, "plain", "amqp:resource-limit-exceeded")
	newReceiver(t, session, "one", nil)
}

func TestUnsupportedLinks(t *testing.T) {
	_, url := Start(t, Config{})
	session := newSession(t, dial(t, url, nil), nil)
	_, err := session.NewSender(testContext(t), "", nil)
	wantRemote(t, "anonymous terminus", err, "plain", "amqp:not-implemented")
	_, err = session.NewSender(testContext(t), "", &amqp.SenderOptions{DynamicAddress: true})
	wantRemote(t, "dynamic target", err, "plain", "amqp:not-implemented")
	_, err = session.NewReceiver(testContext(t), "", &amqp.ReceiverOptions{DynamicAddress: true})
	wantRemote(t, "dynamic source", err, "plain", "amqp:not-implemented")
	_, err = session.NewSender(testContext(t), string(make([]byte, maxAddress+1)), nil)
	wantRemote(t, "long address", err, "plain", "amqp:invalid-field")
}

func TestMaxMessageSizeIsAnnounced(t *testing.T) {
	b, url := Start(t, Config{MaxMessageSize: 1000})
	s := sender(t, url, "in")
	if got := s.MaxMessageSize(); got != 1000 {
		t.Errorf("max-message-size: got %d, want 1000", got)
	}
	_, err := send(t, s, amqp.NewMessage(make([]byte, 1000)))
	wantRemote(t, "a larger message", err, "plain", "amqp:link:message-size-exceeded")
	mustAccept(t, s, amqp.NewMessage(make([]byte, 900)))

	// A receiver that takes less than the next message is detached, and the message stays.
	small := newReceiver(t, newSession(t, dial(t, url, nil), nil), "in", &amqp.ReceiverOptions{MaxMessageSize: 100})
	_, err = small.Receive(testContext(t), nil)
	wantRemote(t, "a small receiver", err, "link", "amqp:link:message-size-exceeded")
	if m := b.Messages("in"); len(m) != 1 || m[0].Acquired {
		t.Errorf("queue: got %+v, want the message, not acquired", m)
	}
}

// A receiver with credit that does not read holds up nobody but itself.
func TestSlowReceiver(t *testing.T) {
	b, url := Start(t, Config{})
	stuck := newRawClient(t, url)
	stuck.open()
	stuck.begin(1 << 20)
	stuck.attachReceiver("big", 1000) // and reads nothing from here on

	s := sender(t, url, "big")
	body := make([]byte, 1<<20)
	rand.Read(body)
	for range 20 { // more than the socket buffers hold
		mustAccept(t, s, amqp.NewMessage(body))
	}
	mustAccept(t, sender(t, url, "in"), numbered(1))
	if m := mustReceive(t, receiver(t, url, "in")); m.Properties.MessageID != "msg-1" {
		t.Errorf("got %v, want msg-1", m.Properties.MessageID)
	}
	r := receiver(t, url, "big")
	m := mustReceive(t, r)
	if len(m.GetData()) != len(body) {
		t.Errorf("got %d octets, want %d", len(m.GetData()), len(body))
	}
	if err := r.AcceptMessage(testContext(t), m); err != nil {
		t.Fatal(err)
	}
	stuck.nc.Close() // what it had goes back, and comes to the other receiver
	for range 19 {
		if err := r.AcceptMessage(testContext(t), mustReceive(t, r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.WaitEmpty(testContext(t), "big"); err != nil {
		t.Errorf("wait for the queue to be empty: %v", err)
	}
}

func TestCompetingReceivers(t *testing.T) {
	b, url := Start(t, Config{})
	var got [2]*amqp.Receiver
	for i := range got {
		got[i] = newReceiver(t, newSession(t, dial(t, url, nil), nil), "in", &amqp.ReceiverOptions{Credit: 3})
	}
	s := sender(t, url, "in")
	for n := range 6 {
		mustAccept(t, s, numbered(n))
	}
	seen := map[any]bool{}
	for _, r := range got { // three each: neither has credit for more
		for range 3 {
			seen[mustReceive(t, r).Properties.MessageID] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("got %v, want six different messages", seen)
	}
	for _, m := range b.Messages("in") {
		if !m.Acquired {
			t.Errorf("%s is not acquired", m.ID)
		}
	}
}

func TestPut(t *testing.T) {
	b, url := Start(t, Config{MaxQueueMessages: 1})
	octets, err := numbered(1).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := b.Put("in", octets); !ok || err != nil {
		t.Fatalf("put: got %v, %v, want true", ok, err)
	}
	if ok, err := b.Put("in", octets); ok || err != nil {
		t.Errorf("put into a full queue: got %v, %v, want false", ok, err)
	}
	if _, err := b.Put("other", []byte("no message")); !errors.Is(err, errMalformed) {
		t.Errorf("put what is no message: got %v, want %v", err, errMalformed)
	}
	if m := mustReceive(t, receiver(t, url, "in")); m.Properties.MessageID != "msg-1" {
		t.Errorf("got %v, want msg-1", m.Properties.MessageID)
	}
}

// Every section comes out as it went in.
func TestMessageStaysOctetExact(t *testing.T) {
	b, url := Start(t, Config{})
	m := &amqp.Message{
		Header:                &amqp.MessageHeader{Durable: true, Priority: 5},
		DeliveryAnnotations:   amqp.Annotations{"x-opt-d": "d"},
		Annotations:           amqp.Annotations{"x-opt-partition-key": "k", "x-opt-list": []any{int32(1), "two", nil}},
		Properties:            &amqp.MessageProperties{MessageID: amqp.UUID{1, 2, 3}, UserID: []byte("u"), GroupID: ptr("g"), GroupSequence: ptr(uint32(3)), CreationTime: ptr(time.UnixMilli(1_700_000_000_123).UTC())},
		ApplicationProperties: map[string]any{"cloudEvents_id": "1", "size": int64(5), "hasAttachment": true, "none": nil},
		Data:                  [][]byte{[]byte("one\x00\xff"), {}, []byte("three")},
		Footer:                amqp.Annotations{"x-opt-f": "f"},
	}
	want, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	mustAccept(t, sender(t, url, "in"), m)
	got := b.Messages("in")[0]
	var sent amqp.Message
	if err := sent.UnmarshalBinary(got.Octets); err != nil || len(got.Octets) != len(want) {
		t.Fatalf("stored: %d octets, %v, want %d", len(got.Octets), err, len(want))
	}
	if got.ID != "01020300-0000-0000-0000-000000000000" {
		t.Errorf("id: got %q", got.ID)
	}
	if data, err := got.Data(); err != nil || string(data) != "one\x00\xffthree" {
		t.Errorf("data: got %q, %v", data, err)
	}
	received := mustReceive(t, receiver(t, url, "in"))
	for _, field := range []string{"Header", "DeliveryAnnotations", "Annotations", "Properties", "ApplicationProperties", "Data", "Footer"} {
		g, w := reflect.ValueOf(received).Elem().FieldByName(field).Interface(), reflect.ValueOf(&sent).Elem().FieldByName(field).Interface()
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s: got %v, want %v", field, g, w)
		}
	}
}
