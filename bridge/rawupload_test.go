package bridge_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"lsmtpd/bridge"
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
