package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/Azure/go-amqp"
	"github.com/google/uuid"
)

// rabbitMQAddress is the address of a queue in RabbitMQ 4's own format, the second.
func rabbitMQAddress(queue string) string { return "/queues/" + url.PathEscape(queue) }

// rabbitMQQueues manages RabbitMQ. Queues are quorum queues, but limited ones classic: those count exactly.
type rabbitMQQueues struct{}

func (rabbitMQQueues) missing(random string) string { return random }
func (rabbitMQQueues) small(random string) string   { return random }

func (rabbitMQQueues) create(ctx context.Context, b *AMQPBroker, queue string, limit int) error {
	arguments := object{"x-queue-type": "quorum"}
	if limit > 0 {
		arguments = object{"x-queue-type": "classic", "x-max-length": int64(limit), "x-overflow": "reject-publish"}
	}
	body := object{"durable": true, "exclusive": false, "auto_delete": false, "arguments": arguments}
	return b.manageRabbitMQ(ctx, http.MethodPut, rabbitMQAddress(queue), body)
}

func (rabbitMQQueues) remove(ctx context.Context, b *AMQPBroker, queue string) error {
	return b.manageRabbitMQ(ctx, http.MethodDelete, rabbitMQAddress(queue), amqp.Null{})
}

// manageRabbitMQ makes a request of RabbitMQ's management over AMQP, which has the methods and codes of HTTP. The method
// must do no harm when it is done twice.
func (b *AMQPBroker) manageRabbitMQ(ctx context.Context, method, path string, body any) error {
	for {
		err := b.withSession(ctx, func(session *amqp.Session) error {
			return askRabbitMQ(ctx, session, method, path, body)
		})
		// The request has overtaken the link credit for its answer, which the client sends whenever it likes.
		if e, ok := errors.AsType[*amqp.Error](err); ok && e.Condition == amqp.ErrCondPreconditionFailed && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		return nil
	}
}

// askRabbitMQ makes a request on a pair of links to and from the management node.
func askRabbitMQ(ctx context.Context, session *amqp.Session, method, path string, body any) error {
	const node = "/management"
	pair, paired := uuid.NewString(), map[string]any{"paired": true}
	receiver, err := session.NewReceiver(ctx, node, &amqp.ReceiverOptions{
		Name: pair, Properties: paired, TargetAddress: node, RequestedSenderSettleMode: amqp.SenderSettleModeSettled.Ptr(), Credit: 1})
	if err != nil {
		return fmt.Errorf("attach to %s: %w", node, err)
	}
	sender, err := session.NewSender(ctx, node, &amqp.SenderOptions{
		Name: pair, Properties: paired, SourceAddress: node, SettlementMode: amqp.SenderSettleModeSettled.Ptr()})
	if err != nil {
		return fmt.Errorf("attach to %s: %w", node, err)
	}
	replyTo := "$me"
	request := &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: uuid.NewString(), To: &path, Subject: &method, ReplyTo: &replyTo},
		Value:      body,
	}
	if err := sender.Send(ctx, request, nil); err != nil {
		return err
	}
	answer, err := receiver.Receive(ctx, nil)
	if err != nil {
		return fmt.Errorf("wait for the answer: %w", err)
	}
	code := ""
	if answer.Properties != nil && answer.Properties.Subject != nil {
		code = *answer.Properties.Subject
	}
	if n, err := strconv.Atoi(code); err != nil || n < 200 || n > 299 {
		return fmt.Errorf("%s %v", code, answer.Value)
	}
	return nil
}
