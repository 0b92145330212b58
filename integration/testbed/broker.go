package testbed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// clientTimeout bounds every use that the test bed itself makes of a server, except the witnesses.
const clientTimeout = 30 * time.Second

// AMQPBroker is an AMQP 1.0 broker with a durable queue called in. Users are a (password b), who may do everything,
// and ro (password ro), who may not send.
type AMQPBroker struct {
	*Server

	// URL has user and password in it: amqp://a:b@127.0.0.1:PORT. The others are empty for a broker from the
	// environment.
	URL string
	// ReadOnlyURL is URL with the user ro.
	ReadOnlyURL string
	// AnonymousURL takes SASL ANONYMOUS. Artemis accepts it and refuses the session, as it requires a login; on RabbitMQ it
	// is the user a.
	AnonymousURL string
	// TLSURL is for user and password over TLS, with the certificate of Certs.
	TLSURL string
	// ExternalURL is for a client certificate (SASL EXTERNAL). On Artemis and RabbitMQ Certs.Client alone is a user;
	// on Broker-J every certificate of the authority is, and none at all ends the handshake.
	ExternalURL string
	// Certs are those the broker uses; nil for a broker from the environment.
	Certs *Certs

	// Capability is the target (and source) capability that makes an address a queue; empty where it needs none.
	Capability string

	newQueue func() (string, error)
	manager  queueManager
	address  func(queue string) string // nil where it is the name
	erlang   *erlangNode               // of a RabbitMQ that we have started
}

// Address returns the AMQP address of a queue: its name, on RabbitMQ /queues/NAME, percent-encoded.
func (b *AMQPBroker) Address(queue string) string {
	if b.address == nil {
		return queue
	}
	return b.address(queue)
}

// Queue returns the name of an empty, durable queue that no other test of this test binary uses. On Artemis it comes
// into being when somebody attaches to it with Capability; Broker-J has fifty; on RabbitMQ it is a new quorum queue.
func (b *AMQPBroker) Queue(t testing.TB) string {
	t.Helper()
	queue, err := b.newQueue()
	if err != nil {
		t.Fatalf("a queue for %s: %v", t.Name(), err)
	}
	if b.External() {
		b.Drain(t, queue) // of what an earlier run left
	}
	return queue
}

// numberedQueues gives q1 to qLAST, each once.
func numberedQueues(last int64) func() (string, error) {
	var n atomic.Int64
	return func() (string, error) {
		if i := n.Add(1); i <= last {
			return fmt.Sprintf("q%d", i), nil
		}
		return "", fmt.Errorf("all %d queues have been given: take a broker of the test's own", last)
	}
}

// randomQueue gives names that are new also on a broker that outlives the test binary.
func randomQueue() (string, error) { return randomName(), nil }

func randomName() string { return fmt.Sprintf("test.%016x", rand.Uint64()) }

// Proxied starts a proxy in front of the broker, which ends with the test, and returns the broker as it is behind that:
// its URL leads to the proxy, all other URLs past it.
func (b *AMQPBroker) Proxied(t testing.TB) (*AMQPBroker, *Proxy) {
	t.Helper()
	p, through := proxyTo(t, b.URL)
	behind := *b
	behind.URL = through
	return &behind, p
}

// setURLs derives the addresses from the ports of the broker.
func (b *AMQPBroker) setURLs(plain, anonymous, tls, external int) {
	b.URL = "amqp://a:b@" + loopback(plain)
	b.ReadOnlyURL = "amqp://ro:ro@" + loopback(plain)
	b.AnonymousURL = "amqp://" + loopback(anonymous)
	b.TLSURL = "amqps://a:b@" + loopback(tls)
	b.ExternalURL = "amqps://" + loopback(external)
}

// answers makes a link to the queue in, the only proof that the broker works: Broker-J opens its ports up to a second
// before its virtual host is active.
func (b *AMQPBroker) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return b.withSession(ctx, func(session *amqp.Session) error {
		_, err := session.NewSender(ctx, b.Address("in"), &amqp.SenderOptions{TargetCapabilities: b.capabilities()})
		return err
	})
}

func (b *AMQPBroker) capabilities() []string {
	if b.Capability == "" {
		return nil
	}
	return []string{b.Capability}
}

func (b *AMQPBroker) withSession(ctx context.Context, use func(*amqp.Session) error) error {
	conn, err := amqp.Dial(ctx, b.URL, nil)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin an AMQP session: %w", err)
	}
	return use(session)
}

