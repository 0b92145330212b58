package bridge_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/publish"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

const (
	// soon is a settle timeout that a case runs into.
	soon = 500 * time.Millisecond
	// large is the size of an attachment that goes to the store.
	large = 200_000
)

// What the store holds after a case.
const (
	stays   = 2 // both attachments of the letter
	removed = 0
)

// TestPromise shows each row of the promise's table: the reply, and what the store holds afterwards.
func TestPromise(t *testing.T) { testPromise(t, false) }

// TestPromiseRaw shows the same where the raw message is stored, too.
func TestPromiseRaw(t *testing.T) { testPromise(t, true) }

func testPromise(t *testing.T, storeRaw bool) {
	settleSoon := func(c *bridge.Config) { c.SettleTimeout = soon }
	bounce := func(c *bridge.Config) { c.Bounce = true }
	topic := func(c *publish.Config) { c.Capability = "topic" }
	rejected := func(condition string) func(*bed) {
		return func(b *bed) { b.script.Delivery(1).IsRejected(condition, "scripted") }
	}
	tests := []struct {
		name      string
		options   options
		before    func(*bed) // before MAIL
		inMessage func(*bed) // when all of the message but its end has been read
		reply     string
		objects   int
		inDoubt   float64
		outcome   string // of the metric
		stored    int    // messages in the queue
	}{
		{name: "accepted", reply: "250", objects: stays, outcome: "accepted", stored: 1},
		{name: "accepted late", before: func(b *bed) { b.script.Delivery(1).IsAccepted().After(soon) }, reply: "250", objects: stays, outcome: "accepted", stored: 1},

		{name: "never sent: broker lost during the message", options: options{bridge: settleSoon},
			inMessage: func(b *bed) { b.broker.RefuseConnections("amqp:connection:forced", ""); b.losesBroker() },
			reply:     "451 4.4.1", objects: removed, outcome: "never-sent"},
		{name: "never sent: no link any more", options: options{bridge: settleSoon}, inMessage: func(b *bed) {
			b.script.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "deleted")
			b.losesBroker()
		}, reply: "451 4.4.1", objects: removed, outcome: "never-sent"},
		{name: "never sent: no credit", options: options{bridge: settleSoon}, before: func(b *bed) { b.script.GivesNoCredit() },
			reply: "451 4.4.1", objects: removed, outcome: "never-sent"},
		{name: "never sent: session window closed", options: options{bridge: settleSoon}, before: func(b *bed) { b.script.ClosesWindow() },
			reply: "451 4.4.1", objects: removed, outcome: "never-sent"},

		{name: "refused for now: released", before: func(b *bed) { b.script.Delivery(1).IsReleased() }, reply: "451 4.4.1", objects: removed, outcome: "refused-for-now"},
		{name: "refused for now: modified", before: func(b *bed) { b.script.Delivery(1).IsModified(true, false) }, reply: "451 4.4.1", objects: removed, outcome: "refused-for-now"},
		{name: "refused for now: rejected without a condition", before: rejected(""), reply: "451 4.4.1", objects: removed, outcome: "refused-for-now"},
		{name: "refused for now: queue full", before: rejected("amqp:resource-limit-exceeded"), reply: "451 4.4.1", objects: removed, outcome: "refused-for-now"},
		{name: "refused for now: not found", before: rejected("amqp:not-found"), reply: "451 4.4.1", objects: removed, outcome: "refused-for-now"},
		{name: "refused for now: unknown condition", before: rejected("com.microsoft:server-busy"), reply: "451 4.4.1", objects: removed, outcome: "refused-for-now"},
		{name: "refused for now by a topic", options: options{publish: topic}, before: rejected("amqp:resource-limit-exceeded"),
			reply: "451 4.4.1", objects: stays, inDoubt: 1, outcome: "refused-for-now"},

		{name: "in doubt: never settled", options: options{bridge: settleSoon}, before: func(b *bed) { b.script.Delivery(1).IsNeverSettled() },
			reply: "451 4.4.2", objects: stays, inDoubt: 1, outcome: "in-doubt", stored: 1},
		{name: "in doubt: reset, and then no broker", options: options{bridge: settleSoon}, before: func(b *bed) {
			b.script.Delivery(1).Stored().ResetsConnection()
			b.script.SenderAttach(devbroker.Every).IsRefused("amqp:not-found", "")
			b.script.SenderAttach(1)
		}, reply: "451 4.4.2", objects: stays, inDoubt: 1, outcome: "in-doubt", stored: 1},
		{name: "in doubt, then refused for good", before: func(b *bed) {
			b.script.Delivery(1).Stored().ResetsConnection()
			b.script.Delivery(2).IsRejected("amqp:not-allowed", "")
		}, reply: "451 4.4.2", objects: stays, inDoubt: 1, outcome: "in-doubt", stored: 1},
		{name: "in doubt, sent again: reset", before: func(b *bed) { b.script.Delivery(1).Stored().ResetsConnection() },
			reply: "250", objects: stays, outcome: "accepted", stored: 2},
		{name: "in doubt, sent again: link detached", before: func(b *bed) { b.script.Delivery(1).DetachesLink("amqp:resource-limit-exceeded", "full") },
			reply: "250", objects: stays, outcome: "accepted", stored: 1},
		{name: "in doubt, sent again: session ended", before: func(b *bed) { b.script.Delivery(1).EndsSession("amqp:internal-error", "") },
			reply: "250", objects: stays, outcome: "accepted", stored: 1},
		{name: "in doubt, sent again: connection closed", before: func(b *bed) { b.script.Delivery(1).ClosesConnection("amqp:connection:forced", "") },
			reply: "250", objects: stays, outcome: "accepted", stored: 1},
		{name: "in doubt, sent again: settled without an outcome", before: func(b *bed) { b.script.Delivery(1).IsSettledWithoutOutcome() },
			reply: "250", objects: stays, outcome: "accepted", stored: 2},

		{name: "refused for good: unauthorized", before: rejected("amqp:unauthorized-access"), reply: "451 4.3.5", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good: not allowed", before: rejected("amqp:not-allowed"), reply: "451 4.3.5", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good: precondition failed", before: rejected("amqp:precondition-failed"), reply: "451 4.3.5", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good: not implemented", before: rejected("amqp:not-implemented"), reply: "451 4.3.5", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good: decode error", before: rejected("amqp:decode-error"), reply: "451 4.3.5", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good: undeliverable here", before: func(b *bed) { b.script.Delivery(1).IsModified(false, true) }, reply: "451 4.3.5", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good, bounced", options: options{bridge: bounce}, before: rejected("amqp:not-allowed"), reply: "554 5.3.0", objects: removed, outcome: "refused-for-good"},
		{name: "refused for good by a topic", options: options{publish: topic}, before: rejected("amqp:not-allowed"),
			reply: "451 4.3.5", objects: stays, inDoubt: 1, outcome: "refused-for-good"},

		{name: "store fails in the middle", before: func(b *bed) { b.store.failAt = 2 }, reply: "451 4.3.1", objects: removed, outcome: "store-failed"},
		{name: "store down when a part needs it", before: func(b *bed) { b.store.denied = objectstore.ErrUnavailable }, reply: "451 4.3.1", objects: removed, outcome: "store-failed"},
		{name: "message too large", options: options{bridge: func(c *bridge.Config) { c.MaxMessageBytes = 300_000 }}, reply: "552 5.3.4", objects: removed, outcome: "too-large"},
		{name: "envelope too large for the link", options: options{broker: devbroker.Config{MaxMessageSize: 3000}}, reply: "552 5.3.4", objects: removed, outcome: "too-large"},
		{name: "broker away at MAIL", options: options{brokerURL: "amqp://127.0.0.1:1"}, reply: "451 4.3.2", objects: removed},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			change := tc.options.bridge
			tc.options.bridge = func(c *bridge.Config) {
				if c.StoreRaw = storeRaw; change != nil {
					change(c)
				}
			}
			if storeRaw && tc.objects == stays {
				tc.objects++
			}
			b := newBed(t, tc.options)
			if tc.before != nil {
				tc.before(b)
			}
			body := letter(large, large)
			end := &hook{func() {
				if tc.inMessage != nil {
					tc.inMessage(b)
				}
			}}
			if got := b.deliver(io.MultiReader(bytes.NewReader(body), end)); got != tc.reply {
				t.Errorf("reply %q, want %q", got, tc.reply)
			}
			if got := b.objects(); len(got) != tc.objects {
				t.Errorf("the store holds %v, want %d objects", got, tc.objects)
			}
			if got := b.metric("lsmtpd_deliveries_in_doubt_total", ""); got != tc.inDoubt {
				t.Errorf("%v deliveries in doubt, want %v", got, tc.inDoubt)
			}
			if got := b.metric("lsmtpd_transactions_total", tc.outcome); tc.outcome != "" && got != 1 {
				t.Errorf("lsmtpd_transactions_total{outcome=%q} = %v, want 1", tc.outcome, got)
			}
			messages := b.published()
			if len(messages) != tc.stored {
				t.Errorf("%d messages in the queue, want %d", len(messages), tc.stored)
			}
			for _, m := range messages {
				if m.ID != messages[0].ID {
					t.Errorf("a delivery sent again has the id %s, first it had %s", m.ID, messages[0].ID)
				}
				for _, id := range []string{"b2", "b3"} {
					if got := b.octets(m, id); !bytes.Equal(got, payload(large)) {
						t.Errorf("blob %s is not what was sent: %d octets", id, len(got))
					}
				}
				if storeRaw && !bytes.Equal(b.octets(m, schema.RawBlobID), body) {
					t.Error("the raw object is not what was sent")
				}
			}
		})
	}
}

