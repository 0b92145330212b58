package publish

import (
	"errors"
	"testing"

	"github.com/Azure/go-amqp"
)

// The peer's conditions, wrapped in the error of a link or session, are not the
// local errors of the same name: they concern the link, not this delivery.
func TestTransferError(t *testing.T) {
	size := &amqp.Error{Condition: amqp.ErrCondMessageSizeExceeded}
	credit := &amqp.Error{Condition: amqp.ErrCondTransferLimitExceeded}
	tests := []struct {
		name  string
		begun bool
		err   error
		want  Outcome
		dead  bool // the link, afterwards
	}{
		{"larger than the link takes", false, size, TooLarge, false},
		{"detached for another message's size", false, &amqp.LinkError{RemoteErr: size}, NeverSent, true},
		{"session ended for another message's size", false, &amqp.SessionError{RemoteErr: size}, NeverSent, true},
		{"detached for its own size", true, &amqp.LinkError{RemoteErr: size}, InDoubt, true},
		{"no credit in time", false, credit, NeverSent, false},
		{"given up between two frames", true, credit, InDoubt, true},
		{"detached for credit", false, &amqp.LinkError{RemoteErr: credit}, NeverSent, true},
		{"detached without an error", false, &amqp.LinkError{}, NeverSent, true},
		{"connection lost in mid-transfer", true, &amqp.ConnError{}, InDoubt, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l, g := &link{dead: make(chan struct{})}, newGate()
			if tc.begun {
				if err := g.Err(); err != nil { // as the connection's writer asks
					t.Fatal(err)
				}
			}
			var e *Error
			if err := l.transferError(t.Context(), g, tc.err); !errors.As(err, &e) || e.Outcome != tc.want {
				t.Errorf("transferError(%v) = %v, want %v", tc.err, err, tc.want)
			}
			if got := isClosed(l.dead); got != tc.dead {
				t.Errorf("the link is dead: %v, want %v", got, tc.dead)
			}
		})
	}
}

// Once the writer has asked, a send cannot be given up; once it is given up, the writer is told so.
func TestGate(t *testing.T) {
	begun, abandoned := newGate(), newGate()
	if err := begun.Err(); err != nil || begun.abandon() || !begun.begun() {
		t.Errorf("asked first: Err %v, begun %v; want it begun and beyond giving up", err, begun.begun())
	}
	if !abandoned.abandon() || abandoned.Err() == nil || abandoned.begun() {
		t.Errorf("given up first: begun %v; want an error for the writer", abandoned.begun())
	}
}
