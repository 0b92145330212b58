package publish

import (
	"context"
	"sync/atomic"
	"time"
)

// gate is the context of one send. It tells, without a race, whether the
// connection's writer has begun to write the delivery's first transfer frame.
//
// go-amqp asks the context of a frame for its Err in one place only: in the
// writer, right before the frame goes to the socket. Asking opens the gate,
// unless abandon came first, and then the writer drops the frame. It also asks
// for a Deadline, which would become the deadline of the shared socket; there
// is none.
type gate struct {
	state atomic.Int32 // gateWaiting, then one of the others for good
	done  chan struct{}
}

const (
	gateWaiting = iota
	gateBegun
	gateAbandoned
)

func newGate() *gate { return &gate{done: make(chan struct{})} }

// abandon gives the send up. It reports whether that was in time: true means that no frame was or will be written.
func (g *gate) abandon() bool {
	if g.state.CompareAndSwap(gateWaiting, gateAbandoned) {
		close(g.done)
	}
	return g.state.Load() == gateAbandoned
}

// begun reports whether the writer has begun with the first frame.
func (g *gate) begun() bool { return g.state.Load() == gateBegun }

func (g *gate) Deadline() (time.Time, bool) { return time.Time{}, false }
func (g *gate) Done() <-chan struct{}       { return g.done }
func (g *gate) Value(any) any               { return nil }

func (g *gate) Err() error {
	g.state.CompareAndSwap(gateWaiting, gateBegun)
	if g.state.Load() == gateAbandoned {
		return context.Canceled
	}
	return nil
}
