//go:build integration

package clients

import (
	"testing"

	"github.com/minio/minio-go/v7"

	"lsmtpd/integration/testbed"
)

// TestWholeWay has both relays hand over mail that goes on to a real broker and a real store, and is read there by
// others than lsmtpd.
func TestWholeWay(t *testing.T) {
	broker, store := testbed.Artemis(t), testbed.MinIO(t)
	queue := broker.Queue(t)
	b := &bridge{smtp: loopback(t), smtps: loopback(t), lmtp: loopback(t), socket: socketDir(t) + "/lmtp.sock"}
	s := b.listening(t)
	s["broker.url"], s["broker.address"] = broker.URL, queue
	s["store.url"], s["store.access_key"], s["store.secret_key"] = store.StoreURL("clients"), store.AccessKey, store.SecretKey
	b.run(t, s)

	sent := newMail(t, 20_000_000)
	p := testbed.StartPostfix(t, postfixTo(t, "smtp:"+bracketed(t, b.smtp), true))
	sent.submit(t, p.Addr, recipients...)
	wantSent(t, p.Deliveries(t, len(recipients)), len(recipients))
	e := testbed.NewExim(t, b.smtp, append(eximTLS(t), eximChunks)...)
	wantSent(t, e.Send(t, "a@example.org", recipients, sent.path), len(recipients))

	client, err := store.Client()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, received := range testbed.ReceiveRhea(t, broker, queue, 2) {
		m := decode(t, received.Body)
		wantEnvelope(t, m, "ESMTPS", recipients...)
		wantText(t, m)
		o := wantAttachment(t, m, sent.octets, sent.sum)
		if o.Bucket == nil || *o.Bucket != store.Bucket {
			t.Fatalf("the object is %+v, want it in %s", o, store.Bucket)
		}
		object, err := client.GetObject(t.Context(), store.Bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, object, sent.octets, sent.sum)
		object.Close()
		keys[o.Key] = true
	}
	if len(keys) != 2 {
		t.Errorf("two mails are in %d objects", len(keys))
	}
	if rest := broker.Drain(t, queue); len(rest) != 0 {
		t.Errorf("there are %d more messages in the queue", len(rest))
	}
}
