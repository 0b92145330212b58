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
	// maxForeign is how many messages of others a consumer passes over. It holds them, unsettled, until it ends.
	maxForeign = 100
)

// consumer receives published messages from an address.
type consumer struct {
	conn     *amqp.Conn
	receiver *amqp.Receiver
	pending  int // messages still to be asked for; negative for no end
	foreign  int // messages of others that are held
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
	session, err := conn.NewSession(ctx, nil)
	if err == nil {
		var receiver *amqp.Receiver
		o := publish.ReceiverOptions(cfg, conn)
		o.Credit = -1 // given message by message, by ask
		if receiver, err = session.NewReceiver(ctx, s.broker.address, o); err == nil {
			c := &consumer{conn: conn, receiver: receiver, pending: n}
			if n == 0 {
				c.pending = -1
			}
			if err = c.ask(maxCredit); err == nil {
				return c, nil
			}
		}
	}
	_ = conn.Close() // what counts is why the link was refused
	return nil, remedied(fmt.Errorf("receive from %q: %w", s.broker.address, err), publish.Remedy(err))
}

// ask lets the broker send most more messages, or as many as are still wanted.
func (c *consumer) ask(most int) error {
	if c.pending >= 0 {
		most = min(most, c.pending)
		c.pending -= most
	}
	if most == 0 {
		return nil
	}
	return c.receiver.IssueCredit(uint32(most))
}

// next waits for a message. One that is not lsmtpd's comes with errForeign. It is not settled: given
// back now it would come again at once, and brokers drop or dead-letter what is undeliverable here.
// It goes back to the queue when the consumer is closed.
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
		if c.foreign++; c.foreign > maxForeign {
			return nil, raw, fmt.Errorf("%d messages that lsmtpd did not publish, left in the queue: does broker.address name the right one?", c.foreign)
		}
		return nil, raw, errors.Join(fmt.Errorf("%w: %w", errForeign, err), c.receiver.IssueCredit(1))
	}
	return m, raw, nil
}

// errForeign reports a message that lsmtpd did not publish.
var errForeign = errors.New("not a message of lsmtpd, left in the queue")

// accept tells the broker that the message is dealt with.
func (c *consumer) accept(ctx context.Context, raw *amqp.Message) error {
	if err := c.receiver.AcceptMessage(ctx, raw); err != nil {
		return err
	}
	return c.ask(1)
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
