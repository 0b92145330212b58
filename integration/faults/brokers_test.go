//go:build integration

package faults

import (
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"lsmtpd/integration/testbed"
)

// namedBroker is a kind of broker, shared and of the test's own.
type namedBroker struct {
	name            string
	shared, private func(testing.TB) *testbed.AMQPBroker
}

var brokers = []namedBroker{
	{"Artemis", testbed.Artemis, testbed.PrivateArtemis},
	{"Broker-J", testbed.BrokerJ, testbed.PrivateBrokerJ},
	{"RabbitMQ", testbed.RabbitMQ, testbed.PrivateRabbitMQ},
}

func brokerRounds() []namedRound {
	list := []namedRound{
		{"memory alarm", alarm},
		{"RabbitMQ killed", func(t *testing.T) { brokerKilled(t, testbed.PrivateRabbitMQ(t), rabbitMQKilled) }},
		{"Artemis killed", func(t *testing.T) { brokerKilled(t, testbed.PrivateArtemis(t), artemisKilled) }},
		{"MinIO killed", storeKilled},
	}
	for _, b := range brokers {
		list = append(list,
			namedRound{queueFull + b.name, func(t *testing.T) { full(t, b) }},
			namedRound{queueDeleted + b.name, func(t *testing.T) { deleted(t, b) }})
	}
	return list
}

// ordinary is the traffic of a round with one lsmtpd.
func ordinary(i *instance) traffic {
	return traffic{clients: 8, pause: 60 * time.Millisecond, several: true, impolite: true, addrs: []string{i.smtp}}
}

func brokerKilled(t *testing.T, broker *testbed.AMQPBroker, kind string) {
	r := newRound(t, broker, newBucket(t))
	r.killServer(broker.Server, kind)
}

func storeKilled(t *testing.T) {
	s := newBucket(t)
	r := newRound(t, testbed.Artemis(t), s)
	r.killServer(s.server.Server, minIOKilled)
}

// killServer kills a server under load, and starts it again.
func (r *round) killServer(server *testbed.Server, kind string) {
	t, i := r.t, r.instance("fallback", nil)
	// QUIRK: RabbitMQ forgets the members of a quorum queue that was made shortly before it is killed, and the queue takes
	// no messages ever after. What it knew when it was ended in good order, it keeps.
	must(t, server.Stop())
	must(t, server.Start())
	i.start(t, nil)
	i.waitReady(t)
	l := r.startLoad(ordinary(i))
	for range wanted(kind) {
		l.waitAcked(10)
		r.pause(0, 500*time.Millisecond)
		r.cut(func() {
			must(t, server.Kill())
			counts.add(kind)
			r.pause(0, time.Second)
			must(t, server.Start())
		})
		i.waitReady(t)
	}
	l.waitAcked(20)
	l.finish()
	r.verify()
	i.stop(t)
}

// alarm raises RabbitMQ's memory alarm, which lets it take no message, for half a minute.
func alarm(t *testing.T) {
	broker := testbed.PrivateRabbitMQ(t)
	r := newRound(t, broker, newBucket(t))
	i := r.instance("fallback", nil)
	i.start(t, nil)
	i.waitReady(t)
	l := r.startLoad(ordinary(i))
	for range wanted(memoryAlarm) {
		l.waitAcked(10)
		r.cut(func() {
			broker.MemoryAlarm(t, true)
			counts.add(memoryAlarm)
			pause(t.Context(), 30*time.Second)
			l.waitAcked(1)
			broker.MemoryAlarm(t, false)
		})
		l.waitAcked(10)
		i.waitReady(t)
	}
	l.finish()
	r.verify()
	i.stop(t)
}

// filler is the body of a message that only takes room.
const filler = "{}"

func fillers(n int) []*amqp.Message {
	list := make([]*amqp.Message, n)
	for i := range list {
		list[i] = &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Data: [][]byte{[]byte(filler)}}
	}
	return list
}

// full has the queues full for a while, and then somebody who empties them.
func full(t *testing.T, b namedBroker) {
	broker, isBrokerJ := b.shared(t), b.name == "Broker-J"
	if isBrokerJ {
		broker = b.private(t)
	}
	r := newRound(t, broker, newDirectory(t))
	for d := range r.queues {
		r.queues[d] = limitedQueue(t, broker, isBrokerJ)
	}
	i := r.instance("fallback", nil)
	for range wanted(queueFull + b.name) {
		i.start(t, nil)
		i.waitReady(t)
		l := r.startLoad(ordinary(i))
		r.cut(func() {
			eventually(t, "the queues to be full, and mail in the spool", patience, func() bool { return i.waiting() >= 20 })
			l.waitAcked(20)
			counts.add(queueFull + b.name)
			r.pause(500*time.Millisecond, 2*time.Second)
			var consumers []*testbed.Consumer
			for _, queue := range r.queues {
				consumers = append(consumers, testbed.ConsumeRhea(t, broker, queue))
			}
			l.waitAcked(20)
			l.finish()
			i.waitEmpty(t)
			for d, c := range consumers {
				r.drained[d] = append(r.drained[d], c.Finish(t)...)
			}
		})
		i.stop(t)
	}
	if isBrokerJ {
		must(t, broker.Stop())
		must(t, broker.Start())
	}
	i.start(t, nil)
	r.verify()
	i.stop(t)
}

// limitedQueue makes a queue that is soon full.
//
// QUIRK: a link that Broker-J detaches because a queue is full leaves there what it had put there before of the same
// burst: it counts, and nobody sees it until the broker is started again. The queue must be larger than all that is in
// flight, so that it is not full for good.
func limitedQueue(t *testing.T, b *testbed.AMQPBroker, isBrokerJ bool) string {
	t.Helper()
	if !isBrokerJ {
		return b.SmallQueue(t)
	}
	const limit = 300
	queue := b.LimitedQueue(t, limit)
	b.Send(t, queue, fillers(limit-testbed.SmallQueueLimit)...)
	return queue
}

// deleted has the queues deleted under lsmtpd's links, and made again. What was in them is taken out before.
func deleted(t *testing.T, b namedBroker) {
	broker := b.shared(t)
	r := newRound(t, broker, newDirectory(t))
	for d := range r.queues {
		r.queues[d] = broker.MissingQueue(t)
		broker.CreateQueue(t, r.queues[d])
	}
	i := r.instance("fallback", nil)
	i.start(t, nil)
	for range wanted(queueDeleted + b.name) {
		i.waitReady(t)
		l := r.startLoad(ordinary(i))
		l.waitAcked(30)
		l.finish()
		i.waitEmpty(t)
		r.drain()
		r.cut(func() {
			for _, queue := range r.queues {
				broker.DeleteQueue(t, queue)
			}
			counts.add(queueDeleted + b.name)
			l = r.startLoad(ordinary(i))
			l.waitAcked(30)
			for _, queue := range r.queues {
				broker.CreateQueue(t, queue)
			}
		})
		l.waitAcked(30)
		l.finish()
		i.waitEmpty(t)
	}
	r.verify()
	i.stop(t)
}
