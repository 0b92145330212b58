package publish

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/schema"
)

// TestManyDestinations: their links share connections, as many on each as every broker allows, and those that nobody
// keeps go when they are idle.
func TestManyDestinations(t *testing.T) {
	broker, raw := devbroker.Start(t, devbroker.Config{})
	u, err := ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{ContainerID: "test", Logger: slog.New(slog.DiscardHandler)})
	p.cfg.URLs = append(p.cfg.URLs, u)
	p.Keep("kept", "dropped")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	publish := func(address, id string) {
		t.Helper()
		if err := p.Publish(t.Context(), Delivery{Address: address, Body: []byte("{}"), Properties: schema.Properties{MessageID: id}}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	const n = 2*perConnection + 1
	var sending sync.WaitGroup
	for i := range n {
		sending.Go(func() { publish(fmt.Sprintf("to-%d", i), "1") })
	}
	sending.Wait()
	if got := broker.Connections(); got != 3 {
		t.Errorf("%d connections for %d destinations, want 3", got, n+2)
	}
	p.Keep("kept")
	p.closeIdle(time.Now().Add(idleTime - time.Minute))
	if got := len(p.destinations); got != n+2 {
		t.Errorf("%d destinations before their time, want %d", got, n+2)
	}
	p.closeIdle(time.Now().Add(idleTime))
	if got := len(p.destinations); got != 1 || p.destinations["kept"] == nil {
		t.Errorf("%d destinations, want the one that is kept", got)
	}
	publish("to-0", "2")
	if got := len(broker.Messages("to-0")); got != 2 {
		t.Errorf("%d messages, want 2", got)
	}
}
