package publish_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/publish"
	"lsmtpd/schema"
)

const address = "in"

// long bounds what is expected to happen at once.
const long = 20 * time.Second

// start runs a Publisher against the node at the URLs until the test ends.
func start(t *testing.T, change func(*publish.Config), urls ...string) *publish.Publisher {
	t.Helper()
	cfg := publish.Config{Capability: "auto", ContainerID: "test", Logger: slog.New(slog.DiscardHandler)}
	for _, raw := range urls {
		u, err := publish.ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		cfg.URLs = append(cfg.URLs, u)
	}
	if change != nil {
		change(&cfg)
	}
	p := publish.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return p
}

// delivery is one whose message has n octets.
func delivery(id string, n int) publish.Delivery {
	body := make([]byte, n)
	_, _ = rand.Read(body) // never fails
	return publish.Delivery{Address: address, Body: body,
		Properties: schema.Properties{MessageID: id, ContentType: schema.ContentType, CreationTime: time.Unix(1, 0)}}
}

// outcome publishes d within the time given and returns its outcome, 0 for accepted.
func outcome(t *testing.T, p *publish.Publisher, d publish.Delivery, within time.Duration) publish.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := p.Publish(ctx, d)
	if err == nil {
		return 0
	}
	var e *publish.Error
	if !errors.As(err, &e) {
		t.Fatalf("error without an outcome: %v", err)
	}
	t.Logf("%v", err)
	return e.Outcome
}

const (
	small      = 100
	multiFrame = 300_000 // several frames of 64 KiB
	// patience is a deadline that a case runs into.
	patience = 400 * time.Millisecond
)

