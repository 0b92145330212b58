package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/route"
	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// raw is a bed's option to store the raw message.
func raw(cfg *bridge.Config) { cfg.StoreRaw = true }

// takeRaw is take for a bed that stores the raw message, which has to be what was sent.
func (b *bed) takeRaw(body []byte) *schema.Message {
	b.t.Helper()
	m := b.take(body)
	if m.Email.BlobID == nil || *m.Email.BlobID != schema.RawBlobID {
		b.t.Fatalf("email.blobId %v, want raw", m.Email.BlobID)
	}
	blob := m.Blobs[schema.RawBlobID]
	if blob.Stored == nil || !strings.HasSuffix(blob.Stored.Key, "/"+m.TransactionID+"/raw") {
		b.t.Errorf("raw blob %+v, want it under the transaction's key", blob)
	}
	if got := b.octets(m, schema.RawBlobID); !bytes.Equal(got, body) {
		b.t.Errorf("the raw object has %d octets that are not the %d sent", len(got), len(body))
	}
	return m
}

// The raw message is stored octet for octet, whatever its size and however it arrives.
func TestRaw(t *testing.T) {
	b := newBed(t, options{bridge: raw})
	const buffer = 64 << 10 // of the store
	for _, n := range []int{0, 1, 2, buffer - 1, buffer, buffer + 1, 5*buffer + 17} {
		b.takeRaw(payload(n))
	}
	for _, body := range [][]byte{letter(), letter(large, large), crlf("Subject: no body"), []byte("no header\n\nbare\rends")} {
		b.takeRaw(body)
		if got := b.deliver(iotest.OneByteReader(bytes.NewReader(body))); got != "250" {
			t.Errorf("reply %q, octet by octet", got)
		}
	}
}

func TestRawIsOffByDefault(t *testing.T) {
	b := newBed(t, options{})
	m := b.take(letter())
	if _, ok := m.Blobs[schema.RawBlobID]; ok || m.Email.BlobID != nil || len(b.objects()) != 0 {
		t.Errorf("blobId %v, blobs %v, objects %v", m.Email.BlobID, m.Blobs, b.objects())
	}
}

// An upload of the raw message that fails ends the message at once: no more of it is read, and nothing is left.
func TestRawFails(t *testing.T) {
	body := letter(1 << 20)
	for name, c := range map[string]struct {
		set     func(*faultyStore)
		most    int // octets read
		reply   string
		outcome string
	}{
		"at once":            {set: func(s *faultyStore) { s.denied = objectstore.ErrDenied }, most: 64 << 10, reply: "451 4.3.1", outcome: "store-failed"},
		"in the middle":      {set: func(s *faultyStore) { s.failAt = 1 }, most: 300_000, reply: "451 4.3.1", outcome: "store-failed"},
		"for want of memory": {set: func(s *faultyStore) { s.denied = objectstore.ErrNoMemory }, most: 64 << 10, reply: "451 4.3.1", outcome: "no-memory"},
		"at its end":         {set: func(s *faultyStore) { s.failsLate = "/raw" }, most: len(body), reply: "451 4.3.1", outcome: "store-failed"},
		"short":              {set: func(s *faultyStore) { s.lies = true }, most: len(body), reply: "451 4.3.1", outcome: "store-failed"},
		"with a panic":       {set: func(s *faultyStore) { s.panics = "/raw" }, most: 64 << 10, reply: "451 4.3.0", outcome: "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, options{bridge: raw})
			c.set(b.store)
			r := &counting{r: bytes.NewReader(body)}
			if got := b.deliver(r); got != c.reply {
				t.Errorf("reply %q, want %q", got, c.reply)
			}
			b.wantNoUpload()
			if r.n > c.most {
				t.Errorf("%d octets were read, want at most %d", r.n, c.most)
			}
			if got := b.objects(); len(got) != 0 {
				t.Errorf("the store holds %v", got)
			}
			if got := b.metric("lsmtpd_transactions_total", c.outcome); got != 1 {
				t.Errorf("%v transactions counted as %s, want 1", got, c.outcome)
			}
			if got := b.metric("lsmtpd_parts_total", ""); got > 2 {
				t.Errorf("%v parts counted of 2", got)
			}
			if got := b.metric("lsmtpd_uploads_total", "failed"); name != "short" && name != "with a panic" && got == 0 {
				t.Error("no upload counted as failed")
			}
		})
	}
}

