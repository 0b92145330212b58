package devbroker

import (
	"context"
	"slices"

	"github.com/absmach/fluxmq/amqp1/message"
	"github.com/absmach/fluxmq/amqp1/performatives"
)

// maxLog bounds what is remembered of attaches and deliveries; the oldest go first.
const maxLog = 1000

// A Message stands in a queue.
type Message struct {
	ID            string // message-id as text; empty when there is none
	Octets        []byte // all sections, encoded, as they came; not to be changed
	DeliveryCount uint32 // failed deliveries, the header's own not counted
	Settled       bool   // the sender has been told its outcome, or sent it settled
	Acquired      bool   // a receiver has it and has not settled it
}

// Decode decodes the sections of m. It leaves out what the codec leaves out: footer, sequences, and the properties after
// content-encoding.
func (m Message) Decode() (*message.Message, error) { return decodeMessage(m.Octets) }

// Data returns the octets of the data sections of m, joined. It is empty for a message that has none.
func (m Message) Data() ([]byte, error) {
	d, err := decodeMessage(m.Octets)
	if err != nil {
		return nil, err
	}
	return slices.Concat(d.Data...), nil
}

// Messages returns what stands in the queue of an address, the oldest first.
func (b *Broker) Messages(address string) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[address]; q != nil {
		return q.messages()
	}
	return nil
}

// WaitMessages waits until n or more messages stand in the queue of an address, and returns them, the oldest first.
// Its error is that of ctx.
func (b *Broker) WaitMessages(ctx context.Context, address string, n int) ([]Message, error) {
	err := b.wait(ctx, func() bool {
		q := b.queues[address]
		return n <= 0 || q != nil && len(q.kept) >= n
	})
	return b.Messages(address), err
}

// WaitEmpty waits until no message stands in the queue of an address: every one has been settled by a receiver.
// Its error is that of ctx.
func (b *Broker) WaitEmpty(ctx context.Context, address string) error {
	return b.wait(ctx, func() bool {
		q := b.queues[address]
		return q == nil || len(q.kept) == 0
	})
}

// Purge drops the messages of an address that no receiver has acquired.
func (b *Broker) Purge(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[address]; q != nil {
		q.purge()
	}
}

// Put appends a message, its sections encoded, to the queue of an address, as if a client had sent it. It reports false
// when the queue is full, and an error when octets is no message. octets must not be changed afterwards.
func (b *Broker) Put(address string, octets []byte) (stored bool, err error) {
	sections, err := sectionsOf(octets)
	if err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queueFor(address)
	return q != nil && q.put(&storedMessage{id: messageID(sections), octets: octets, settled: true}), nil
}

// An Attachment is one attach frame that arrived, whatever came of it.
type Attachment struct {
	Address      string   // of the target for a sender, of the source for a receiver
	Sender       bool     // the client sends
	Capabilities []string // of the terminus whose address this is, such as "queue"
	LinkName     string
	Container    string // container-id of the client
	Hostname     string // of its open frame
	User         string // authenticated; empty for ANONYMOUS
}

// Attachments returns the attach frames that arrived, the oldest first; no more than the last 1000.
func (b *Broker) Attachments() []Attachment {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.attachments)
}

func (b *Broker) logAttachment(c *conn, a *performatives.Attach) {
	at := Attachment{Sender: a.Role == performatives.RoleSender, LinkName: a.Name,
		Container: c.container, Hostname: c.hostname, User: c.user}
	at.Address = addressOf(a)
	switch {
	case at.Sender && a.Target != nil:
		at.Capabilities = stringsOf(a.Target.Capabilities)
	case !at.Sender && a.Source != nil:
		at.Capabilities = stringsOf(a.Source.Capabilities)
	}
	b.attachments = appendBounded(b.attachments, at)
	c.log.Debug("attach", "address", at.Address, "sender", at.Sender, "capabilities", at.Capabilities)
}

// addressOf is the address at our end of the link, empty when there is none.
func addressOf(a *performatives.Attach) string {
	switch {
	case a.Role == performatives.RoleSender && a.Target != nil:
		return a.Target.Address
	case a.Role == performatives.RoleReceiver && a.Source != nil:
		return a.Source.Address
	}
	return ""
}

func stringsOf[T ~string](in []T) []string {
	var out []string
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}

func appendBounded[T any](log []T, entry T) []T {
	if len(log) == maxLog {
		log = slices.Delete(log, 0, maxLog/10)
	}
	return append(log, entry)
}

// Connections returns how many clients are connected.
func (b *Broker) Connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}