func TestOutcomes(t *testing.T) {
	tests := []struct {
		name   string
		script func(*devbroker.Script)
		octets int
		within time.Duration
		want   publish.Outcome
		sent   int // transfers that arrived, whole or in part
	}{
		{"accepted", func(*devbroker.Script) {}, small, long, 0, 1},
		{"accepted, several frames", func(*devbroker.Script) {}, multiFrame, long, 0, 1},
		{"accepted late", func(s *devbroker.Script) { s.Delivery(1).IsAccepted().After(patience) }, small, long, 0, 1},
		{"released", func(s *devbroker.Script) { s.Delivery(1).IsReleased() }, small, long, publish.RefusedForNow, 1},
		{"modified", func(s *devbroker.Script) { s.Delivery(1).IsModified(true, false) }, small, long, publish.RefusedForNow, 1},
		{"modified, undeliverable here", func(s *devbroker.Script) { s.Delivery(1).IsModified(true, true) }, small, long, publish.RefusedForGood, 1},
		{"rejected without a condition", func(s *devbroker.Script) { s.Delivery(1).IsRejected("", "") }, small, long, publish.RefusedForNow, 1},
		{"rejected: full", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:resource-limit-exceeded", "full") }, small, long, publish.RefusedForNow, 1},
		{"rejected: not found", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:not-found", "") }, small, long, publish.RefusedForNow, 1},
		{"rejected: busy", func(s *devbroker.Script) { s.Delivery(1).IsRejected("com.microsoft:server-busy", "") }, small, long, publish.RefusedForNow, 1},
		{"rejected: size", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:link:message-size-exceeded", "") }, small, long, publish.RefusedForNow, 1},
		{"rejected: unauthorized", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:unauthorized-access", "") }, small, long, publish.RefusedForGood, 1},
		{"rejected: not allowed", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:not-allowed", "") }, small, long, publish.RefusedForGood, 1},
		{"rejected: precondition", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:precondition-failed", "") }, small, long, publish.RefusedForGood, 1},
		{"rejected: not implemented", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:not-implemented", "") }, small, long, publish.RefusedForGood, 1},
		{"rejected: decode error", func(s *devbroker.Script) { s.Delivery(1).IsRejected("amqp:decode-error", "") }, small, long, publish.RefusedForGood, 1},
		{"settled without an outcome, then accepted", func(s *devbroker.Script) { s.Delivery(1).IsSettledWithoutOutcome() }, small, long, 0, 2},
		{"never settled", func(s *devbroker.Script) { s.Delivery(1).IsNeverSettled() }, small, patience, publish.InDoubt, 1},
		{"no credit", func(s *devbroker.Script) { s.GivesNoCredit() }, small, patience, publish.NeverSent, 0},
		{"no credit, several frames", func(s *devbroker.Script) { s.GivesNoCredit() }, multiFrame, patience, publish.NeverSent, 0},
		{"session window closed", func(s *devbroker.Script) { s.ClosesWindow() }, small, patience, publish.NeverSent, 0},
		{"session window closed in mid-transfer", func(s *devbroker.Script) { s.ClosesWindowAfter(1) }, multiFrame, patience, publish.InDoubt, 1},
		{"link detached, then accepted", func(s *devbroker.Script) { s.Delivery(1).DetachesLink("amqp:resource-limit-exceeded", "full") }, small, long, 0, 2},
		{"link detached: no right to send", func(s *devbroker.Script) { s.Delivery(1).DetachesLink("amqp:not-allowed", "no right") }, small, long, publish.InDoubt, 1},
		{"session ended, then accepted", func(s *devbroker.Script) { s.Delivery(1).EndsSession("amqp:internal-error", "") }, small, long, 0, 2},
		{"connection closed, then accepted", func(s *devbroker.Script) { s.Delivery(1).ClosesConnection("amqp:connection:forced", "") }, small, long, 0, 2},
		{"connection reset, then accepted", func(s *devbroker.Script) { s.Delivery(1).ResetsConnection() }, small, long, 0, 2},
		{"connection reset in mid-transfer, then accepted", func(s *devbroker.Script) { s.Delivery(1).ResetsConnectionInTransfer() }, multiFrame, long, 0, 2},
		{"in doubt, then refused for good, stays in doubt", func(s *devbroker.Script) {
			s.Delivery(1).Stored().ResetsConnection()
			s.Delivery(2).IsRejected("amqp:not-allowed", "")
		}, small, long, publish.InDoubt, 2},
		{"in doubt, then no link, stays in doubt", func(s *devbroker.Script) {
			s.Delivery(1).ResetsConnection()
			s.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "")
			s.SenderAttach(1) // as usual
		}, small, patience, publish.InDoubt, 1},
		{"attach refused", func(s *devbroker.Script) { s.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "") }, small, patience, publish.NeverSent, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			broker, url := devbroker.Start(t, devbroker.Config{})
			script := broker.Script(address)
			tc.script(script)
			p := start(t, nil, url)
			if got := outcome(t, p, delivery("id", tc.octets), tc.within); got != tc.want {
				t.Errorf("outcome %v, want %v", got, tc.want)
			}
			if got := len(script.Deliveries()); got != tc.sent {
				t.Errorf("%d transfers arrived, want %d", got, tc.sent)
			}
			if tc.want == 0 {
				stored := broker.Messages(address)
				if len(stored) == 0 || stored[len(stored)-1].ID != "id" {
					t.Errorf("accepted, but not in the queue: %v", stored)
				}
			}
		})
	}
}

// After each kind of trouble the same Publisher delivers again.
func TestRecovers(t *testing.T) {
	troubles := map[string]func(*devbroker.Script){
		"no credit":      func(s *devbroker.Script) { s.GivesNoCredit() },
		"window closed":  func(s *devbroker.Script) { s.ClosesWindow() },
		"never settled":  func(s *devbroker.Script) { s.Delivery(1).IsNeverSettled() },
		"window in half": func(s *devbroker.Script) { s.ClosesWindowAfter(1) },
		"refused attach": func(s *devbroker.Script) {
			s.SenderAttach(devbroker.Every).EndsSession("amqp:not-found", "no queue")
		},
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker, url := devbroker.Start(t, devbroker.Config{})
			script := broker.Script(address)
			trouble(script)
			p := start(t, nil, url)
			if got := outcome(t, p, delivery("first", multiFrame), patience); got == 0 {
				t.Fatal("accepted in spite of the trouble")
			}
			script.Clear()
			if got := outcome(t, p, delivery("second", multiFrame), long); got != 0 {
				t.Errorf("outcome %v after the trouble, want accepted", got)
			}
		})
	}
}

// What ends a connection or a link while nothing is sent is noticed or mended at the next delivery.
func TestMendsWhatEndsIdle(t *testing.T) {
	endings := map[string]func(*devbroker.Broker){
		"closed without an error": func(b *devbroker.Broker) { b.CloseConnections("", "") },
		"closed with an error":    func(b *devbroker.Broker) { b.CloseConnections("amqp:connection:forced", "") },
		"reset":                   func(b *devbroker.Broker) { b.ResetConnections() },
		"detached without error":  func(b *devbroker.Broker) { b.Script(address).DetachesSenders("", "") },
		"detached as idle":        func(b *devbroker.Broker) { b.Script(address).DetachesSenders("amqp:link:detach-forced", "") },
		"detached for a size":     func(b *devbroker.Broker) { b.Script(address).DetachesSenders("amqp:link:message-size-exceeded", "") },
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker, url := devbroker.Start(t, devbroker.Config{})
			p := start(t, nil, url)
			if got := outcome(t, p, delivery("before", small), long); got != 0 {
				t.Fatalf("outcome %v", got)
			}
			end(broker)
			for _, id := range []string{"first", "second"} {
				if got := outcome(t, p, delivery(id, small), long); got != 0 {
					t.Errorf("outcome %v of the %s after it, want accepted", got, id)
				}
			}
		})
	}
}