// A message that ends in any way but at its end of data never becomes a raw object, not even for a moment.
func TestRawIsNeverCutShort(t *testing.T) {
	body := letter(large, large)
	for name, end := range map[string]error{
		"lost":         fmt.Errorf("%w: connection reset", bridge.ErrIncomplete),
		"unexpected":   io.ErrUnexpectedEOF,
		"wrapped":      fmt.Errorf("%w: not the end", io.EOF),
		"refused":      &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 0}},
		"too large":    nil,
		"a part fails": nil,
		"gone":         nil,
		"nothing came": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, options{bridge: func(c *bridge.Config) {
				if c.StoreRaw = true; name == "too large" {
					c.MaxMessageBytes = int64(len(body)) - 1
				}
			}})
			if name == "a part fails" {
				b.store.failAt = 3
			}
			s, err := b.session(0)
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r := io.MultiReader(bytes.NewReader(body), &failing{end})
			switch name {
			case "too large", "a part fails":
				r = bytes.NewReader(body)
			case "gone": // the reader does not know yet
				r = io.MultiReader(bytes.NewReader(body[:len(body)/2]), &hook{leave}, bytes.NewReader(body[len(body)/2:]))
			case "nothing came":
				r = &failing{bridge.ErrIncomplete}
			}
			if _, errs := s.Deliver(ctx, r); errs[0] == nil {
				t.Error("250")
			}
			b.wantNoUpload()
			for _, key := range b.store.complete {
				if strings.HasSuffix(key, "/raw") {
					t.Errorf("%s was complete", key)
				}
			}
			if got := b.objects(); len(got) != 0 {
				t.Errorf("the store holds %v", got)
			}
		})
	}
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// The raw upload is an upload, and no part.
func TestRawMetrics(t *testing.T) {
	b := newBed(t, options{bridge: raw})
	body := letter(large)
	b.takeRaw(body)
	if got := b.metric("lsmtpd_parts_total", ""); got != 2 {
		t.Errorf("%v parts, want 2", got)
	}
	if got := b.metric("lsmtpd_uploads_total", "complete"); got != 2 {
		t.Errorf("%v uploads, want 2", got)
	}
	if got := b.metric("lsmtpd_uploaded_bytes_total", ""); got != float64(large+len(body)) {
		t.Errorf("%v octets uploaded, want %d", got, large+len(body))
	}
}

func TestRawWithoutDigest(t *testing.T) {
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.StoreRaw, c.Digest = true, false }})
	body := letter(large)
	if got := b.deliver(bytes.NewReader(body)); got != "250" {
		t.Fatalf("reply %q", got)
	}
	b.validate()
	m := b.published()[0]
	blob := m.Blobs[schema.RawBlobID]
	if blob.SHA256 != nil || m.Email.SHA256 != nil || blob.Size != int64(len(body)) || !bytes.Equal(b.octets(m, schema.RawBlobID), body) {
		t.Errorf("blob %+v, email.sha256 %v", blob, m.Email.SHA256)
	}
}

// The time for the end of the raw upload is that until the reply.
func TestRawSettleTimeout(t *testing.T) {
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.StoreRaw, c.SettleTimeout = true, soon }})
	b.store.hangs = true
	if got := b.deliver(bytes.NewReader(letter())); got != "451 4.3.1" {
		t.Errorf("reply %q, want 451 4.3.1: the store has taken all the time", got)
	}
	if got := len(b.published()) + len(b.objects()); got != 0 {
		t.Errorf("%d messages and objects are left", got)
	}
}

