//go:build integration

package faults

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/integration/testbed"
)

// scenario is a way to lead a mail through some steps.
type scenario struct {
	name  string
	mode  string   // spool.mode
	armed settings // others, in the life that ends at a step
	full  bool     // in that life, the queues are full
	away  bool     // in that life, the broker is away until the mail is acknowledged
	gone  bool     // the client breaks off
	steps []reach
}

// reach says which mails come to a step. The others must not.
type reach struct {
	step     string
	contents []content
}

var (
	everyMail  = contents
	withObject = []content{onePut, multipart}
)

// scenarios reach every step with every content that can come to it. A mail without an attachment writes no intents,
// puts nothing and deletes nothing, and its record need not say that it was sent; an object of one PUT has no parts.
var scenarios = []scenario{
	{name: "accepted", mode: "fallback", steps: []reach{
		{"intent.uploading.written", withObject}, {"intent.uploading.synced", withObject},
		{"upload.part", []content{multipart}}, {"upload.complete", withObject}, {"data.ended", everyMail},
		{"intent.publishing.written", withObject}, {"intent.publishing.synced", withObject},
		{"transfer.begun", everyMail}, {"transfer.settled", everyMail},
		{"reply.before", everyMail}, {"reply.after", everyMail},
	}},
	{name: "spooled", mode: "fallback", away: true, steps: []reach{
		{"spool.written", everyMail}, {"spool.synced", everyMail}, {"spool.renamed", everyMail}, {"spool.durable", everyMail},
		{"intent.dropped", withObject}, {"reply.before", everyMail},
		{"replay.begun", everyMail}, {"replay.fitted", everyMail}, {"replay.sent.synced", withObject},
		{"transfer.begun", everyMail}, {"transfer.settled", everyMail}, {"replay.settled", everyMail}, {"replay.removed", everyMail},
	}},
	{name: "always", mode: "always", steps: []reach{
		{"raw.written", everyMail}, {"raw.durable", everyMail}, {"intent.dropped", withObject},
		{"intent.uploading.written", withObject}, {"intent.uploading.synced", withObject},
		{"upload.part", []content{multipart}}, {"upload.complete", withObject},
		{"replay.extracted", everyMail}, {"replay.prepared", everyMail}, {"replay.raw.removed", everyMail},
	}},
	{name: "refused", mode: "fallback", full: true, armed: settings{"spool.max_bytes": "1", "broker.settle_timeout": "1s", "spool.after": "1s"}, steps: []reach{
		{"intent.refused.synced", withObject}, {"undo.deleted", withObject},
	}},
	{name: "client gone", mode: "fallback", gone: true, steps: []reach{{"undo.deleted", withObject}}},
}

// stepKills is how many kills there are when every step is reached once with every content.
func stepKills() (n int) {
	for _, s := range scenarios {
		for _, r := range s.steps {
			n += len(r.contents)
		}
	}
	return n
}

// TestEveryStep wants a scenario for every step that lsmtpd has.
func TestEveryStep(t *testing.T) {
	reached := map[string]bool{}
	for _, s := range scenarios {
		for _, r := range s.steps {
			reached[r.step] = true
			if !slices.Contains(failpoint.Names, r.step) {
				t.Errorf("there is no step %s", r.step)
			}
		}
	}
	for _, name := range failpoint.Names {
		if !reached[name] {
			t.Errorf("no scenario comes to the step %s", name)
		}
	}
}

// stepRounds are one for each scenario; in the long run, several, on two brokers.
func stepRounds() (list []namedRound) {
	repetitions := 1
	if long {
		repetitions = 5
	}
	for _, s := range scenarios {
		for n := range repetitions {
			list = append(list, namedRound{fmt.Sprintf("killed at a step, %s %d", s.name, n+1), func(t *testing.T) {
				broker := testbed.RabbitMQ
				if n%2 == 1 && !s.full { // a full queue of Artemis gives no credit, which takes its time
					broker = testbed.Artemis
				}
				s.run(t, broker(t))
			}})
		}
	}
	return list
}

// stage is where a scenario takes place.
type stage struct {
	*round
	scenario
	lsmtpd *instance
	link   *testbed.Proxy // to the broker
	armed  settings
}

