package devbroker

import (
	"cmp"
	"container/heap"
	"slices"
)

// storedMessage is one message of a queue. Its octets never change; Broker.mu guards the rest.
type storedMessage struct {
	id            string
	octets        []byte // as they came, all sections
	seq           uint64 // its place in the queue
	deliveryCount uint32 // failed deliveries so far
	acquired      bool   // with a receiver, which has not settled it yet
	settled       bool   // its sender has been told, or did not want to know
}

// queue keeps messages in the order they came; a requeued one goes back to its place. Broker.mu guards it.
type queue struct {
	b       *Broker
	address string

	kept   map[uint64]*storedMessage // all, acquired or not, by seq
	ready  messageHeap               // those not acquired
	octets int64
	seq    uint64

	receivers map[*outgoing]struct{}
}

func newQueue(b *Broker, address string) *queue {
	return &queue{b: b, address: address, kept: make(map[uint64]*storedMessage), receivers: make(map[*outgoing]struct{})}
}

// put appends m, unless the queue is full.
func (q *queue) put(m *storedMessage) bool {
	size := int64(len(m.octets))
	if len(q.kept) >= q.b.cfg.MaxQueueMessages || q.octets+size > q.b.cfg.MaxQueueOctets || q.b.octets+size > q.b.cfg.MaxOctets {
		return false
	}
	q.seq++
	m.seq = q.seq
	q.kept[m.seq] = m
	q.octets += size
	q.b.octets += size
	q.makeReady(m)
	return true
}

// next returns the first message nobody has, nil when there is none.
func (q *queue) next() *storedMessage {
	if len(q.ready) == 0 {
		return nil
	}
	return q.ready[0]
}

// acquire takes the message next has returned.
func (q *queue) acquire() {
	heap.Pop(&q.ready).(*storedMessage).acquired = true
	q.b.notify()
}

func (q *queue) requeue(m *storedMessage) {
	if m.acquired && q.kept[m.seq] == m {
		m.acquired = false
		q.makeReady(m)
	}
}

func (q *queue) makeReady(m *storedMessage) {
	heap.Push(&q.ready, m)
	for l := range q.receivers {
		l.s.c.wakeWriter()
	}
	q.b.notify()
}

// remove forgets an acquired message for good.
func (q *queue) remove(m *storedMessage) {
	if m.acquired && q.kept[m.seq] == m {
		q.drop(m)
		q.b.notify()
	}
}

// purge forgets what nobody has acquired.
func (q *queue) purge() {
	for _, m := range q.ready {
		q.drop(m)
	}
	q.ready = nil
	q.b.notify()
}

func (q *queue) drop(m *storedMessage) {
	delete(q.kept, m.seq)
	q.octets -= int64(len(m.octets))
	q.b.octets -= int64(len(m.octets))
}

func (q *queue) messages() []Message {
	out := make([]Message, 0, len(q.kept))
	stored := make([]*storedMessage, 0, len(q.kept))
	for _, m := range q.kept {
		stored = append(stored, m)
	}
	slices.SortFunc(stored, func(a, b *storedMessage) int { return cmp.Compare(a.seq, b.seq) })
	for _, m := range stored {
		out = append(out, Message{ID: m.id, Octets: m.octets, DeliveryCount: m.deliveryCount, Settled: m.settled, Acquired: m.acquired})
	}
	return out
}

// messageHeap is a container/heap, the oldest message first.
type messageHeap []*storedMessage

func (h messageHeap) Len() int           { return len(h) }
func (h messageHeap) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h messageHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *messageHeap) Push(x any)        { *h = append(*h, x.(*storedMessage)) }
func (h *messageHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
