package devbroker

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/Azure/go-amqp"
)

func TestSendThenReceive(t *testing.T) {
	b, url := Start(t, Config{})
	s := sender(t, url, "in")
	for n := range 5 {
		mustAccept(t, s, numbered(n))
	}
	wantIDs(t, b, "in", "msg-0", "msg-1", "msg-2", "msg-3", "msg-4")

	r := receiver(t, url, "in")
	for n := range 5 {
		m := mustReceive(t, r)
		if got, want := m.Properties.MessageID, fmt.Sprintf("msg-%d", n); got != want {
			t.Errorf("message %d: got id %v, want %v", n, got, want)
		}
		if err := r.AcceptMessage(testContext(t), m); err != nil {
			t.Fatalf("accept: %v", err)
		}
	}
	if err := b.WaitEmpty(testContext(t), "in"); err != nil {
		t.Errorf("wait for the queue to be empty: %v", err)
	}
}

// Frames of the smallest size, and messages of many frames, both ways.
func TestManyFrames(t *testing.T) {
	for _, tc := range []struct {
		name           string
		broker, client uint32
		octets         int
	}{
		{"default frames, 12 MiB", 0, 0, 12 << 20},
		{"512 octets to the node", 512, 0, 100_000},
		{"512 octets to the client", 0, 512, 100_000},
		{"one frame to the octet", 0, 0, 65536 - 8 - 40},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, Config{MaxFrameSize: tc.broker})
			s := newSession(t, dial(t, url, &amqp.ConnOptions{MaxFrameSize: tc.client}), nil)
			body := make([]byte, tc.octets)
			rand.Read(body)
			mustAccept(t, newSender(t, s, "in", nil), amqp.NewMessage(body))
			if data, err := b.Messages("in")[0].Data(); err != nil || !bytes.Equal(data, body) {
				t.Errorf("stored: %d octets, %v, want the %d sent", len(data), err, len(body))
			}
			r := newReceiver(t, s, "in", nil)
			for range 2 { // the second time after a release
				m := mustReceive(t, r)
				if got := m.GetData(); !bytes.Equal(got, body) {
					t.Fatalf("received %d octets, want the %d sent", len(got), len(body))
				}
				if err := r.ReleaseMessage(testContext(t), m); err != nil {
					t.Fatalf("release: %v", err)
				}
			}
		})
	}
}

// What was not settled goes back to its place when link, session or connection end.
func TestUnsettledIsRequeued(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(context.Context, *amqp.Conn, *amqp.Session, *amqp.Receiver) error
	}{
		{"link", func(ctx context.Context, _ *amqp.Conn, _ *amqp.Session, r *amqp.Receiver) error { return r.Close(ctx) }},
		{"session", func(ctx context.Context, _ *amqp.Conn, s *amqp.Session, _ *amqp.Receiver) error { return s.Close(ctx) }},
		{"connection", func(_ context.Context, c *amqp.Conn, _ *amqp.Session, _ *amqp.Receiver) error { return c.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, Config{})
			mustAccept(t, sender(t, url, "in"), numbered(1), numbered(2), numbered(3))
			conn := dial(t, url, nil)
			session := newSession(t, conn, nil)
			r := newReceiver(t, session, "in", &amqp.ReceiverOptions{Credit: 2})
			first, second := mustReceive(t, r), mustReceive(t, r)
			if first.Header != nil && first.Header.DeliveryCount != 0 {
				t.Errorf("first delivery: delivery-count %d", first.Header.DeliveryCount)
			}
			if err := r.AcceptMessage(testContext(t), second); err != nil {
				t.Fatalf("accept: %v", err)
			}
			if err := tc.end(testContext(t), conn, session, r); err != nil {
				t.Fatalf("end: %v", err)
			}
			again := receiver(t, url, "in")
			for _, want := range []string{"msg-1", "msg-3"} {
				m := mustReceive(t, again)
				if m.Properties.MessageID != want {
					t.Errorf("got %v, want %v", m.Properties.MessageID, want)
				}
				if want == "msg-1" && (m.Header == nil || m.Header.DeliveryCount != 1) {
					t.Errorf("%s: got header %+v, want delivery-count 1", want, m.Header)
				}
				if err := again.AcceptMessage(testContext(t), m); err != nil {
					t.Fatalf("accept: %v", err)
				}
			}
			if err := b.WaitEmpty(testContext(t), "in"); err != nil {
				t.Errorf("wait for the queue to be empty: %v", err)
			}
		})
	}
}