// Where the message is moved to the store to fit the link, the raw message is not: it is there.
func TestRawFitted(t *testing.T) {
	b := newBed(t, options{bridge: raw, broker: devbroker.Config{MaxMessageSize: 12_000}})
	m := b.takeRaw(append([]byte("X-Long: "+strings.Repeat("x", 20_000)+"\r\n"), letter(20_000)...))
	if m.Email.HeadersBlobID == nil || m.Blobs["b2"].Stored == nil {
		t.Errorf("headersBlobId %v, blob %+v; want both moved", m.Email.HeadersBlobID, m.Blobs["b2"])
	}
	if got := len(b.objects()); got != 3 {
		t.Errorf("%d objects, want the raw message, the header and a part", got)
	}
}

// rawTable is routes of which one leaves the raw message to the default, one wants it, and one does not.
func rawTable(t *testing.T) *route.Table {
	t.Helper()
	a, err := route.ParseTemplate(address, route.MaxAddress)
	if err != nil {
		t.Fatal(err)
	}
	routes := []route.Route{}
	for domain, raw := range map[string]route.Raw{"default.example": route.DefaultRaw, "store.example": route.StoreRaw, "off.example": route.NoRaw} {
		p, err := route.ParsePattern(domain)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, route.Route{Match: []route.Pattern{p}, Address: a, OffloadThreshold: route.DefaultThreshold, Raw: raw})
	}
	return route.NewTable(routes, "", "mx.example.com")
}

// TestRawByRoute: the raw message is stored if the route of any recipient wants it.
func TestRawByRoute(t *testing.T) {
	for _, byDefault := range []bool{false, true} {
		b := newBed(t, options{bridge: func(c *bridge.Config) { c.StoreRaw, c.Routes = byDefault, rawTable(t) }})
		for to, want := range map[string]bool{
			"a@default.example": byDefault, "a@store.example": true, "a@off.example": false,
			"a@off.example b@default.example": byDefault, "a@off.example b@store.example": true,
		} {
			b.broker.Purge(address)
			s, err := b.session(0, strings.Fields(to)...)
			if err != nil {
				t.Fatal(err)
			}
			if _, errs := s.Deliver(t.Context(), bytes.NewReader(letter())); errs[0] != nil {
				t.Fatal(errs)
			}
			m := b.published()[0]
			if got := m.Email.BlobID != nil; got != want || m.Blobs[schema.RawBlobID].Stored != nil != want {
				t.Errorf("default %v, to %s: raw %v, want %v", byDefault, to, got, want)
			}
		}
	}
}

// Deliveries of one transaction share the raw object.
func TestRawOfSeveralDestinations(t *testing.T) {
	b := newBed(t, options{bridge: func(c *bridge.Config) { c.StoreRaw, c.Routes = true, table(t) }})
	eventually(t, "both links are attached", func() bool { return b.publisher.Health(address) == nil && b.publisher.Health("other") == nil })
	s := b.NewSession(t.Context(), bridge.Peer{Protocol: "LMTP"})
	if err := s.Mail("a@example.org", nil); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"invoices@example.com", "x@example.org"} {
		if err := s.Rcpt(to, nil); err != nil {
			t.Fatal(err)
		}
	}
	body := letter()
	if _, errs := s.Deliver(t.Context(), bytes.NewReader(body)); errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	keys := map[string]bool{}
	for _, queue := range []string{address, "other"} {
		for _, m := range b.queue(queue) {
			keys[m.Blobs[schema.RawBlobID].Stored.Key] = true
			if !bytes.Equal(b.octets(m, schema.RawBlobID), body) {
				t.Errorf("%s: not the octets that were sent", queue)
			}
		}
	}
	if len(keys) != 1 {
		t.Errorf("keys %v, want one", keys)
	}
}

