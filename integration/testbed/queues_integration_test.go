//go:build integration

package testbed

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// outcomes sends messages on a link of its own, one after the other, and says what became of each: a state, or the
// condition of an error, which ends it.
func outcomes(ctx context.Context, b *AMQPBroker, address string, messages int) (all []string) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	err := b.withSession(ctx, func(session *amqp.Session) error {
		sender, err := session.NewSender(ctx, address, &amqp.SenderOptions{TargetCapabilities: b.capabilities()})
		if err != nil {
			return err
		}
		for range messages {
			receipt, err := sender.SendWithReceipt(ctx, durable("m"), nil)
			if err != nil {
				return err
			}
			state, err := receipt.Wait(ctx)
			if err != nil {
				return err
			}
			all = append(all, stateName(state))
		}
		return nil
	})
	if err != nil {
		all = append(all, condition(err))
	}
	return all
}

func condition(err error) string {
	if e, ok := errors.AsType[*amqp.LinkError](err); ok && e.RemoteErr != nil {
		return "detached: " + string(e.RemoteErr.Condition)
	}
	if e, ok := errors.AsType[*amqp.SessionError](err); ok && e.RemoteErr != nil {
		return "session ended: " + string(e.RemoteErr.Condition)
	}
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return "refused: " + string(e.Condition)
	}
	return err.Error()
}

func stateName(state amqp.DeliveryState) string {
	switch state := state.(type) {
	case *amqp.StateAccepted:
		return "accepted"
	case *amqp.StateReleased:
		return "released"
	case *amqp.StateRejected:
		if state.Error != nil {
			return "rejected: " + string(state.Error.Condition)
		}
		return "rejected"
	default:
		return "another"
	}
}

func TestSmallQueue(t *testing.T) {
	want := map[string]string{
		"artemis": "rejected: amqp:resource-limit-exceeded", "broker-j": "detached: amqp:resource-limit-exceeded", "rabbitmq": "rejected",
	}
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		b := start(t)
		queue := b.SmallQueue(t)
		for range 2 {
			want := append(slices.Repeat([]string{"accepted"}, SmallQueueLimit), want[b.name])
			if got := outcomes(t.Context(), b, b.Address(queue), SmallQueueLimit+1); !slices.Equal(got, want) {
				t.Errorf("outcomes: got %q, want %q", got, want)
			}
			if got := len(b.Drain(t, queue)); got != SmallQueueLimit {
				t.Errorf("in the queue: got %d, want %d", got, SmallQueueLimit)
			}
		}
	})
}

func TestQueueDeletedAndMadeAgain(t *testing.T) {
	want := map[string]string{"artemis": "refused: amqp:not-found", "broker-j": "refused: amqp:not-found", "rabbitmq": "session ended: amqp:not-found"}
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		b := start(t)
		queue := b.MissingQueue(t)
		for range 2 {
			if got := outcomes(t.Context(), b, b.Address(queue), 1); got[0] != want[b.name] {
				t.Errorf("without the queue: got %q, want %q", got, want[b.name])
			}
			b.CreateQueue(t, queue)
			if got := outcomes(t.Context(), b, b.Address(queue), 1); got[0] != "accepted" {
				t.Errorf("with the queue: got %q, want it accepted", got)
			}
			b.DeleteQueue(t, queue)
		}
		b.CreateQueue(t, queue)
		if got := b.Drain(t, queue); len(got) != 0 {
			t.Errorf("in the queue made again: got %v, want nothing", ids(got))
		}
	})
}

// A queue that is deleted while somebody sends to it takes nothing more.
func TestQueueDeletedInUse(t *testing.T) {
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		b := start(t)
		queue := b.MissingQueue(t)
		b.CreateQueue(t, queue)
		ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
		defer cancel()
		err := b.withSession(ctx, func(session *amqp.Session) error {
			sender, err := session.NewSender(ctx, b.Address(queue), &amqp.SenderOptions{TargetCapabilities: b.capabilities()})
			if err != nil {
				return err
			}
			if err := sender.Send(ctx, durable("before"), nil); err != nil {
				return err
			}
			b.DeleteQueue(t, queue)
			receipt, err := sender.SendWithReceipt(ctx, durable("after"), nil)
			if err != nil {
				t.Logf("send to the deleted queue: %v", err)
				return nil
			}
			state, err := receipt.Wait(ctx)
			t.Logf("settled on the deleted queue: %T, %v", state, err)
			if _, ok := state.(*amqp.StateAccepted); ok {
				t.Error("a message to a deleted queue was accepted")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestRabbitMQUnroutable(t *testing.T) {
	b := RabbitMQ(t)
	for address, want := range map[string]string{
		"/exchanges/ex/k": "accepted", "/exchanges/ex/nokey": "released", "/exchanges/missing/k": "session ended: amqp:not-found",
	} {
		if got := outcomes(t.Context(), b, address, 1); got[0] != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
	if got := b.Drain(t, "bound"); len(got) != 1 {
		t.Errorf("in the bound queue: got %v, want one message", ids(got))
	}
}

// While the alarm is on, a message waits; the one that waited arrives when it is off, and a restart clears it.
func TestRabbitMQMemoryAlarm(t *testing.T) {
	b := PrivateRabbitMQ(t)
	queue := b.Queue(t)
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	err := b.withSession(ctx, func(session *amqp.Session) error {
		sender, err := session.NewSender(ctx, b.Address(queue), nil)
		if err != nil {
			return err
		}
		b.MemoryAlarm(t, true)
		settled := make(chan error, 1)
		go func() { settled <- sender.Send(ctx, durable("waits"), nil) }()
		blocked, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		select {
		case err := <-settled:
			t.Errorf("sent while the alarm was on: %v", err)
			return nil
		case <-blocked.Done():
		}
		b.MemoryAlarm(t, false)
		return <-settled
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(b.Drain(t, queue)); len(got) != 1 || got[0] != "waits" {
		t.Errorf("in the queue: got %v, want the one that waited", got)
	}
	b.MemoryAlarm(t, true)
	if err := errors.Join(b.Kill(), b.Start()); err != nil {
		t.Fatal(err)
	}
	b.Send(t, queue, durable("after a restart"))
}
