//go:build integration

package faults

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// published is a message that was in a queue.
type published struct {
	*schema.Message
	destination int
	number      int
}

// drain takes everything out of the queues.
func (r *round) drain() {
	r.t.Helper()
	for d, queue := range r.queues {
		r.drained[d] = append(r.drained[d], testbed.DrainRhea(r.t, r.broker, queue)...)
	}
}

// verify waits until everything has settled, empties the queues, and compares.
func (r *round) verify() {
	r.t.Helper()
	for _, i := range r.all {
		i.waitEmpty(r.t)
	}
	r.drain()
	r.compare()
}

// compare compares what was drained, and what is in the store, with the ledger.
func (r *round) compare() {
	r.t.Helper()
	list := r.read()
	r.compareMails(list)
	r.compareObjects(list)
	r.compareCopies(list)
	for _, i := range r.all {
		if failed, ok := i.metric(`lsmtpd_spool_records{state="failed"}`); i.spool != "" && (!ok || failed != 0) {
			r.wrong("records set aside: %v (known: %v), want none", failed, ok)
		}
	}
}

// read makes of what was drained what the ledger knows.
func (r *round) read() (list []published) {
	r.t.Helper()
	for d, received := range r.drained {
		for _, raw := range received {
			if string(raw.Body) == filler {
				continue
			}
			m, err := schema.Decode(raw.Body)
			if err != nil {
				r.wrong("a message cannot be read: %v: %.200s", err, raw.Body)
				continue
			}
			if raw.MessageID != m.ID {
				r.wrong("the message-id is %q, the message says %q", raw.MessageID, m.ID)
			}
			n, err := number(m)
			if err != nil || n >= len(r.ledger.mails) {
				r.wrong("a message of mail %d, which was not sent: %v", n, err)
				continue
			}
			list = append(list, published{m, d, n})
		}
	}
	return list
}

// number is that of the mail.
func number(m *schema.Message) (int, error) {
	for _, h := range m.Email.Headers {
		if h.Name == "X-Number" {
			return strconv.Atoi(strings.TrimSpace(h.Value))
		}
	}
	return 0, fmt.Errorf("no number in message %s", m.ID)
}

// place is where a mail has to arrive.
type place struct{ number, destination int }

// compareMails looks for each mail at each of its destinations, and at each message for what was sent.
func (r *round) compareMails(list []published) {
	r.t.Helper()
	there := map[place][]published{}
	transactions := map[string]bool{}
	for _, p := range list {
		there[place{p.number, p.destination}] = append(there[place{p.number, p.destination}], p)
		transactions[fmt.Sprint(p.TransactionID, p.destination)] = true
		r.compareMessage(p, r.ledger.mails[p.number])
	}
	for _, m := range r.ledger.all() {
		if m.queued == "" {
			continue
		}
		for _, d := range m.destinations {
			switch {
			case len(there[place{m.number, d}]) == 0:
				r.wrong("LOST: mail %d (%v), acknowledged as %s, is not in queue %d", m.number, m.content, m.queued, d)
			case !transactions[fmt.Sprint(m.queued, d)]:
				r.wrong("LOST: mail %d (%v), acknowledged as %s, is in queue %d by another transaction alone", m.number, m.content, m.queued, d)
			}
		}
	}
}

// compareMessage compares one message with its mail.
func (r *round) compareMessage(p published, m *mail) {
	if !slices.Contains(m.destinations, p.destination) {
		r.wrong("mail %d is in queue %d, and was sent to %v", m.number, p.destination, m.destinations)
	}
	if p.Email.SHA256 == nil || *p.Email.SHA256 != m.sha256 {
		r.wrong("message %s of mail %d has the SHA-256 %v, want %s", p.ID, m.number, p.Email.SHA256, m.sha256)
	}
	if rcpts := p.Envelope.RcptTo; len(rcpts) != 1 || rcpts[0].Email != recipient(p.destination) {
		r.wrong("message %s of mail %d is for %+v, want %s alone", p.ID, m.number, rcpts, recipient(p.destination))
	}
	if raw := p.Blobs[schema.RawBlobID]; (raw.Stored != nil && raw.SHA256 != nil && *raw.SHA256 == m.sha256) != r.raw {
		r.wrong("message %s of mail %d has the raw message %+v; want one with the digest of the mail: %v", p.ID, m.number, raw, r.raw)
	}
	if m.content == noAttachment {
		return
	}
	for _, b := range p.Blobs {
		if b.Stored != nil && b.SHA256 != nil && *b.SHA256 == m.attachment {
			return
		}
	}
	r.wrong("message %s of mail %d (%v) has no stored blob with the digest of its attachment", p.ID, m.number, m.content)
}

