package bridge

import (
	"errors"
	"fmt"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge/publish"
	"lsmtpd/objectstore"
)

// ErrIncomplete reports a message that ended before its end of data: the body
// reader given to Deliver returns an error that wraps it, never io.EOF, when the
// client is gone or a chunk was cut short.
var ErrIncomplete = errors.New("bridge: the message ended before its end of data")

var (
	errMessageTooLarge   = errors.New("message too large")
	errTooManyRecipients = errors.New("too many recipients")
	errNoRoute           = errors.New("no route for the recipient")
	errOtherDestination  = errors.New("another destination than the recipients before")
	errNoRecipients      = errors.New("no recipients")
	errNoBroker          = errors.New("broker unavailable")
	errNoStore           = errors.New("store unavailable")
	errMemory            = errors.New("no memory for the message in time")
	errEnvelopeTooLarge  = errors.New("envelope too large for the link")
	errStore             = errors.New("store failed")
	errSettleTimeout     = errors.New("the store took all the time until the reply")
)

// replyFor maps err to the reply that tells it to the client (RFC 5321 §4.2.5,
// codes from RFC 3463); nil stays nil, and a reader's own refusal is the reply.
// An error it does not know becomes 451 4.3.0: the client keeps the message and tries again. Texts carry no detail of
// brokers and stores: those are in the log.
func replyFor(err error, cfg *Config) error {
	var (
		delivery *publish.Error
		refusal  *smtp.SMTPError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, errMessageTooLarge):
		return reply(552, 5, 3, 4, fmt.Sprintf("message larger than %d octets", cfg.MaxMessageBytes))
	case errors.Is(err, errTooManyRecipients):
		return reply(452, 4, 5, 3, fmt.Sprintf("more than %d recipients", cfg.MaxRecipients))
	case errors.Is(err, errNoRoute):
		return reply(550, 5, 1, 1, "no such recipient here")
	case errors.Is(err, errOtherDestination):
		return reply(452, 4, 5, 3, "this recipient needs a transaction of its own")
	case errors.Is(err, errNoRecipients):
		return reply(503, 5, 5, 1, "RCPT first")
	case errors.Is(err, errNoBroker):
		return reply(451, 4, 3, 2, "cannot deliver at the moment, try again later")
	case errors.Is(err, errNoStore), errors.Is(err, errStore), errors.Is(err, errSpool), errors.Is(err, errMemory), errors.Is(err, errSettleTimeout), errors.Is(err, objectstore.ErrUnavailable):
		return reply(451, 4, 3, 1, "cannot keep the message at the moment, try again later")
	case errors.Is(err, errSpoolFull):
		return reply(452, 4, 3, 1, "no room for the message at the moment, try again later")
	case errors.Is(err, errEnvelopeTooLarge):
		return reply(552, 5, 3, 4, "message structure too large to be delivered")
	case errors.Is(err, ErrIncomplete):
		return reply(451, 4, 4, 2, "message incomplete")
	case errors.As(err, &delivery):
		return replyForOutcome(delivery.Outcome, cfg)
	}
	return reply(451, 4, 3, 0, "internal error, try again later")
}

// replyForOutcome is the reply for a delivery that was not accepted.
func replyForOutcome(o publish.Outcome, cfg *Config) error {
	switch o {
	case publish.NeverSent, publish.RefusedForNow, publish.TooLarge:
		// Too large here means that the link was replaced by one with another limit since the message was fitted.
		return reply(451, 4, 4, 1, "not delivered, try again later")
	case publish.InDoubt:
		return reply(451, 4, 4, 2, "delivery not confirmed, try again later")
	case publish.RefusedForGood:
		if cfg.Bounce {
			return reply(554, 5, 3, 0, "delivery refused")
		}
		return reply(451, 4, 3, 5, "delivery refused, the operator must mend it")
	}
	return reply(451, 4, 3, 0, "internal error, try again later")
}

func reply(code, class, subject, detail int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}
