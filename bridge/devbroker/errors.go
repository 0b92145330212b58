package devbroker

import (
	"fmt"

	"github.com/absmach/fluxmq/amqp1/performatives"
	"github.com/absmach/fluxmq/amqp1/types"
)

// connError ends a connection, sessionError a session; the frame that does it carries the error.
type (
	connError    struct{ cause *performatives.Error }
	sessionError struct{ cause *performatives.Error }
)

func (e *connError) Error() string    { return errorText(e.cause) }
func (e *sessionError) Error() string { return errorText(e.cause) }

// newError is nil for an empty condition: the frame then carries no error.
func newError[T ~string](condition T, description string) *performatives.Error {
	if condition == "" {
		return nil
	}
	return &performatives.Error{Condition: types.Symbol(condition), Description: description}
}

func errorText(e *performatives.Error) string {
	if e == nil {
		return "no error"
	}
	return fmt.Sprintf("%s: %s", e.Condition, e.Description)
}