// compareObjects reads every object that a message refers to, and then wants no others but those in doubt.
func (r *round) compareObjects(list []published) {
	r.t.Helper()
	referred := map[string]schema.Blob{}
	for _, p := range list {
		for id, b := range p.Blobs {
			if b.Stored == nil {
				continue
			}
			key, err := r.store.key(b.Stored.Key)
			if err != nil || !strings.Contains(key, "/"+p.TransactionID+"/") && !strings.Contains(key, "/"+p.ID+"/") {
				r.wrong("blob %s of message %s, transaction %s, has the key %q: %v", id, p.ID, p.TransactionID, b.Stored.Key, err)
			}
			if other, seen := referred[key]; seen && *other.SHA256 != *b.SHA256 {
				r.wrong("two messages refer to %s with two digests", key)
			}
			referred[key] = b
		}
	}
	r.readObjects(referred)
	r.wantNoOthers(referred)
}

// readObjects compares the objects with what messages say of them.
func (r *round) readObjects(referred map[string]schema.Blob) {
	ctx, keys := r.t.Context(), make(chan string)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for key := range keys {
				b := referred[key]
				sum, octets, err := r.store.digest(ctx, key)
				if err != nil {
					r.wrong("MISSING: the object %s: %v", key, err)
				} else if octets != b.Size || sum != *b.SHA256 {
					r.wrong("the object %s has %d octets and the digest %s, its message says %d and %s", key, octets, sum, b.Size, *b.SHA256)
				}
			}
		})
	}
	for key := range referred {
		keys <- key
	}
	close(keys)
	readers.Wait()
}

// wantNoOthers waits until there is no object that belongs to no message, but for those in doubt, and no unfinished
// upload.
func (r *round) wantNoOthers(referred map[string]schema.Blob) {
	r.t.Helper()
	deadline := time.Now().Add(r.settles)
	for {
		wrong := r.others(r.t.Context(), referred)
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.wrong("%v after the last fault there are %d things that should not be: %.2000q", r.settles, len(wrong), wrong)
			return
		}
		pause(r.t.Context(), 500*time.Millisecond)
	}
}

// others says what is there that should not be.
func (r *round) others(ctx context.Context, referred map[string]schema.Blob) (wrong []string) {
	r.t.Helper()
	doubt := map[string]bool{}
	for _, i := range r.all {
		listed, more := i.inDoubt(r.t)
		maps.Copy(doubt, listed)
		wrong = append(wrong, more...)
	}
	keys, err := r.store.keys(ctx)
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if _, belongs := referred[key]; !belongs && !doubt[key] && !doubt[path.Base(path.Dir(key))] {
			wrong = append(wrong, "ORPHAN: "+key)
		}
	}
	uploads, err := r.store.uploads()
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	for _, u := range uploads {
		wrong = append(wrong, "unfinished upload: "+u)
	}
	return wrong
}

// compareCopies wants no more copies than were in flight at the cuts, and copies of a delivery to have one id.
func (r *round) compareCopies(list []published) {
	r.t.Helper()
	byID, byPlace := map[string]published{}, map[place]int{}
	sameID := 0
	for _, p := range list {
		byPlace[place{p.number, p.destination}]++
		first, seen := byID[p.ID]
		if !seen {
			byID[p.ID] = p
			continue
		}
		sameID++
		if first.number != p.number || first.destination != p.destination || first.TransactionID != p.TransactionID {
			r.wrong("two deliveries have the id %s: mails %d and %d, queues %d and %d", p.ID, first.number, p.number, first.destination, p.destination)
		}
	}
	copies := len(list) - len(byPlace)
	if most := r.inFlight(); copies > most {
		r.wrong("there are %d copies; %d deliveries were in flight at %d cuts", copies, most, len(r.cuts))
	} else {
		r.t.Logf("%d mails, %d messages, %d of them copies (%d with the same id); %d deliveries were in flight at %d cuts",
			len(r.ledger.mails), len(list), copies, sameID, most, len(r.cuts))
	}
}

// lostFor is how long lsmtpd may go on with a mail whose client has seen the connection end.
const lostFor = 5 * time.Second

// inFlight is how many deliveries were in flight at the cuts, counted once for each.
func (r *round) inFlight() (n int) {
	for _, c := range r.cuts {
		n += c.replays
	}
	for _, m := range r.ledger.all() {
		for _, a := range m.attempts {
			if a.sent.IsZero() {
				continue
			}
			end := r.ended(a)
			for _, c := range r.cuts {
				if !c.from.After(end) && !a.sent.After(c.to) {
					n += len(m.destinations)
				}
			}
		}
	}
	return n
}

// ended is when the last trace of a try was gone from lsmtpd.
func (r *round) ended(a attempt) time.Time {
	if a.reply != "" {
		return a.replied
	}
	end := a.replied.Add(lostFor)
	for _, c := range r.cuts {
		if c.kill && c.to.After(a.sent) && c.to.Before(end) {
			end = c.to
		}
	}
	return end
}