// With the store down, mail whose raw message is to be stored is refused as soon as that is known.
func TestRawWithoutStore(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bridge.Config)
		to     string
		want   string
		atMail bool
	}{
		"all mail":               {change: raw, to: "a@example.com", want: "451 4.3.1", atMail: true},
		"the default, by routes": {change: raw, to: "a@default.example", want: "451 4.3.1"},
		"one route":              {to: "a@store.example", want: "451 4.3.1"},
		"another route":          {to: "a@off.example", want: "250"},
		"no raw":                 {change: func(*bridge.Config) {}, to: "a@example.com", want: "250"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, options{bridge: func(cfg *bridge.Config) {
				if strings.HasSuffix(c.to, ".example") {
					cfg.Routes = rawTable(t)
				}
				if c.change != nil {
					c.change(cfg)
				}
			}})
			eventually(t, "the link is attached", func() bool { return b.publisher.Health(address) == nil })
			b.store.setDown(objectstore.ErrUnavailable)
			eventually(t, "the loss of the store is noticed", func() bool {
				if b.StoreHealth() == nil {
					if s, err := b.session(0, c.to); err == nil {
						_, _ = s.Deliver(t.Context(), bytes.NewReader(letter(large)))
					}
				}
				return b.StoreHealth() != nil
			})
			s := b.NewSession(t.Context(), bridge.Peer{Protocol: "ESMTP"})
			err := s.Mail("a@example.org", nil)
			if got := err != nil; got != c.atMail {
				t.Errorf("MAIL: %v, want it refused: %v", err, c.atMail)
			}
			if err == nil {
				err = s.Rcpt(c.to, nil)
			}
			if got := replyText(t, err); got != c.want {
				t.Errorf("reply %q, want %q", got, c.want)
			}
			if got := b.metric("lsmtpd_mail_refused_total", "store"); got != 1 && c.want != "250" {
				t.Errorf("%v refusals counted, want 1", got)
			}
		})
	}
}

// With a spool, the message waits there for the store, small as it may be, and its raw message is stored then.
func TestRawSpooled(t *testing.T) {
	for name, change := range map[string]func(*bridge.Config){
		"store down": raw,
		"always":     func(c *bridge.Config) { c.StoreRaw, c.SpoolAlways = true, true },
		"by a route": func(c *bridge.Config) { c.Routes = rawTable(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpool(t, spool.Config{})
			b := newBed(t, options{bridge: func(c *bridge.Config) { c.Spool = s; change(c) }})
			b.store.setDown(objectstore.ErrUnavailable)
			eventually(t, "the loss of the store is noticed", func() bool {
				x, err := b.session(0, "a@store.example")
				if err == nil {
					_, _ = x.Deliver(t.Context(), bytes.NewReader(letter()))
				}
				return b.StoreHealth() != nil
			})
			body := letter()
			x, err := b.session(int64(len(body)), "a@store.example")
			if err != nil {
				t.Fatal(err)
			}
			id, errs := x.Deliver(t.Context(), bytes.NewReader(body))
			if errs[0] != nil {
				t.Fatal(errs)
			}
			if got := s.Stats().Waiting; got == 0 {
				t.Error("nothing is in the spool")
			}
			b.store.setDown(nil)
			eventually(t, "the spool is empty", func() bool { return s.Stats().Waiting == 0 })
			for _, m := range b.published() {
				if !bytes.Equal(b.octets(m, schema.RawBlobID), body) || m.Email.BlobID == nil {
					t.Errorf("%s: not the octets that were sent", m.TransactionID)
				}
				if m.TransactionID == id {
					id = ""
				}
			}
			if id != "" {
				t.Errorf("%s was not published", id)
			}
			if got := s.Intents(); len(got) != 0 {
				t.Errorf("intents %v, want none", got)
			}
		})
	}
}
