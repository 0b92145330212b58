package smtpd

import (
	"context"
	"errors"
	"sync"
	"time"
)

// watchInterval is how often a client is looked at while it waits for us.
const watchInterval = 250 * time.Millisecond

var (
	errReset        = errors.New("the client has reset the connection")
	errReplyTimeout = errors.New("no outcome before the client gives up")
)

// watch ends the context of a message when its client has reset the connection,
// or when the reply takes so long that it may give up. One that has sent a FIN
// still waits for its reply.
type watch struct {
	conn    *conn
	timeout time.Duration // from the end of data to the reply
	metrics *metrics

	mu       sync.Mutex
	timer    *time.Timer             // nil before the first message
	deadline time.Time               // of the reply; zero before the end of data
	stop     context.CancelCauseFunc // nil between messages
}

// begin watches over a message whose context stop ends.
func (w *watch) begin(stop context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop, w.deadline = stop, time.Time{}
	if w.timer == nil {
		w.timer = time.AfterFunc(watchInterval, w.look)
		return
	}
	w.timer.Reset(watchInterval)
}

// dataEnded notes that the client waits for the reply from now on.
func (w *watch) dataEnded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = after(w.timeout)
}

// cancel ends the message's context.
func (w *watch) cancel(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil {
		w.stop(cause)
	}
}

// end ends the watch over a message; when it returns, no look is under way.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = nil
	w.timer.Stop()
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stop == nil:
	case w.conn.isReset():
		w.stop(errReset)
	case !w.deadline.IsZero() && !time.Now().Before(w.deadline):
		w.metrics.limit(limitReplyTimeout)
		w.stop(errReplyTimeout)
	default:
		w.timer.Reset(watchInterval)
	}
}