// Send sends messages to a queue and fails the test unless each is settled as accepted.
func (b *AMQPBroker) Send(t testing.TB, queue string, messages ...*amqp.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := b.send(ctx, queue, messages...); err != nil {
		t.Fatalf("send to %s on %s: %v", queue, b.name, err)
	}
}

func (b *AMQPBroker) send(ctx context.Context, queue string, messages ...*amqp.Message) error {
	return b.withSession(ctx, func(session *amqp.Session) error {
		options := &amqp.SenderOptions{TargetCapabilities: b.capabilities()}
		sender, err := session.NewSender(ctx, b.Address(queue), options)
		if err != nil {
			return err
		}
		receipts := make([]amqp.SendReceipt, len(messages))
		for i, m := range messages {
			if receipts[i], err = sender.SendWithReceipt(ctx, m, nil); err != nil {
				return err
			}
		}
		for i := range receipts {
			state, err := receipts[i].Wait(ctx)
			if err != nil {
				return err
			}
			if _, ok := state.(*amqp.StateAccepted); !ok {
				return fmt.Errorf("message %d was settled as %T, not accepted", i, state)
			}
		}
		return nil
	})
}

// fence is the subject of the message by which Drain knows the end of a queue.
const fence = "testbed.fence"

// fenceDelay is how long nothing may arrive before Drain sends its fence. It decides nothing but how early that is.
const fenceDelay = 200 * time.Millisecond

// Drain takes everything out of a queue with go-amqp and returns it in order. What it returns is all there was: it
// sends a message of its own behind the rest and reads up to that. A message that another receiver holds is not
// among them.
func (b *AMQPBroker) Drain(t testing.TB, queue string) []*amqp.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*clientTimeout)
	defer cancel()
	var all []*amqp.Message
	err := b.withSession(ctx, func(session *amqp.Session) error {
		options := &amqp.ReceiverOptions{SourceCapabilities: b.capabilities(), Credit: 200}
		receiver, err := session.NewReceiver(ctx, b.Address(queue), options)
		if err != nil {
			return err
		}
		if all, err = b.receiveToFence(ctx, receiver, queue); err != nil {
			return err
		}
		return receiver.Close(ctx) // after the last settlement has reached the broker
	})
	if err != nil {
		t.Fatalf("drain %s on %s, %d messages came: %v", queue, b.name, len(all), err)
	}
	return all
}

func (b *AMQPBroker) receiveToFence(ctx context.Context, receiver *amqp.Receiver, queue string) ([]*amqp.Message, error) {
	var all []*amqp.Message
	fenced := false
	for {
		lull, cancel := context.WithTimeout(ctx, fenceDelay)
		m, err := receiver.Receive(lull, nil)
		cancel()
		switch {
		case err == nil:
			if err := receiver.AcceptMessage(ctx, m); err != nil {
				return all, err
			}
			if m.Properties != nil && m.Properties.Subject != nil && *m.Properties.Subject == fence {
				return all, nil
			}
			all = append(all, m)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return all, err
		case !fenced:
			// A queue that was full refuses it until the broker has noted what was taken.
			subject := fence
			fenced = b.send(ctx, queue, &amqp.Message{Properties: &amqp.MessageProperties{Subject: &subject}, Data: [][]byte{nil}}) == nil
		}
	}
}

// externalBroker is a broker at a URL from the environment variable called variable.
func externalBroker(ctx context.Context, variable, rawURL string, b *AMQPBroker) (*AMQPBroker, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.User == nil || !strings.HasPrefix(u.Scheme, "amqp") {
		return nil, fmt.Errorf("%s is not of the form amqp://USER:PASSWORD@HOST:PORT", variable)
	}
	b.Server, b.URL = &Server{name: variable}, rawURL
	if err := b.answers(ctx); err != nil {
		return nil, fmt.Errorf("the broker of %s does not answer: %w", variable, err)
	}
	return b, nil
}

// credentials takes the URL of the broker apart, for clients that want its pieces.
func (b *AMQPBroker) credentials() (host, port, user, password string, err error) {
	u, err := url.Parse(b.URL)
	if err != nil || u.User == nil {
		return "", "", "", "", errors.New("the broker's URL has no user")
	}
	password, _ = u.User.Password()
	return u.Hostname(), u.Port(), u.User.Username(), password, nil
}