// A client that is gone before the end of data leaves nothing, wherever the message is cut.
func TestIncomplete(t *testing.T) {
	t.Run("parts", func(t *testing.T) { testIncomplete(t, newBed(t, options{})) })
	t.Run("raw", func(t *testing.T) { testIncomplete(t, newBed(t, options{bridge: raw})) })
}

func testIncomplete(t *testing.T, b *bed) {
	whole := letter(large, large)
	cuts := []int{0, 1, 50, 150, 300, 400, 10_000, len(whole) / 2, len(whole) - 7, len(whole) - 1, len(whole)}
	for _, n := range cuts {
		if got := b.deliver(brokenOff(whole[:n])); got == "250" {
			t.Errorf("cut at %d of %d octets: 250", n, len(whole))
		}
		b.wantNoUpload()
		if got := b.objects(); len(got) != 0 {
			t.Errorf("cut at %d of %d octets: the store holds %v", n, len(whole), got)
		}
	}
	if got := b.published(); len(got) != 0 {
		t.Errorf("%d messages were published", len(got))
	}
	if got := b.metric("lsmtpd_transactions_total", "incomplete"); got != float64(len(cuts)) {
		t.Errorf("%v transactions counted as incomplete, want %d", got, len(cuts))
	}
	for _, err := range []error{io.ErrUnexpectedEOF, io.ErrClosedPipe} {
		if got := b.deliver(io.MultiReader(bytes.NewReader(whole), &failing{err})); got == "250" {
			t.Errorf("body ended with %v: 250", err)
		}
	}
}