func (s scenario) run(t *testing.T, broker *testbed.AMQPBroker) {
	behind, link := broker.Proxied(t)
	r := newRound(t, behind, newBucket(t))
	st := &stage{round: r, scenario: s, link: link, lsmtpd: r.instance(s.mode, nil), armed: settings{}.With(s.armed)}
	st.lsmtpd.program = testbed.BuildFailpoints(t)
	if s.full {
		st.fill(t)
	}
	steps := slices.Clone(s.steps)
	r.rand.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, reach := range steps {
		for _, c := range contents {
			st.cell(reach.step, c, slices.Contains(reach.contents, c))
			if t.Failed() {
				t.Fatalf("the step %s, %v", reach.step, c)
			}
		}
	}
	st.lsmtpd.start(t, nil)
	r.verify()
	st.lsmtpd.stop(t)
}

// fill makes full queues, for armed lives.
func (s *stage) fill(t *testing.T) {
	var addresses []string
	for range domains {
		queue := s.broker.SmallQueue(t)
		fillQueue(t, s.broker, queue)
		addresses = append(addresses, s.broker.Address(queue))
	}
	full := s.lsmtpd.config + ".full"
	must(t, writeRoutes(full, addresses))
	s.armed["broker.address"] = addresses[0]
	s.armed["config"] = full
}

// cell has lsmtpd die at a step, starts it again and has the client send the mail again.
func (s *stage) cell(step string, c content, reached bool) {
	t, i := s.t, s.lsmtpd
	t.Helper()
	m := s.ledger.add(c, destinations(s.rand)...)
	if s.away {
		s.link.Refuse(true)
		s.link.Reset()
	}
	i.startArmed(t, s.armed, step, 1)
	s.kill(func() {
		s.lead(m)
		if reached {
			eventually(t, fmt.Sprintf("the death at %s, %v", step, c), 30*time.Second, func() bool { return !i.Running() })
			if code := i.ExitCode(t, patience); code != -1 {
				t.Errorf("lsmtpd has ended with exit code %d, instead of dying at %s, %v", code, step, c)
			}
			counts.add(killAtStep)
		}
	})
	if !reached {
		i.waitEmpty(t)
		if !i.Running() {
			t.Errorf("lsmtpd has died at %s, to which a mail with %v must not come", step, c)
			return
		}
		i.stop(t)
	}
	s.link.Refuse(false)
	i.start(t, nil)
	if m.queued == "" {
		s.deliver(m)
	}
	i.waitEmpty(t)
	i.stop(t)
}

// lead sends the mail once, to an lsmtpd that may die of it.
func (s *stage) lead(m *mail) {
	c, err := dialSMTP(s.t.Context(), s.lsmtpd.smtp)
	if err == nil {
		defer c.close()
		if s.gone {
			err = s.breakOffLate(c, m)
		} else {
			err = c.deliver(m)
		}
	}
	if isPermanent(err) {
		s.t.Errorf("mail %d is refused for good: %v", m.number, err)
	}
	s.link.Refuse(false)
}

// deliver sends the mail until it is acknowledged.
func (r *round) deliver(m *mail) {
	r.t.Helper()
	i := r.all[0]
	eventually(r.t, fmt.Sprintf("mail %d to be acknowledged", m.number), patience, func() bool {
		c, err := dialSMTP(r.t.Context(), i.smtp)
		if err != nil {
			return false
		}
		defer c.close()
		err = c.deliver(m)
		if isPermanent(err) {
			r.t.Errorf("mail %d is refused for good: %v", m.number, err)
			return true
		}
		return err == nil
	})
}

// breakOffLate sends all but the end of data, and is gone when the object is in the store.
func (s *stage) breakOffLate(c *client, m *mail) error {
	before, err := s.store.keys(s.t.Context())
	must(s.t, err)
	octets := m.message()
	if err := c.begin(m, len(octets)); err != nil {
		return err
	}
	if err := c.write(octets); err != nil {
		return err
	}
	if m.content != noAttachment {
		eventually(s.t, "the object in the store", patience, func() bool {
			now, err := s.store.keys(s.t.Context())
			return err == nil && len(now) > len(before)
		})
	}
	return errors.Join(c.conn.SetLinger(0), errLost)
}

// fillQueue fills a small queue.
func fillQueue(t *testing.T, b *testbed.AMQPBroker, queue string) {
	t.Helper()
	b.Send(t, queue, fillers(testbed.SmallQueueLimit)...)
}
