package objectstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	// maxTries is how often a request is sent before its failure counts.
	maxTries = 4
	// The pause before the second try, doubled before each one after it.
	firstPause = 100 * time.Millisecond
	// slowestRate is the rate in octets a second that a request with a body is given time for.
	slowestRate = 256 << 10
	// statusFull is MinIO's answer when its disks are full (RFC 4918 §11.5).
	statusFull = http.StatusInsufficientStorage
	// noSuchUpload is S3's code for a multipart upload that is not there, or not any more.
	noSuchUpload = "NoSuchUpload"
)

// outcome is what is known of a request that did not succeed.
type outcome int

const (
	refused    outcome = iota // an answer: nothing was done
	failed                    // an answer: something may have been done, and nothing more will be
	unanswered                // no answer: it may yet be done
)

// fault is a request to S3 that did not succeed. It unwraps to the sentinel for the caller and the cause.
type fault struct {
	kind    error // a sentinel of this package, or nil
	cause   error
	hint    string
	code    string // S3's error code
	outcome outcome
	retry   bool
}

func (f *fault) Error() string {
	text := f.cause.Error()
	if f.code != "" {
		text = f.code + ": " + text
	}
	if f.hint != "" {
		text = f.hint + ": " + text
	}
	if f.kind != nil {
		text = f.kind.Error() + ": " + text
	}
	return text
}

// Unwrap returns the sentinel and the cause.
func (f *fault) Unwrap() []error {
	if f.kind == nil {
		return []error{f.cause}
	}
	return []error{f.kind, f.cause}
}

// fault sorts an error of the client.
func (s *S3) fault(err error) *fault {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return &fault{kind: ErrUnavailable, cause: err, retry: true} // nothing was sent
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		return &fault{kind: ErrUnavailable, cause: err, outcome: unanswered, retry: true}
	}
	f := &fault{cause: err, code: answer.Code}
	status := answer.StatusCode
	switch {
	case status >= 500 || status == http.StatusOK:
		f.outcome = failed // a 200 with an error in its body is S3's way to fail late
	case status == http.StatusRequestTimeout:
		f.outcome = unanswered
	}
	if status == http.StatusBadGateway || status == http.StatusGatewayTimeout {
		f.outcome = unanswered // a proxy's word
	}
	switch answer.Code {
	case minio.NoSuchBucket:
		f.kind, f.hint = ErrNoBucket, "create the bucket "+s.bucket
		return f
	case minio.NoSuchKey, noSuchUpload, "NoSuchVersion":
		f.kind = ErrNotFound
		return f
	case "XAdminUserNotFound": // versitygw's word for an unknown access key, with status 404
		status = http.StatusForbidden
	case "BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "OperationAborted":
		f.kind, f.retry = ErrUnavailable, true
		return f
	case "RequestTimeTooSkewed":
		f.kind, f.hint = ErrDenied, "set the clock"
		return f
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		f.kind, f.hint = ErrDenied, "set region in store.url to the bucket's"
		return f
	case "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull":
		f.kind, f.hint = ErrUnavailable, "store is full"
		return f
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusMethodNotAllowed:
		f.kind, f.hint = ErrDenied, "check store.access_key, store.secret_key and their rights"
	case status == statusFull:
		f.kind, f.hint = ErrUnavailable, "store is full"
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusOK:
		f.kind, f.retry = ErrUnavailable, true
	case status >= 500 && status != http.StatusNotImplemented:
		f.kind, f.retry = ErrUnavailable, true
	}
	return f
}

// try sends a request, again while that may help, each time within limit and altogether within
// twice that. Its error is that of the last try, a *fault whose outcome is the least certain one of
// all tries; or that of ctx where it ended first, with the outcome still in a *fault.
func (s *S3) try(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	return s.attempt(ctx, ctx, limit, request)
}

// settle is try for a request that leaves something in the store. One that is under way when ctx
// ends is not cut off, or the server might go on with it after the clean-up: it is given time to be answered.
func (s *S3) settle(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		patience := time.NewTimer(s.timeout)
		defer patience.Stop()
		select {
		case <-patience.C:
			cancel()
		case <-lasting.Done():
		}
	})
	defer stop()
	return s.attempt(ctx, lasting, limit, request)
}

// attempt sends requests under the context carrier, until ctx ends.
func (s *S3) attempt(ctx, carrier context.Context, limit time.Duration, request func(context.Context) error) error {
	carrier, cancel := context.WithTimeout(carrier, 2*limit)
	defer cancel()
	worst := refused
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return &fault{cause: context.Cause(ctx), outcome: worst}
		}
		err := once(carrier, limit, request)
		if err == nil {
			return nil
		}
		f := s.fault(err)
		worst = max(worst, f.outcome)
		f.outcome = worst
		if ctx.Err() == nil && (!f.retry || n == maxTries || !pause(ctx, carrier, n)) {
			return f
		}
	}
}

func once(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := request(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no answer within %v: %w", limit, err)
	}
	return err
}

// pause waits before try n+1, with jitter, and reports whether another try makes sense or ctx has ended.
func pause(ctx, carrier context.Context, n int) bool {
	longest := firstPause << (n - 1)
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return true
	case <-carrier.Done():
		return false
	}
}

// outcomeOf is how much is known of the request that failed with err.
func outcomeOf(err error) outcome {
	var f *fault
	if errors.As(err, &f) {
		return f.outcome
	}
	return refused
}

// transferLimit bounds one request that carries so many octets.
func (s *S3) transferLimit(octets int64) time.Duration {
	return s.timeout + time.Duration(octets/s.slowest)*time.Second
}