// A reader that refuses the message itself says with which reply.
func TestRefusedByTheReader(t *testing.T) {
	b := newBed(t, options{bridge: raw})
	refusal := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "not as it should be"}
	if got := b.deliver(io.MultiReader(bytes.NewReader(letter(large, large)), &failing{refusal})); got != "550 5.6.0" {
		t.Errorf("reply %q, want 550 5.6.0", got)
	}
	if got := b.objects(); len(got) != 0 {
		t.Errorf("the store holds %v", got)
	}
	if got := b.metric("lsmtpd_transactions_total", "refused"); got != 1 {
		t.Errorf("%v transactions counted as refused, want 1", got)
	}
}

// A panic goes on to the caller, and leaves nothing behind.
func TestPanic(t *testing.T) {
	t.Run("parts", func(t *testing.T) { testPanic(t, newBed(t, options{})) })
	t.Run("raw", func(t *testing.T) { testPanic(t, newBed(t, options{bridge: raw})) })
}

func testPanic(t *testing.T, b *bed) {
	body := letter(large, large)
	func() {
		defer func() {
			if p := recover(); p != "a defect" {
				t.Errorf("recovered %v, want the panic of the reader", p)
			}
		}()
		b.deliver(io.MultiReader(bytes.NewReader(body[:len(body)-large/2]), &hook{func() { panic("a defect") }}))
	}()
	b.wantNoUpload()
	if got := b.objects(); len(got) != 0 {
		t.Errorf("the store holds %v", got)
	}
	if got := b.deliver(bytes.NewReader(body)); got != "250" {
		t.Errorf("reply %q to the next message, want 250", got)
	}
}

