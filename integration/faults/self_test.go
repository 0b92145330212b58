//go:build integration

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// forged is a round that no lsmtpd has taken part in: two mails, one for each destination, one with an attachment, as
// they should arrive.
type forged struct {
	*round
	objects directory
	found   []string // what the comparison has found wrong
}

func forge(t *testing.T) *forged {
	f := &forged{objects: newDirectory(t)}
	f.round = newRound(t, nil, f.objects)
	var mu sync.Mutex
	f.wrong = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		f.found = append(f.found, fmt.Sprintf(format, args...))
	}
	f.settles = 0
	for d, c := range []content{noAttachment, onePut} {
		m := f.ledger.add(c, d)
		m.queued = fmt.Sprint("t", m.number)
		m.attempts = []attempt{{sent: time.Now(), replied: time.Now(), reply: queuedAs + m.queued}}
		f.publish(d, f.message(m, fmt.Sprint("d", m.number)))
	}
	return f
}

// message is what lsmtpd publishes of a mail, as far as the comparison looks at it. Its object is in the store.
func (f *forged) message(m *mail, id string) *schema.Message {
	message := &schema.Message{Schema: schema.ID, ID: id, TransactionID: m.queued, Blobs: map[string]schema.Blob{}}
	message.Envelope.RcptTo = []schema.Address{{Email: recipient(m.destinations[0])}}
	message.Email.SHA256 = &m.sha256
	message.Email.Headers = []schema.Header{{Name: "X-Number", Value: fmt.Sprint(" ", m.number)}}
	if m.content != noAttachment {
		_, file := m.make()
		key := "2026/11/29/" + m.queued + "/2"
		f.put(key, file)
		message.Blobs["b2"] = schema.Blob{Size: int64(len(file)), SHA256: &m.attachment, Stored: &schema.Stored{Key: key}}
	}
	return message
}

func (f *forged) put(key string, octets []byte) {
	name := filepath.Join(f.objects.root, key)
	must(f.t, os.MkdirAll(filepath.Dir(name), 0o700))
	must(f.t, os.WriteFile(name, octets, 0o600))
}

func (f *forged) publish(destination int, m *schema.Message) {
	body, err := json.Marshal(m)
	must(f.t, err)
	f.drained[destination] = append(f.drained[destination], testbed.Received{MessageID: m.ID, Body: body})
}

// TestComparison wants the comparison to find what it is there for, and nothing where all is well.
func TestComparison(t *testing.T) {
	const object = "2026/11/29/t1/2"
	for name, c := range map[string]struct {
		spoil func(*forged)
		want  string // in what is found; empty: nothing is
	}{
		"all is well":        {},
		"a lost mail":        {func(f *forged) { f.drained[0] = nil }, "LOST: mail 0"},
		"a lost transaction": {func(f *forged) { f.ledger.mails[0].queued = "other" }, "by another transaction alone"},
		"a missing object":   {func(f *forged) { must(f.t, os.Remove(filepath.Join(f.objects.root, object))) }, "MISSING"},
		"a damaged object":   {func(f *forged) { f.put(object, []byte("other")) }, "has 5 octets"},
		"an orphan":          {func(f *forged) { f.put("2026/11/29/t7/2", nil) }, "ORPHAN: 2026/11/29/t7/2"},
		"an upload":          {func(f *forged) { f.put("2026/11/29/t7/2.part", nil) }, "unfinished upload"},
		"a changed mail":     {func(f *forged) { f.ledger.mails[0].sha256 = "other" }, "has the SHA-256"},
		"a lost attachment":  {func(f *forged) { f.ledger.mails[1].attachment = "other" }, "no stored blob"},
		"a lost raw message": {func(f *forged) { f.raw = true }, "has the raw message"},
		"a wrong queue":      {func(f *forged) { f.drained[0], f.drained[1] = f.drained[1], f.drained[0] }, "and was sent to"},
		"a copy too many": {func(f *forged) {
			f.publish(0, f.message(f.ledger.mails[0], "d7"))
		}, "there are 1 copies; 0 deliveries"},
		"a copy": {spoil: func(f *forged) {
			a := &f.ledger.mails[0].attempts[0]
			f.cuts = append(f.cuts, cut{from: a.sent, to: a.sent})
			f.publish(0, f.message(f.ledger.mails[0], "d0"))
		}},
		"one id for two": {func(f *forged) { f.publish(1, f.message(f.ledger.mails[1], "d0")) }, "two deliveries have the id d0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := forge(t)
			if c.spoil != nil {
				c.spoil(f)
			}
			f.compare()
			found := strings.Join(f.found, "\n")
			if c.want == "" && found != "" || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
