package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lsmtpd/bridge/devbroker"
)

// place is a port at which nodes can come and go.
type place struct {
	t    *testing.T
	at   string
	stop func()
}

func newPlace(t *testing.T) *place {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := &place{t: t, at: ln.Addr().String(), stop: func() {}}
	t.Cleanup(func() { p.stop() })
	return p
}

// serve lets b be what answers at the place, in the stead of whatever did.
func (p *place) serve(b *devbroker.Broker) {
	p.t.Helper()
	p.stop()
	ln, err := net.Listen("tcp", p.at)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Serve(ctx, ln); err != nil {
			p.t.Error(err)
		}
	})
	p.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// get asks the admin listener for a path.
func get(t *testing.T, p *process, path string) (status int, body string) {
	t.Helper()
	r, err := http.Get("http://" + p.listens("http") + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	octets, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{secretText, userText} {
		if strings.Contains(string(octets), hidden) {
			t.Errorf("/%s shows %s: %s", path, hidden, octets)
		}
	}
	return r.StatusCode, string(octets)
}

// ready asks /readyz and returns the status and what it says of the broker and the store.
func ready(t *testing.T, p *process) (status int, broker, store string) {
	t.Helper()
	status, body := get(t, p, "readyz")
	var said struct{ Broker, Store string }
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Fatalf("/readyz: %v: %s", err, body)
	}
	return status, said.Broker, said.Store
}

const every = devbroker.Every

// A broker that misbehaves ends nothing: mail waits, and flows once the fault is mended.
func TestBrokerFaults(t *testing.T) {
	const noQueue, noRight = "make the queue, or set broker.address", "grant it the right to send to broker.address"
	tests := []struct {
		name   string
		config devbroker.Config // of the node with the fault
		fault  func(*devbroker.Broker)
		away   bool // there is no node at all
		step   string
		reason string // in /readyz and in the log
		remedy string
	}{
		{name: "unreachable", away: true, step: "connect and log in", reason: "connection refused", remedy: "check that the broker runs and that broker.url names its AMQP port"},
		{name: "wrong password", config: devbroker.Config{Username: "other", Password: "other"}, step: "connect and log in", reason: "SASL", remedy: "check broker.username and broker.password"},
		{name: "connection refused by the node", fault: func(b *devbroker.Broker) { b.RefuseConnections("amqp:unauthorized-access", "no virtual host") }, reason: "amqp:unauthorized-access"},
		{name: "queue missing", fault: func(b *devbroker.Broker) {
			b.Script("mail").SenderAttach(every).IsRefused("amqp:not-found", "no such queue")
		}, step: `attach to "mail"`, reason: "amqp:not-found", remedy: noQueue},
		{name: "queue missing, session ended as by RabbitMQ", fault: func(b *devbroker.Broker) {
			b.Script("mail").SenderAttach(every).EndsSession("amqp:not-found", "no queue 'mail' in vhost '/'")
		}, step: `attach to "mail"`, reason: "amqp:not-found", remedy: noQueue},
		{name: "no right to send", fault: func(b *devbroker.Broker) {
			b.Script("mail").SenderAttach(every).IsRefused("amqp:unauthorized-access", "may not send")
		}, step: `attach to "mail"`, reason: "amqp:unauthorized-access", remedy: noRight},
		{name: "no right to send, session ended as by RabbitMQ", fault: func(b *devbroker.Broker) {
			b.Script("mail").SenderAttach(every).EndsSession("amqp:unauthorized-access", "write access refused")
		}, step: `attach to "mail"`, reason: "amqp:unauthorized-access", remedy: noRight},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, node := newPlace(t), devbroker.New(tt.config)
			if tt.fault != nil {
				tt.fault(node)
			}
			if !tt.away {
				at.serve(node)
			}
			environ := environment(t, "LSMTPD_BROKER_URL=amqp://"+userText+":"+secretText+"@"+at.at)

			code, out, _ := runs(t, environ, "check", "--connect")
			if code != exitFailed {
				t.Errorf("check --connect: exit code %d, want %d", code, exitFailed)
			}
			contains(t, "check --connect", out, "FAILED  broker: "+tt.step, tt.reason, tt.remedy, "ok      store: put")

			p := start(t, environ, "", "serve", "--admin.listen=127.0.0.1:0")
			c := dialSMTP(t, p.listens("smtp"))
			c.do("451 4.3.2 ", "MAIL FROM:<a@example.org>")
			line := p.await(`level=WARN msg="broker unavailable"[^\n]*`)
			contains(t, "log", line, "address=mail", tt.reason, tt.remedy)
			if status, broker, _ := ready(t, p); status != http.StatusServiceUnavailable || !strings.Contains(broker, tt.reason) {
				t.Errorf("/readyz: %d, broker %q; want 503 and %q", status, broker, tt.reason)
			}

			switch {
			case tt.away || tt.config.Username != "":
				node = devbroker.New(devbroker.Config{})
				at.serve(node)
			default:
				node.AcceptConnections()
				node.Script("mail").Clear()
			}
			p.await(`msg="link attached" address=mail`)
			c.send("250 2.0.0 ", small)
			published(t, node, 1)
			if status, broker, _ := ready(t, p); status != http.StatusOK || broker != "" {
				t.Errorf("/readyz: %d, broker %q; want 200 and nothing", status, broker)
			}
			if code, out, _ := runs(t, environ, "check", "--connect"); code != exitOK {
				t.Errorf("check --connect when it is mended: exit code %d, want %d:\n%s", code, exitOK, out)
			}
			p.signals <- syscall.SIGTERM
			if code := p.exit(); code != exitOK {
				t.Errorf("exit code %d, want %d", code, exitOK)
			}
		})
	}
}

// A right that is only missed when a message arrives is the operator's to grant: the client keeps the mail.
func TestDeliveryRefused(t *testing.T) {
	t.Parallel()
	p, node := served(t, "--admin.listen=127.0.0.1:0")
	node.Script("mail").Delivery(every).IsRejected("amqp:unauthorized-access", "may not send")
	c := dialSMTP(t, p.listens("smtp"))
	c.send("451 4.3.5 ", small)
	contains(t, "log", p.await(`level=WARN msg=transaction [^\n]*`), "amqp:unauthorized-access", "mail")
	node.Script("mail").Clear()
	c.send("250 2.0.0 ", small)
	published(t, node, 1)
}

func TestDeliveryRefusedBounces(t *testing.T) {
	t.Parallel()
	p, node := served(t, "--broker.on_reject=bounce")
	node.Script("mail").Delivery(every).IsRejected("amqp:unauthorized-access", "may not send")
	dialSMTP(t, p.listens("smtp")).send("554 5.3.0 ", small)
}
