package bridge

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/route"
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