// TestNextURL: a broker that takes connections and ends them is no reason not to try the next; once that one is gone,
// the first has its turn again.
func TestNextURL(t *testing.T) {
	refuses, first := devbroker.Start(t, devbroker.Config{})
	works, second := devbroker.Start(t, devbroker.Config{})
	refuses.RefuseConnections("amqp:connection:forced", "starting")
	p := start(t, nil, first, second)
	if got := outcome(t, p, delivery("1", small), long); got != 0 {
		t.Fatalf("%v, want it accepted by the second", got)
	}
	refuses.AcceptConnections()
	works.RefuseConnections("amqp:connection:forced", "stopping")
	works.ResetConnections()
	if got := outcome(t, p, delivery("2", small), long); got != 0 {
		t.Fatalf("%v, want it accepted by the first", got)
	}
	if a, b := len(refuses.Messages(address)), len(works.Messages(address)); a != 1 || b != 1 {
		t.Errorf("%d and %d messages, want one each", a, b)
	}
}

// A broker that settles without an outcome gets copies at the pace of the backoff.
func TestNoFlood(t *testing.T) {
	broker, url := devbroker.Start(t, devbroker.Config{})
	script := broker.Script(address)
	script.Delivery(devbroker.Every).IsSettledWithoutOutcome()
	p := start(t, nil, url)
	if got := outcome(t, p, delivery("id", small), 2*patience); got != publish.InDoubt {
		t.Errorf("outcome %v, want in doubt", got)
	}
	if n := len(script.Deliveries()); n < 2 || n > 10 {
		t.Errorf("%d copies were sent, want a few", n)
	}
}

func TestPublishedSections(t *testing.T) {
	broker, url := devbroker.Start(t, devbroker.Config{Properties: map[string]any{"product": "apache-activemq-artemis"}})
	p := start(t, nil, url)
	d := delivery("0197-id", small)
	d.Properties.CorrelationID, d.Properties.Subject = "m@example.org", "invoice"
	d.Application = map[string]any{"cloudEvents_id": "0197-id", "size": int64(7)}
	if got := outcome(t, p, d, long); got != 0 {
		t.Fatalf("outcome %v", got)
	}
	messages := broker.Messages(address)
	if len(messages) != 1 {
		t.Fatalf("%d messages in the queue, want 1", len(messages))
	}
	m, err := messages[0].Decode()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"cloudEvents_id": "0197-id", "size": int64(7), "_AMQ_DUPL_ID": "0197-id"}
	if diff := cmp.Diff(want, m.ApplicationProperties); diff != "" {
		t.Errorf("application properties (-want +got):\n%s", diff)
	}
	if !m.Header.Durable || m.Properties.MessageID != "0197-id" || m.Properties.CorrelationID != "m@example.org" ||
		m.Properties.To != address || m.Properties.Subject != "invoice" || string(m.Properties.ContentType) != "application/json" {
		t.Errorf("header %+v, properties %+v", m.Header, m.Properties)
	}
	if len(m.Data) != 1 || !bytes.Equal(m.Data[0], d.Body) {
		t.Errorf("the data section is not the body")
	}
	for _, a := range broker.Attachments() {
		if diff := cmp.Diff([]string{"queue"}, a.Capabilities); diff != "" {
			t.Errorf("target capabilities on Artemis (-want +got):\n%s", diff)
		}
	}
	if _, mutated := d.Application["_AMQ_DUPL_ID"]; mutated {
		t.Error("the caller's application properties were changed")
	}
}

