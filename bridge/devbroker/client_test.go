package devbroker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// testContext bounds what a test waits for.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, url string, opts *amqp.ConnOptions) *amqp.Conn {
	t.Helper()
	conn, err := amqp.Dial(testContext(t), url, opts)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func newSession(t *testing.T, conn *amqp.Conn, opts *amqp.SessionOptions) *amqp.Session {
	t.Helper()
	s, err := conn.NewSession(testContext(t), opts)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	return s
}

func newSender(t *testing.T, s *amqp.Session, address string, opts *amqp.SenderOptions) *amqp.Sender {
	t.Helper()
	l, err := s.NewSender(testContext(t), address, opts)
	if err != nil {
		t.Fatalf("attach a sender to %q: %v", address, err)
	}
	return l
}

func newReceiver(t *testing.T, s *amqp.Session, address string, opts *amqp.ReceiverOptions) *amqp.Receiver {
	t.Helper()
	l, err := s.NewReceiver(testContext(t), address, opts)
	if err != nil {
		t.Fatalf("attach a receiver to %q: %v", address, err)
	}
	return l
}

// sender dials url and attaches a sender to an address.
func sender(t *testing.T, url, address string) *amqp.Sender {
	t.Helper()
	return newSender(t, newSession(t, dial(t, url, nil), nil), address, nil)
}

// receiver dials url and attaches a receiver to an address.
func receiver(t *testing.T, url, address string) *amqp.Receiver {
	t.Helper()
	return newReceiver(t, newSession(t, dial(t, url, nil), nil), address, nil)
}

// numbered returns a message with the message-id msg-n.
func numbered(n int) *amqp.Message {
	m := amqp.NewMessage([]byte(fmt.Sprintf(`{"n":%d}`, n)))
	m.Properties = &amqp.MessageProperties{MessageID: fmt.Sprintf("msg-%d", n)}
	return m
}

// send sends msg and returns its outcome, or the error that came in its place.
func send(t *testing.T, s *amqp.Sender, msg *amqp.Message) (amqp.DeliveryState, error) {
	t.Helper()
	ctx := testContext(t)
	receipt, err := s.SendWithReceipt(ctx, msg, nil)
	if err != nil {
		return nil, err
	}
	return receipt.Wait(ctx)
}

func mustAccept(t *testing.T, s *amqp.Sender, msgs ...*amqp.Message) {
	t.Helper()
	for _, m := range msgs {
		state, err := send(t, s, m)
		if _, ok := state.(*amqp.StateAccepted); !ok || err != nil {
			t.Fatalf("send: got %#v, %v, want accepted", state, err)
		}
	}
}

func mustReceive(t *testing.T, r *amqp.Receiver) *amqp.Message {
	t.Helper()
	m, err := r.Receive(testContext(t), nil)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return m
}

// remote returns the condition the peer gave, and the kind of thing that ended.
func remote(err error) (kind, condition string) {
	var (
		link    *amqp.LinkError
		session *amqp.SessionError
		conn    *amqp.ConnError
		plain   *amqp.Error
	)
	switch {
	case errors.As(err, &link):
		kind, plain = "link", link.RemoteErr
	case errors.As(err, &session):
		kind, plain = "session", session.RemoteErr
	case errors.As(err, &conn):
		kind, plain = "connection", conn.RemoteErr
	case errors.As(err, &plain):
		kind = "plain"
	}
	if plain != nil {
		condition = string(plain.Condition)
	}
	return kind, condition
}

func wantRemote(t *testing.T, what string, err error, kind, condition string) {
	t.Helper()
	if k, c := remote(err); k != kind || c != condition {
		t.Errorf("%s: got %s error %q (%v), want %s error %q", what, k, c, err, kind, condition)
	}
}

func wantIDs(t *testing.T, b *Broker, address string, want ...string) {
	t.Helper()
	got := []string{}
	for _, m := range b.Messages(address) {
		got = append(got, m.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("queue %q: got %v, want %v", address, got, want)
	}
}
