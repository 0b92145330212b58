package publish

import (
	"errors"
	"fmt"

	"github.com/Azure/go-amqp"
)

// Outcome says what became of a delivery that was not accepted.
type Outcome int

const (
	// NeverSent: no transfer frame was written. The broker cannot hold the message.
	NeverSent Outcome = iota + 1
	// RefusedForNow: the broker settled the delivery as released, modified or rejected, with no word that a later attempt is in vain.
	RefusedForNow
	// RefusedForGood: the broker refused the delivery, and the same message will be refused again.
	RefusedForGood
	// InDoubt: a transfer was begun and its outcome is not known. The broker may hold the message.
	InDoubt
	// TooLarge: the message exceeds the link's max-message-size and was not sent.
	TooLarge
)

// String is the outcome as logs and metrics spell it.
func (o Outcome) String() string {
	switch o {
	case NeverSent:
		return "never-sent"
	case RefusedForNow:
		return "refused-for-now"
	case RefusedForGood:
		return "refused-for-good"
	case InDoubt:
		return "in-doubt"
	case TooLarge:
		return "too-large"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Error is the error of a delivery that was not accepted.
type Error struct {
	Outcome Outcome
	// Condition is the broker's error condition (AMQP 1.0 §2.8.14), empty where it gave none.
	Condition string
	Err       error
}

// Error says the outcome and its cause.
func (e *Error) Error() string { return fmt.Sprintf("delivery %s: %v", e.Outcome, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// conditionsForGood are the conditions of a rejection that no later attempt can mend.
var conditionsForGood = map[amqp.ErrCond]bool{
	amqp.ErrCondUnauthorizedAccess: true,
	amqp.ErrCondNotAllowed:         true,
	amqp.ErrCondPreconditionFailed: true,
	amqp.ErrCondNotImplemented:     true,
	amqp.ErrCondDecodeError:        true,
}

// errNoState reports a delivery that was settled without one of the terminal states of AMQP 1.0 §3.4.
var errNoState = errors.New("settled without a terminal delivery state")

// outcomeOf sorts the final state of a delivery. Nil means accepted, and nothing else does.
func outcomeOf(state amqp.DeliveryState) error {
	switch s := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateRejected:
		if s.Error == nil {
			return &Error{Outcome: RefusedForNow, Err: errors.New("rejected without a condition")}
		}
		o := RefusedForNow
		if conditionsForGood[s.Error.Condition] {
			o = RefusedForGood
		}
		return &Error{Outcome: o, Condition: string(s.Error.Condition), Err: fmt.Errorf("rejected: %w", s.Error)}
	case *amqp.StateReleased:
		return &Error{Outcome: RefusedForNow, Err: errors.New("released")}
	case *amqp.StateModified:
		if s.UndeliverableHere {
			return &Error{Outcome: RefusedForGood, Err: errors.New("modified, undeliverable here")}
		}
		return &Error{Outcome: RefusedForNow, Err: errors.New("modified")}
	}
	return &Error{Outcome: InDoubt, Err: errNoState}
}

// conditionOf returns the peer's condition in an error of go-amqp, or "".
func conditionOf(err error) string {
	var e *amqp.Error
	if errors.As(err, &e) {
		return string(e.Condition)
	}
	return ""
}