func TestTooLarge(t *testing.T) {
	broker, url := devbroker.Start(t, devbroker.Config{MaxMessageSize: 1000})
	p := start(t, nil, url)
	if got := outcome(t, p, delivery("id", 2000), long); got != publish.TooLarge {
		t.Errorf("outcome %v, want too large", got)
	}
	if got := p.MaxMessageSize(address); got != 1000 {
		t.Errorf("MaxMessageSize %d, want 1000", got)
	}
	if got := outcome(t, p, delivery("id", 500), long); got != 0 {
		t.Errorf("outcome %v of a smaller one, want accepted", got)
	}
	if n := len(broker.Messages(address)); n != 1 {
		t.Errorf("%d messages in the queue, want 1", n)
	}
}

func TestAbandon(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	broker, url := devbroker.Start(t, devbroker.Config{})
	script := broker.Script(address)
	t.Run("before the transfer", func(t *testing.T) {
		script.GivesNoCredit()
		defer script.Clear()
		p := start(t, nil, url)
		if err := p.Ready(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		d := delivery("before", small)
		d.Abandon = closed
		if got := outcome(t, p, d, long); got != publish.NeverSent {
			t.Errorf("outcome %v, want never sent", got)
		}
	})
	t.Run("after the transfer it is carried on", func(t *testing.T) {
		p := start(t, nil, url)
		goOn, gone := make(chan struct{}), make(chan struct{})
		rule := script.Delivery(1).IsAccepted().When(goOn)
		d := delivery("after", small)
		d.Abandon = gone
		var wg sync.WaitGroup
		wg.Go(func() {
			<-rule.Arrived()
			close(gone)
			close(goOn)
		})
		if got := outcome(t, p, d, long); got != 0 {
			t.Errorf("outcome %v, want accepted", got)
		}
		wg.Wait()
	})
	for _, d := range script.Deliveries() {
		if d.ID == "before" {
			t.Error("the abandoned delivery arrived")
		}
	}
}

// Deliveries that are never settled take room on the link; in the end it is given up and another works.
func TestUnsettledDoNotBlockForGood(t *testing.T) {
	broker, url := devbroker.Start(t, devbroker.Config{})
	script := broker.Script(address)
	script.Delivery(devbroker.Every).IsNeverSettled()
	p := start(t, nil, url)
	if err := p.Ready(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() { outcome(t, p, delivery("stuck", small), patience) })
	}
	wg.Wait()
	script.Clear()
	if got := outcome(t, p, delivery("free", small), long); got != 0 {
		t.Errorf("outcome %v, want accepted", got)
	}
}

func TestReadyAndHealth(t *testing.T) {
	t.Run("wrong password", func(t *testing.T) {
		_, url := devbroker.Start(t, devbroker.Config{Username: "a", Password: "b"})
		p := start(t, func(c *publish.Config) { c.Username, c.Password = "a", "wrong" }, url)
		err := p.Ready(t.Context(), address)
		if err == nil || publish.Remedy(err) == "" {
			t.Errorf("Ready = %v, want an error with a remedy", err)
		}
		if p.Health(address) == nil {
			t.Error("Health = nil")
		}
	})
	t.Run("right password, from the URL", func(t *testing.T) {
		_, raw := devbroker.Start(t, devbroker.Config{Username: "a", Password: "b"})
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("a", "b")
		if err := start(t, nil, u.String()).Ready(t.Context(), address); err != nil {
			t.Error(err)
		}
	})
	t.Run("the second URL is tried", func(t *testing.T) {
		_, url := devbroker.Start(t, devbroker.Config{})
		if err := start(t, nil, "amqp://127.0.0.1:1", url).Ready(t.Context(), address); err != nil {
			t.Error(err)
		}
	})
	t.Run("a missing queue, made later", func(t *testing.T) {
		broker, url := devbroker.Start(t, devbroker.Config{})
		broker.Script(address).SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "no queue")
		p := start(t, nil, url)
		if err := p.Ready(t.Context(), address); err == nil {
			t.Error("Ready = nil while the link is refused")
		}
		broker.Script(address).Clear()
		if got := outcome(t, p, delivery("id", small), long); got != 0 {
			t.Errorf("outcome %v once the queue is there, want accepted", got)
		}
		if err := p.Health(address); err != nil {
			t.Errorf("Health = %v", err)
		}
	})
}

