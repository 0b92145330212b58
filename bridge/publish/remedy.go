package publish

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/Azure/go-amqp"
)

// Remedy says what an operator can do about an error of a broker, naming the
// setting concerned. It is empty where there is nothing to do but wait.
func Remedy(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	switch condition := amqp.ErrCond(conditionOf(err)); {
	// Artemis lets anybody past SASL and refuses the session.
	case strings.Contains(text, "SASL"), strings.Contains(text, "no supported auth mechanism"),
		condition == amqp.ErrCondUnauthorizedAccess && strings.Contains(text, beginSession):
		return "the broker refuses the login: check broker.username and broker.password, and that the broker allows their SASL mechanism"
	case condition == amqp.ErrCondUnauthorizedAccess, condition == amqp.ErrCondNotAllowed, strings.Contains(text, "does not have permission"):
		return "the broker's user may not send there: grant it the right to send to broker.address"
	case condition == amqp.ErrCondNotFound, condition == amqp.ErrCondInvalidField:
		return "make the queue, or set broker.address (and broker.capability) to one that exists"
	case condition == amqp.ErrCondResourceLimitExceeded:
		return "the queue is full: let its consumers catch up, or raise its limit"
	case strings.Contains(text, "x509"), strings.Contains(text, "tls:"):
		return "check broker.tls.ca_file, broker.tls.server_name and whether broker.url should be amqps://"
	case strings.Contains(text, "unexpected protocol header"):
		return "the port of broker.url does not speak AMQP 1.0 with SASL"
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, "EOF") {
		return "check that the broker runs and that broker.url names its AMQP port (a TLS port needs amqps://)"
	}
	return ""
}
