package bridge

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/route"
	"lsmtpd/schema"
)

// silentBroker answers nobody: first attempts go on for ever.
type silentBroker struct{ publisher }

func (silentBroker) Keep(...string)      {}
func (silentBroker) Health(string) error { return errors.New("not connected yet") }

func (silentBroker) Ready(ctx context.Context, _ string) error {
	pause(ctx, publish.FirstAttemptWait)
	return errors.New("not connected yet")
}

// TestReadyOfManyAddresses: MAIL waits for a first attempt, and not for one after the other.
func TestReadyOfManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes []route.Route
		for n := range 20 {
			address, err := route.ParseTemplate(fmt.Sprint("queue", n), 100)
			if err != nil {
				t.Fatal(err)
			}
			routes = append(routes, route.Route{Address: address})
		}
		b := &Bridge{publisher: silentBroker{}}
		b.SetRoutes(route.NewTable(routes, "mail", "mx.example.com"))
		begun := time.Now()
		if err := b.ready(t.Context()); err == nil || time.Since(begun) > publish.FirstAttemptWait {
			t.Errorf("%v after %v, want an error within %v", err, time.Since(begun), publish.FirstAttemptWait)
		}
	})
}

// TestSettleTimeoutBoundsTheLink: a reply does not wait longer for the first attempt at a link than settle_timeout lets it.
func TestSettleTimeoutBoundsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := resolving(t, &slowStore{})
		b.publisher, b.metrics, b.cfg.SpoolAfter = silentBroker{}, newMetrics(prometheus.NewRegistry()), publish.FirstAttemptWait
		tr, d := &transaction{bridge: b, id: newID().String()}, &delivery{id: newID().String()}
		settle, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		tr.deliver(settle, t.Context(), &schema.Message{ID: d.id, TransactionID: tr.id, Email: schema.Email{BodyStructure: &schema.BodyPart{}}}, d)
		if took := time.Since(begun); d.err != nil || !d.spooled || took != time.Second {
			t.Errorf("%v, spooled %v, after %v; want it spooled after a second", d.err, d.spooled, took)
		}
	})
}
