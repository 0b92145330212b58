package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// Consumer is rhea taking messages from a queue as they come, until Finish.
type Consumer struct {
	broker *AMQPBroker
	queue  string
	proc   *Process
}

// ConsumeRhea begins to take everything out of a queue with rhea, a JavaScript client. It ends with the test, or with the
// broker.
func ConsumeRhea(t testing.TB, b *AMQPBroker, queue string) *Consumer {
	t.Helper()
	modules, err := installRhea(context.Background())
	if err != nil {
		unavailable(t, "rhea", err)
	}
	host, port, user, password, err := b.credentials()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	proc, err := start(Command{
		Path: "node", Args: []string{script(t, "receive.js"), host, port, user, password, b.Address(queue), b.Capability, "0", fence},
		Env: []string{"NODE_PATH=" + modules},
	}, filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.Kill)
	return &Consumer{broker: b, queue: queue, proc: proc}
}

// Finish sends a message of the test bed's own behind the rest and returns everything that came before it, in order.
func (c *Consumer) Finish(t testing.TB) []Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*clientTimeout)
	defer cancel()
	subject := fence
	for {
		// A queue that is full refuses it until the broker has noted what was taken.
		err := c.broker.send(ctx, c.queue, &amqp.Message{
			Header: &amqp.MessageHeader{Durable: true}, Properties: &amqp.MessageProperties{Subject: &subject}, Data: [][]byte{nil}})
		if err == nil {
			break
		}
		select {
		case <-time.After(probeInterval):
		case <-ctx.Done():
			t.Fatalf("end the draining of %s on %s: %v", c.queue, c.broker.name, err)
		}
	}
	if code := c.proc.ExitCode(t, 4*clientTimeout); code != 0 {
		t.Fatalf("rhea, draining %s on %s: exit code %d: %s", c.queue, c.broker.name, code, tail(c.proc.Stderr(), 2048))
	}
	var got []Received
	for line := range strings.Lines(c.proc.Stdout()) {
		m, err := readReceived(line)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	return got
}

// DrainRhea takes everything out of a queue with rhea, however much that is, and returns it in order.
func DrainRhea(t testing.TB, b *AMQPBroker, queue string) []Received {
	t.Helper()
	return ConsumeRhea(t, b, queue).Finish(t)
}

// readReceived reads a line that a receiver has printed.
func readReceived(line string) (m Received, err error) {
	if err = json.Unmarshal([]byte(line), &m); err != nil {
		err = fmt.Errorf("read the output of a receiver: %w: %.200s", err, line)
	}
	return m, err
}
