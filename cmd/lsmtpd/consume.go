package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/Azure/go-amqp"

	"lsmtpd/bridge/publish"
	"lsmtpd/schema"
)

const (
	// connectTimeout bounds the set-up of a consumer's connection and link.
	connectTimeout = 30 * time.Second
	closeTimeout   = 2 * time.Second
	// maxCredit is how many messages a consumer lets the broker send ahead.
	maxCredit = 10
)

// consumer receives published messages from an address.
type consumer struct {
	conn     *amqp.Conn
	receiver *amqp.Receiver
}

// consume attaches to the configured address. Where only n messages are wanted, the broker sends no more of them ahead; 0 means no end.
func (s *settings) consume(ctx context.Context, n int, log *slog.Logger) (*consumer, error) {
	cfg, err := s.publishConfig(log)
	if err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := publish.Dial(ctx, cfg)
	if err != nil {
		return nil, remedied(err, publish.Remedy(err))
	}
	credit := int32(maxCredit)
	if n > 0 && n < maxCredit {
		credit = int32(n)
	}
	session, err := conn.NewSession(ctx, nil)
	if err == nil {
		var receiver *amqp.Receiver
		o := publish.ReceiverOptions(cfg, conn)
		o.Credit = credit
		if receiver, err = session.NewReceiver(ctx, s.broker.address, o); err == nil {
			return &consumer{conn, receiver}, nil
		}
	}
	_ = conn.Close() // what counts is why the link was refused
	return nil, remedied(fmt.Errorf("receive from %q: %w", s.broker.address, err), publish.Remedy(err))
}

// next waits for a message. One that is not lsmtpd's is given back to the broker, for others, with an error.
func (c *consumer) next(ctx context.Context) (*schema.Message, *amqp.Message, error) {
	raw, err := c.receiver.Receive(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	var body []byte
	for _, section := range raw.Data {
		body = append(body, section...)
	}
	m, err := schema.Decode(body)
	if err != nil {
		back := c.receiver.ModifyMessage(ctx, raw, &amqp.ModifyMessageOptions{UndeliverableHere: true})
		return nil, raw, errors.Join(errForeign, err, back)
	}
	return m, raw, nil
}

// errForeign reports a message that lsmtpd did not publish.
var errForeign = errors.New("not a message of lsmtpd, left in the queue")

// accept tells the broker that the message is dealt with.
func (c *consumer) accept(ctx context.Context, raw *amqp.Message) error {
	return c.receiver.AcceptMessage(ctx, raw)
}

func (c *consumer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	// Messages that were sent ahead go back to the queue when the link is gone, however it goes.
	_ = c.receiver.Close(ctx)
	_ = c.conn.Close()
}

// remedied is err with what can be done about it.
func remedied(err error, remedy string) error {
	if err == nil || remedy == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, remedy)
}