// A broker that attaches the link of a user who may not send says so at each delivery; it stays known until one is accepted.
func TestRefusal(t *testing.T) {
	broker, url := devbroker.Start(t, devbroker.Config{})
	script := broker.Script(address)
	script.Delivery(devbroker.Every).DetachesLink("amqp:not-allowed", "no right")
	p := start(t, nil, url)
	for _, id := range []string{"first", "second"} {
		if got := outcome(t, p, delivery(id, small), long); got != publish.InDoubt {
			t.Errorf("outcome %v of the %s, want in doubt", got, id)
		}
		eventuallyAttached(t, p)
		if err := p.Refusal(address); err == nil || !strings.Contains(err.Error(), "amqp:not-allowed") || publish.Remedy(err) == "" {
			t.Errorf("Refusal = %v with a link attached again, want amqp:not-allowed with a remedy", err)
		}
	}
	script.Clear() // the right is granted
	if got := outcome(t, p, delivery("third", small), long); got != 0 {
		t.Errorf("outcome %v, want accepted", got)
	}
	if err := p.Refusal(address); err != nil {
		t.Errorf("Refusal = %v after an accepted delivery", err)
	}
}

// eventuallyAttached waits until the link that a delivery lost has been followed by another.
func eventuallyAttached(t *testing.T, p *publish.Publisher) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(long); p.Refusal(address) == nil || p.Health(address) != nil; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no link after a lost one: %v", p.Health(address))
		}
	}
}

func TestConcurrentDeliveries(t *testing.T) {
	broker, url := devbroker.Start(t, devbroker.Config{LinkCredit: 7})
	p := start(t, nil, url)
	const n = 500
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if got := outcome(t, p, delivery("id", small), long); got != 0 {
				t.Errorf("outcome %v", got)
			}
		})
	}
	wg.Wait()
	if got := len(broker.Messages(address)); got != n {
		t.Errorf("%d messages in the queue, want %d", got, n)
	}
	if got := p.InFlight(); got != 0 {
		t.Errorf("%d in flight at rest", got)
	}
}

func TestFansOut(t *testing.T) {
	tests := []struct {
		name, capability, product, address string
		want                               bool
	}{
		{"a queue", "auto", "RabbitMQ", "/queues/in", false},
		{"an exchange of RabbitMQ", "auto", "RabbitMQ", "/exchanges/ex/key", true},
		{"a name with a slash on Broker-J", "auto", "Apache Qpid Broker-J Core", "ex/key", true},
		{"a name with a slash elsewhere", "auto", "apache-activemq-artemis", "ex/key", false},
		{"a topic", "topic", "apache-activemq-artemis", "in", true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, url := devbroker.Start(t, devbroker.Config{Properties: map[string]any{"product": tc.product}})
			p := start(t, func(c *publish.Config) { c.Capability = tc.capability }, url)
			if err := p.Ready(t.Context(), tc.address); err != nil {
				t.Fatal(err)
			}
			if got := p.FansOut(tc.address); got != tc.want {
				t.Errorf("FansOut(%q) = %v, want %v", tc.address, got, tc.want)
			}
		})
	}
}

func TestReadyWaitsForTheFirstAttemptOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish.New(publish.Config{Logger: slog.New(slog.DiscardHandler)})
		begun := time.Now()
		if err := p.Ready(t.Context(), address); err == nil {
			t.Error("Ready = nil without Run")
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("Ready waited %v, want 5s", took)
		}
	})
}

func TestParseURL(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:5672", "http://h", "amqp://", "amqp://h/queue", "amqp://h?x=1", "amqp://h:port"} {
		if _, err := publish.ParseURL(bad); err == nil {
			t.Errorf("ParseURL(%q) = nil error", bad)
		}
	}
}
