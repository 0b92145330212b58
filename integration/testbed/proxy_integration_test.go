//go:build integration

package testbed

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/minio/minio-go/v7"
)

// A broker is used through a proxy, loses its connection by it, and is used again.
func TestProxiedBroker(t *testing.T) {
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		direct := start(t)
		b, proxy := direct.Proxied(t)
		queue := b.Queue(t)
		proxy.Latency(2*time.Millisecond, time.Millisecond)
		b.Send(t, queue, durable("1"))
		begun := proxy.Total()
		err := b.withSession(t.Context(), func(session *amqp.Session) error {
			proxy.Reset()
			_, err := session.NewSender(t.Context(), b.Address(queue), nil)
			return err
		})
		if _, ok := errors.AsType[*amqp.ConnError](err); !ok {
			t.Errorf("after a reset: got %v, want that the connection is lost", err)
		}
		if live, total := proxy.Live(), proxy.Total(); live != 0 || total != begun+1 {
			t.Errorf("connections: got %d live of %d, want none of %d", live, total, begun+1)
		}
		b.Send(t, queue, durable("2"))
		if got := ids(direct.Drain(t, queue)); len(got) != 2 {
			t.Errorf("in the queue: got %v, want both messages", got)
		}
	})
}

func TestProxiedS3(t *testing.T) {
	s, proxy := VersityGW(t).Proxied(t)
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) error {
		_, err := client.PutObject(t.Context(), s.Bucket, key, strings.NewReader("content"), 7, minio.PutObjectOptions{})
		return err
	}
	if err := put("proxied/1"); err != nil {
		t.Fatal(err)
	}
	proxy.Refuse(true)
	proxy.Reset()
	if err := put("proxied/2"); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("while it refuses: got %v, want that there is no connection", err)
	}
	proxy.Refuse(false)
	if err := put("proxied/3"); err != nil {
		t.Error(err)
	}
}
