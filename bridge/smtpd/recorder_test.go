package smtpd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
	"lsmtpd/bridge/smtpd"
)

// recorder takes mail and remembers it. Addresses tell it what to refuse: one whose local part is 550-5.7.1 is
// refused with this reply at MAIL or RCPT, that of a recipient like late-451-4.3.0 after its message was read, and
// early-552-5.3.4 before that. With "error" in the place of the codes, the refusal is an error that is no reply.
type recorder struct {
	maxBytes      int64 // of a message; 0 for any
	maxRecipients int   // 0 for any number

	mu   sync.Mutex
	list []transaction
}

// transaction is a message that was delivered to a recorder.
type transaction struct {
	peer    bridge.Peer
	from    string
	options smtp.MailOptions
	to      []string
	body    []byte // what was read of it
	end     error  // nil: all of it was read; else why not
}

// errNotRead is the end of a message that was refused before it was read, or all of it was.
var errNotRead = errors.New("refused by the recorder")

// backend begins sessions that record here.
func (r *recorder) backend() smtpd.Backend {
	return func(_ context.Context, p bridge.Peer) smtpd.Session {
		return &recorderSession{recorder: r, peer: p}
	}
}

// transactions are those recorded so far.
func (r *recorder) transactions() []transaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// record keeps a transaction, and returns its identifier.
func (r *recorder) record(t transaction) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, t)
	return strconv.Itoa(len(r.list))
}

// recorderSession is a Session of a recorder.
type recorderSession struct {
	recorder *recorder
	peer     bridge.Peer
	open     transaction
}

func (s *recorderSession) Mail(from string, o *smtp.MailOptions) error {
	if err := refusal(from, ""); err != nil {
		return err
	}
	if most := s.recorder.maxBytes; most > 0 && o.Size > most {
		return errTooLarge
	}
	s.open = transaction{peer: s.peer, from: from, options: *o}
	return nil
}

func (s *recorderSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if most := s.recorder.maxRecipients; most > 0 && len(s.open.to) >= most {
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 5, 3}, Message: "too many recipients"}
	}
	if err := refusal(to, ""); err != nil {
		return err
	}
	s.open.to = append(s.open.to, to)
	return nil
}

var errTooLarge = &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "message too large"}

// Deliver reads the message and records it, however it ends.
func (s *recorderSession) Deliver(_ context.Context, body io.Reader) (id string, errs []error) {
	t := s.open
	s.Reset()
	for _, to := range t.to {
		if err := refusal(to, "early-"); err != nil {
			t.end = errNotRead
			return s.recorder.record(t), slices.Repeat([]error{err}, len(t.to))
		}
	}
	limited, most := body, s.recorder.maxBytes
	if most > 0 {
		limited = io.LimitReader(body, most+1)
	}
	var octets bytes.Buffer
	_, t.end = octets.ReadFrom(limited)
	t.body = octets.Bytes()
	err := t.end
	if most > 0 && int64(len(t.body)) > most {
		t.end, err = errNotRead, errTooLarge
	}
	id = s.recorder.record(t)
	for _, to := range t.to {
		if err == nil {
			errs = append(errs, refusal(to, "late-"))
			continue
		}
		errs = append(errs, replyTo(err))
	}
	return id, errs
}

func (s *recorderSession) Reset() { s.open = transaction{} }

// replyTo is the refusal in err, or else a temporary one.
func replyTo(err error) error {
	var e *smtp.SMTPError
	if errors.As(err, &e) {
		return e
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: err.Error()}
}

var refusalPattern = regexp.MustCompile(`^([a-z]+-)?(?:error|(\d{3})-(\d)\.(\d+)\.(\d+))@`)

// refusal is the reply that an address tells to give, nil for none. when is "", "early-" or "late-".
func refusal(address, when string) error {
	m := refusalPattern.FindStringSubmatch(address)
	switch {
	case m == nil || m[1] != when:
		return nil
	case m[2] == "":
		return errors.New("an error that is no reply")
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+2]) // digits, by the pattern
	}
	return &smtp.SMTPError{Code: n[0], EnhancedCode: smtp.EnhancedCode{n[1], n[2], n[3]}, Message: "refused, as " + address + " asks for"}
}

// String is the transaction as dialogues write it, but its body: sender with parameters, and recipients.
func (t transaction) String() string {
	s := "<" + t.from + ">"
	o := &t.options
	if o.Size != 0 {
		s += fmt.Sprintf(" SIZE=%d", o.Size)
	}
	if o.Body != "" {
		s += " BODY=" + string(o.Body)
	}
	if o.UTF8 {
		s += " SMTPUTF8"
	}
	if o.Auth != nil {
		s += " AUTH=<" + *o.Auth + ">"
	}
	s += " |"
	for _, to := range t.to {
		s += " <" + to + ">"
	}
	return s
}
