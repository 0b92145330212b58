package testbed

import (
	"context"
	"fmt"
	"testing"

	"github.com/Azure/go-amqp"
)

// SmallQueueLimit is how many messages a queue of SmallQueue holds.
const SmallQueueLimit = 10

// queueManager makes and deletes queues by the management that a kind of broker has over AMQP itself, so that it works
// with a broker from the environment too.
type queueManager interface {
	// create makes a durable queue, which rejects what is more than limit messages; 0 is no limit. On Artemis the limit is
	// in the name, see small.
	create(ctx context.Context, b *AMQPBroker, queue string, limit int) error
	// remove deletes a queue with what is in it, also while it is in use.
	remove(ctx context.Context, b *AMQPBroker, queue string) error
	// missing and small are names for the two kinds of queues, made from a random one.
	missing(random string) string
	small(random string) string
}

// SmallQueue makes an empty queue of the test's own that is full after SmallQueueLimit messages. What comes then is
// refused in the broker's own way: Artemis rejects it with amqp:resource-limit-exceeded, or has no credit for a link that
// was attached to the full queue; Broker-J detaches the link with that condition; RabbitMQ rejects it without an error.
func (b *AMQPBroker) SmallQueue(t testing.TB) string {
	t.Helper()
	queue := b.manager.small(randomName())
	b.manage(t, "make the small queue "+queue, func(ctx context.Context) error { return b.manager.create(ctx, b, queue, SmallQueueLimit) })
	return queue
}

// LimitedQueue is SmallQueue with another limit. Artemis has none but that of SmallQueue.
func (b *AMQPBroker) LimitedQueue(t testing.TB, limit int) string {
	t.Helper()
	queue := b.manager.missing(randomName())
	b.manage(t, "make the limited queue "+queue, func(ctx context.Context) error { return b.manager.create(ctx, b, queue, limit) })
	return queue
}

// MissingQueue returns the name of a queue that is not there and, on Artemis too, does not come into being when somebody
// attaches to it. CreateQueue makes it.
func (b *AMQPBroker) MissingQueue(testing.TB) string { return b.manager.missing(randomName()) }

// CreateQueue makes a durable queue that is not there.
func (b *AMQPBroker) CreateQueue(t testing.TB, queue string) {
	t.Helper()
	b.manage(t, "make the queue "+queue, func(ctx context.Context) error { return b.manager.create(ctx, b, queue, 0) })
}

// DeleteQueue deletes a queue with what is in it, also under those who are attached to it.
func (b *AMQPBroker) DeleteQueue(t testing.TB, queue string) {
	t.Helper()
	b.manage(t, "delete the queue "+queue, func(ctx context.Context) error { return b.manager.remove(ctx, b, queue) })
}

func (b *AMQPBroker) manage(t testing.TB, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		t.Fatalf("%s on %s: %v", what, b.name, err)
	}
}

// ask sends a request to a management node and returns the answer, which comes to a queue made for it.
func (b *AMQPBroker) ask(ctx context.Context, node string, request *amqp.Message) (answer *amqp.Message, err error) {
	err = b.withSession(ctx, func(session *amqp.Session) error {
		receiver, err := session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true, Credit: 1})
		if err != nil {
			return fmt.Errorf("make a queue for the answer: %w", err)
		}
		sender, err := session.NewSender(ctx, node, nil)
		if err != nil {
			return fmt.Errorf("attach to %s: %w", node, err)
		}
		replyTo := receiver.Address()
		request.Properties = &amqp.MessageProperties{MessageID: "request", ReplyTo: &replyTo}
		if err := sender.Send(ctx, request, nil); err != nil {
			return fmt.Errorf("send to %s: %w", node, err)
		}
		if answer, err = receiver.Receive(ctx, nil); err != nil {
			return fmt.Errorf("wait for the answer of %s: %w", node, err)
		}
		return receiver.AcceptMessage(ctx, answer)
	})
	return answer, err
}

// artemisQueues manages Artemis: operations of its broker control, with arguments and results in JSON.
type artemisQueues struct{}

func (artemisQueues) missing(random string) string { return "fixed." + random }
func (artemisQueues) small(random string) string   { return "full.fail." + random }

func (m artemisQueues) create(ctx context.Context, b *AMQPBroker, queue string, _ int) error {
	config := fmt.Sprintf(`{"name":%[1]q,"address":%[1]q,"routing-type":"ANYCAST","durable":true,"auto-create-address":true}`, queue)
	return m.do(ctx, b, "createQueue", fmt.Sprintf("[%q]", config))
}

func (m artemisQueues) remove(ctx context.Context, b *AMQPBroker, queue string) error {
	return m.do(ctx, b, "deleteAddress", fmt.Sprintf("[%q, true]", queue)) // by force
}

func (artemisQueues) do(ctx context.Context, b *AMQPBroker, operation, arguments string) error {
	answer, err := b.ask(ctx, "activemq.management", &amqp.Message{
		ApplicationProperties: map[string]any{"_AMQ_ResourceName": "broker", "_AMQ_OperationName": operation},
		Value:                 arguments,
	})
	if err == nil && answer.ApplicationProperties["_AMQ_OperationSucceeded"] != true {
		err = fmt.Errorf("%v", answer.Value)
	}
	return err
}

// brokerJQueues manages Broker-J: the operations of AMQP Management (a working draft) on its objects.
type brokerJQueues struct{}

func (brokerJQueues) missing(random string) string { return random }
func (brokerJQueues) small(random string) string   { return random }

func (m brokerJQueues) create(ctx context.Context, b *AMQPBroker, queue string, limit int) error {
	attributes := object{"name": queue, "durable": true}
	if limit > 0 {
		attributes["overflowPolicy"], attributes["maximumQueueDepthMessages"] = "REJECT", limit
	}
	return m.do(ctx, b, "CREATE", nil, attributes)
}

func (m brokerJQueues) remove(ctx context.Context, b *AMQPBroker, queue string) error {
	return m.do(ctx, b, "DELETE", object{"index": "object-path", "key": queue}, object{})
}

func (brokerJQueues) do(ctx context.Context, b *AMQPBroker, operation string, which, attributes object) error {
	properties := object{"operation": operation, "type": "org.apache.qpid.Queue"}
	for key, value := range which {
		properties[key] = value
	}
	answer, err := b.ask(ctx, "$management", &amqp.Message{ApplicationProperties: properties, Value: attributes})
	if err != nil {
		return err
	}
	if code, ok := answer.ApplicationProperties["statusCode"].(int32); !ok || code < 200 || code > 299 {
		return fmt.Errorf("%v %v", answer.ApplicationProperties["statusCode"], answer.ApplicationProperties["statusDescription"])
	}
	return nil
}
