package objectstore

import (
	"errors"
	"io"
)

var (
	// ErrNotFound reports that there is no object under the key.
	ErrNotFound = errors.New("no such object")
	// ErrExists reports that the key is taken, by an object or by a Put that has not ended.
	ErrExists = errors.New("key is taken")
	// ErrKey reports a key that is empty, longer than 1,024 octets with its prefix, absolute, not
	// UTF-8, or that has an empty element, an element "." or "..", one longer than 250 octets, a
	// control character, a backslash, or the ending ".part", which temporary files have.
	ErrKey = errors.New("invalid key")
	// ErrTooLarge reports an object larger than the store can take, see S3.MaxObjectBytes.
	ErrTooLarge = errors.New("object too large")
	// ErrUnavailable reports a store that cannot be reached, is overloaded or full: a later attempt
	// may succeed without a change of the configuration.
	ErrUnavailable = errors.New("store unavailable")
	// ErrNoMemory reports an upload for which there was no memory in the pool for two minutes: others hold it, whose
	// clients or store are slow. The store is not to blame.
	ErrNoMemory = errors.New("no memory for the upload in time")
	// ErrDenied reports wrong keys, a missing right or a read-only store: an operator has to act.
	ErrDenied = errors.New("access denied")
	// ErrNoBucket reports that the bucket does not exist: an operator has to act.
	ErrNoBucket = errors.New("no such bucket")
	// ErrUncertain reports that an object, or parts of one, may still come to be under the key,
	// because a request was never answered or the clean-up failed. Whoever needs certainty calls
	// Delete, and Abort for what Abandoned lists, until both have succeeded a while later.
	ErrUncertain = errors.New("something may be left under the key")
)

// ReadError is a failure of the reader that was given to Put. The store is not to blame.
type ReadError struct {
	// Err is what the reader returned.
	Err error
}

func (e *ReadError) Error() string { return "read: " + e.Err.Error() }

// Unwrap returns what the reader returned.
func (e *ReadError) Unwrap() error { return e.Err }

// maxEmptyReads is how often in a row a reader may return neither octets nor an error.
const maxEmptyReads = 100

// source reads on behalf of Put. Its errors are io.EOF, exactly at the end of the octets, and
// *ReadError.
type source struct {
	r     io.Reader
	empty int
	err   error

	panicked any // what r has panicked with; Put cleans up before the panic goes on
}

// Read returns octets or an error, never both and never neither.
func (s *source) Read(p []byte) (int, error) {
	for s.err == nil {
		n, err := s.read(p)
		if n < 0 || n > len(p) {
			n, err = 0, errors.New("reader returned an impossible count")
		}
		if err != nil && err != io.EOF { // not errors.Is: a wrapped io.EOF is a failure
			err = &ReadError{Err: err}
		}
		s.err = err
		if n > 0 {
			s.empty = 0
			return n, nil
		}
		if s.empty++; s.empty > maxEmptyReads && s.err == nil {
			s.err = &ReadError{Err: io.ErrNoProgress}
		}
	}
	return 0, s.err
}

// errPanicked is what a panic is until it goes on.
var errPanicked = errors.New("reader has panicked")

func (s *source) read(p []byte) (n int, err error) {
	defer func() {
		if s.panicked = recover(); s.panicked != nil {
			n, err = 0, errPanicked
		}
	}()
	return s.r.Read(p)
}

// repanic goes on with a panic of the reader.
func (s *source) repanic() {
	if s.panicked != nil {
		panic(s.panicked)
	}
}