// The time to settle begins at the end of data, and not when all objects are stored.
func TestSettleTimeoutBeginsAtTheEndOfData(t *testing.T) {
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.SettleTimeout = soon }})
	s, err := b.session(0)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("Content-Type: application/octet-stream\r\n\r\n" + strings.Repeat("x", large))
	b.store.slow = 2 * soon
	if _, errs := s.Deliver(t.Context(), bytes.NewReader(body)); replyText(t, errs[0]) != "451 4.4.1" {
		t.Errorf("reply %q, want 451 4.4.1: no time was left", replyText(t, errs[0]))
	}
	b.store.slow, b.store.hangs = 0, true
	if got := b.deliver(bytes.NewReader(body)); got != "451 4.3.1" {
		t.Errorf("reply %q, want 451 4.3.1: the store has taken all the time", got)
	}
	if got := len(b.published()) + len(b.objects()); got != 0 {
		t.Errorf("%d messages and objects are left", got)
	}
}

// TestAtMail shows what MAIL itself refuses.
func TestAtMail(t *testing.T) {
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.MaxMessageBytes = 1 << 20 }})
	tests := []struct {
		name string
		down error
		size int64
		want string
	}{
		{"no size", nil, 0, "250"},
		{"exactly the limit", nil, 1 << 20, "250"},
		{"over the limit", nil, 1<<20 + 1, "552 5.3.4"},
		{"store down, no size", objectstore.ErrUnavailable, 0, "250"},
		{"store down, a mail that needs none", objectstore.ErrUnavailable, 256 << 10, "250"},
		{"store down, a mail that may need it", objectstore.ErrUnavailable, 256<<10 + 1, "451 4.3.1"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b.store.setDown(tc.down)
			if tc.down != nil {
				// An upload that fails is noticed at once, without waiting for the next probe.
				if got := b.deliver(bytes.NewReader(letter(large))); got != "451 4.3.1" {
					t.Fatalf("reply %q while the store is down", got)
				}
			}
			_, err := b.session(tc.size)
			if got := replyText(t, err); got != tc.want {
				t.Errorf("reply %q, want %q", got, tc.want)
			}
			if tc.down != nil {
				if got := b.deliver(bytes.NewReader(letter(100))); got != "250" {
					t.Errorf("reply %q to a mail that needs no store", got)
				}
			}
		})
	}
}

func TestRecipients(t *testing.T) {
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.MaxRecipients = 2 }})
	_, err := b.session(0, "a@x.example", "b@x.example", "c@x.example")
	if got := replyText(t, err); got != "452 4.5.3" {
		t.Errorf("third recipient: %q, want 452 4.5.3", got)
	}
	s, err := b.session(0, "a@x.example", "b@y.example")
	if err != nil {
		t.Fatal(err)
	}
	_, errs := s.Deliver(t.Context(), bytes.NewReader(letter()))
	if len(errs) != 2 || errs[0] != nil || errs[1] != nil {
		t.Errorf("replies %v, want two times nil", errs)
	}
	m := b.published()
	if len(m) != 1 || len(m[0].Envelope.RcptTo) != 2 || m[0].Envelope.RcptTo[1].Email != "b@y.example" {
		t.Errorf("published %+v, want one message to both", m)
	}
}
