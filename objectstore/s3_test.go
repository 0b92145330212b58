package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// heapSlab is memory under the eyes of the race detector.
func heapSlab() ([]byte, error) { return make([]byte, SlabBytes), nil }

// poison makes whoever still reads a slab that was given back read something else.
func poison(slab []byte) {
	for i := range slab {
		slab[i] = 0xdd
	}
}

// newTestS3 is a store at the fake server, with parts of 5 MiB and room for three of them. Requests
// time out early, so that a server that hangs does not hold up the tests.
func newTestS3(t *testing.T, f *fakeS3, change func(*Config)) *S3 {
	t.Helper()
	cfg := Config{
		URL:       "s3://mail/pre/fix?endpoint=" + f.server.URL,
		AccessKey: "access", SecretKey: "secret",
		PartBytes: MinPartBytes,
		Pool:      newPool(3*MinPartBytes, heapSlab, poison),
	}
	if change != nil {
		change(&cfg)
	}
	store, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := store.(*S3)
	t.Cleanup(func() {
		if stats := s.pool.Stats(); stats.Lent != 0 || stats.Waiting != 0 {
			t.Errorf("pool after all: %+v; want nothing lent, nobody waiting", stats)
		}
	})
	return s
}

// errAny stands for an error that no caller decides on.
var errAny = errors.New("any error")

// impatient is for servers that hang; for those that answer it might be too short on a busy machine.
func impatient(cfg *Config) { cfg.RequestTimeout = slowdown * 4 * time.Second }

// patience is what a script of faults calls for.
func patience(faults map[string][]fault3) func(*Config) {
	for _, list := range faults {
		for _, f := range list {
			if f.kind == "hang" || f.kind == "lost, then silence" {
				return impatient
			}
		}
	}
	return nil
}

// script is how requests fail, by operation.
type script map[string][]fault3

// faultCase is a Put to a server that fails.
type faultCase struct {
	name      string
	size      int64
	faults    script
	want      error // nil: success
	uncertain bool
}

func faultCases() []faultCase {
	const small, large = 1000, 5*MinPartBytes/2 + 1
	hang, reset, lost := fault3{kind: "hang"}, fault3{kind: "reset"}, fault3{kind: "lost"}
	busy, broken := fault3{status: 503, code: "SlowDown"}, fault3{status: 500, code: "InternalError"}
	denied := fault3{status: 403, code: "AccessDenied"}
	return []faultCase{
		{"put busy", small, script{"put": {busy, busy, busy}}, nil, false},
		{"put busy for long", small, script{"put": {busy, busy, busy, busy}}, ErrUnavailable, false},
		{"put broken", small, script{"put": {broken}}, nil, false},
		{"put reset", small, script{"put": {reset}}, nil, false},
		{"put hangs once", small, script{"put": {hang}}, nil, false},
		{"put hangs", small, script{"put": {hang, hang, hang, hang}}, ErrUnavailable, true},
		{"put done, answer lost", small, script{"put": {lost}}, nil, false},
		{"put done, answers lost", small, script{"put": {lost, lost, lost, lost}}, ErrUnavailable, true},
		{"put done, then denied", small, script{"put": {lost, denied}}, ErrDenied, true},
		{"put denied", small, script{"put": {denied}}, ErrDenied, false},
		{"no bucket", small, script{"put": {{status: 404, code: "NoSuchBucket"}}}, ErrNoBucket, false},
		{"wrong key", small, script{"put": {{status: 403, code: "InvalidAccessKeyId"}}}, ErrDenied, false},
		{"store full", small, script{"put": {{status: 507, code: "XMinioStorageFull"}}}, ErrUnavailable, false},
		{"put spoilt on the way", small, script{"put": {{status: 400, code: "BadDigest"}}}, nil, false},
		{"put done, delete fails", small, script{"put": {lost, denied}, "delete": {denied}}, ErrDenied, true},

		{"begin busy", large, script{"begin": {busy, busy}}, nil, false},
		{"begin denied", large, script{"begin": {denied}}, ErrDenied, false},
		{"begin without a bucket", large, script{"begin": {{status: 404, code: "NoSuchBucket"}}}, ErrNoBucket, false},
		{"begin done, answer lost", large, script{"begin": {lost}}, nil, false},
		{"begin done, answers lost", large, script{"begin": {lost, lost, lost, lost}}, ErrUnavailable, false},
		{"begin done, answers lost, list denied", large, script{"begin": {lost, denied}, "list": {denied}}, ErrDenied, true},
		{"begin hangs", large, script{"begin": {hang, hang, hang, hang}}, ErrUnavailable, false},
		{"parts busy", large, script{"part": {busy, busy, busy}}, nil, false},
		{"part reset in the middle", large, script{"part": {reset}}, nil, false},
		{"part done, answer lost", large, script{"part": {lost}}, nil, false},
		{"part hangs once", large, script{"part": {hang}}, nil, false},
		{"parts hang", large, script{"part": {hang, hang, hang, hang, hang, hang, hang, hang}}, ErrUnavailable, true},
		{"parts fail", large, script{"part": {broken, broken, broken, broken, broken, broken, broken, broken}}, ErrUnavailable, false},
		{"part denied", large, script{"part": {denied}}, ErrDenied, false},
		{"put refused before it is read", small, script{"put": {{kind: "early", status: 403, code: "AccessDenied"}}}, ErrDenied, false},
		{"part refused before it is read", large, script{"part": {{kind: "early", status: 403, code: "AccessDenied"}}}, ErrDenied, false},
		{"part put off before it is read", large, script{"part": {{kind: "early", status: 503, code: "SlowDown"}}}, nil, false},
		{"second part denied", large, script{"part": {{}, denied}}, ErrDenied, false},
		{"wrong ETag of a part", large, script{"part": {{kind: "etag"}}}, errAny, false},
		{"upload gone", large, script{"part": {{}, {status: 404, code: "NoSuchUpload"}}}, ErrNotFound, false},
		{"abort fails", large, script{"part": {denied}, "abort": {denied, denied}}, ErrDenied, true},
		{"abort busy", large, script{"part": {denied}, "abort": {busy}}, ErrDenied, false},
		{"complete busy", large, script{"complete": {busy}}, nil, false},
		{"complete 200 with an error", large, script{"complete": {{status: 200, code: "InternalError"}}}, nil, false},
		{"complete 200 with errors", large, script{"complete": {
			{status: 200, code: "InternalError"}, {status: 200, code: "InternalError"}, {status: 200, code: "InternalError"}, {status: 200, code: "InternalError"},
		}}, ErrUnavailable, false},
		{"complete refused", large, script{"complete": {{status: 400, code: "InvalidPart"}}}, errAny, false},
		{"complete done, answer lost", large, script{"complete": {lost}}, nil, false},
		{"complete done, answer cut", large, script{"complete": {{kind: "cut"}}}, nil, false},
		{"complete done, then silence", large, script{"complete": {{kind: "lost, then silence"}}}, nil, false},
		{"complete done, then denied", large, script{"complete": {lost, denied}}, ErrDenied, true},
		{"complete hangs", large, script{"complete": {hang, hang, hang, hang}}, ErrUnavailable, true},
		{"complete done, object not there", large, script{"complete": {{kind: "lost"}}, "head": {{status: 404, code: "NoSuchKey"}}}, ErrNotFound, true},
		{"head busy", large, script{"head": {busy, busy}}, nil, false},
		{"head denied", large, script{"head": {denied}}, ErrDenied, false},
		{"head says another ETag", large, script{"head": {{kind: "etag"}}}, ErrUnavailable, false},
	}
}

func TestS3Faults(t *testing.T) {
	for _, c := range faultCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeS3(t)
			s := newTestS3(t, f, patience(c.faults))
			s.slowest = 1 << 30
			for op, faults := range c.faults {
				f.fail(op, faults...)
			}
			content := bytes.Repeat([]byte("0123456789abcdef!"), int(c.size)/17+1)[:c.size]
			o, err := s.Put(t.Context(), "a/1", bytes.NewReader(content))
			checkFault(t, f, s, content, o, err, c.want, c.uncertain)
		})
	}
}

// checkFault compares the end of a Put with what was wanted: an exact object, or an error and nothing left.
func checkFault(t *testing.T, f *fakeS3, s *S3, content []byte, o Object, err, want error, uncertain bool) {
	t.Helper()
	if want == nil && err == nil {
		r, err := s.Get(t.Context(), "a/1")
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); !bytes.Equal(got, content) || err != nil || o.Size != int64(len(content)) {
			t.Errorf("Get: %d octets, %v; Put said %+v; want %d", len(got), err, o, len(content))
		}
		if got := fmt.Sprint(f.residue()); got != "[object pre/fix/a/1]" {
			t.Errorf("left: %s; want the object only", got)
		}
		return
	}
	if want == nil || err == nil || !errors.Is(err, want) && want != errAny {
		t.Fatalf("Put = %+v, %v; want %v", o, err, want)
	}
	if got := errors.Is(err, ErrUncertain); got != uncertain {
		t.Errorf("Put: %v: uncertain %t; want %t", err, got, uncertain)
	}
	var read *ReadError
	if errors.As(err, &read) {
		t.Errorf("Put: %v blames the reader", err)
	}
	if left := f.residue(); len(left) != 0 && !uncertain {
		t.Errorf("left: %q", left)
	}
}

func TestS3Unreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	f := newFakeS3(t)
	s := newTestS3(t, f, func(cfg *Config) {
		impatient(cfg)
		cfg.URL = "s3://mail?endpoint=http://" + ln.Addr().String()
	})
	_, err = s.Put(t.Context(), "a", strings.NewReader("x"))
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) {
		t.Errorf("Put: %v; want ErrUnavailable, and certainty that nothing is there", err)
	}
	if err := s.Check(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Check: %v; want ErrUnavailable", err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Get: %v; want ErrUnavailable", err)
	}
}

// A context that ends while the server is silent ends Put, and the clean-up still happens.
func TestS3CancelDuringRequest(t *testing.T) {
	for _, c := range []struct {
		op        string
		size      int64
		uncertain bool
	}{
		{"put", 1000, true}, {"begin", MinPartBytes + 1, false}, {"part", MinPartBytes + 1, true}, {"complete", MinPartBytes + 1, true},
	} {
		t.Run(c.op, func(t *testing.T) {
			t.Parallel()
			f := newFakeS3(t)
			s := newTestS3(t, f, impatient)
			s.slowest = 1 << 30
			hang := fault3{kind: "hang"}
			f.fail(c.op, hang, hang, hang, hang, hang, hang)
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("client gone")
			f.hanging = func() { cancel(gone) }
			_, err := s.Put(ctx, "a", bytes.NewReader(make([]byte, c.size)))
			if !errors.Is(err, gone) || errors.Is(err, ErrUncertain) != c.uncertain {
				t.Errorf("Put: %v; want %v, uncertain %t", err, gone, c.uncertain)
			}
			if left := f.residue(); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// An object of more parts than there may be is refused, and leaves nothing.
func TestS3TooManyParts(t *testing.T) {
	f := newFakeS3(t)
	s := newTestS3(t, f, nil)
	s.maxParts = 2
	for size, want := range map[int64]error{2 * MinPartBytes: nil, 2*MinPartBytes + 1: ErrTooLarge} {
		_, err := s.Put(t.Context(), fmt.Sprint(size), bytes.NewReader(make([]byte, size)))
		if !errors.Is(err, want) {
			t.Errorf("Put of %d octets in at most two parts: %v; want %v", size, err, want)
		}
	}
	if got := fmt.Sprint(f.residue()); got != "[object pre/fix/10485760]" {
		t.Errorf("left: %s; want the smaller object", got)
	}
}

func TestS3RequestsPerObject(t *testing.T) {
	for size, want := range map[int64]string{
		0:                "map[put:1]",
		MinPartBytes - 1: "map[put:1]",
		MinPartBytes:     "map[begin:1 complete:1 head:1 part:1]",
		3 * MinPartBytes: "map[begin:1 complete:1 head:1 part:3]",
	} {
		f := newFakeS3(t)
		s := newTestS3(t, f, nil)
		if _, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, size))); err != nil {
			t.Errorf("Put of %d: %v", size, err)
		}
		if got := fmt.Sprint(f.calls); got != want {
			t.Errorf("Put of %d octets: requests %s; want %s", size, got, want)
		}
	}
}

// A server that knows no checksums is served all the same, and so is one that refuses them.
func TestS3WithoutChecksums(t *testing.T) {
	for _, parameter := range []string{"", "&checksum=none"} {
		f := newFakeS3(t)
		f.mute = true
		s := newTestS3(t, f, func(cfg *Config) { cfg.URL += parameter })
		for _, size := range []int64{10, MinPartBytes + 10} {
			if _, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, size))); err != nil {
				t.Errorf("Put of %d octets with %q: %v", size, parameter, err)
			}
		}
	}
}

func TestS3GetFaults(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100_000)
	for _, c := range []struct {
		name  string
		fault fault3
		want  error
	}{
		{"hangs", fault3{kind: "hang"}, ErrUnavailable},
		{"stalls in the middle", fault3{kind: "stall"}, ErrUnavailable},
		{"cut", fault3{kind: "cut"}, io.ErrUnexpectedEOF},
		{"busy", fault3{status: 503, code: "SlowDown"}, ErrUnavailable},
		{"denied", fault3{status: 403, code: "AccessDenied"}, ErrDenied},
		{"no bucket", fault3{status: 404, code: "NoSuchBucket"}, ErrNoBucket},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeS3(t)
			var change func(*Config)
			if c.fault.kind == "hang" || c.fault.kind == "stall" {
				change = impatient
			}
			s := newTestS3(t, f, change)
			if _, err := s.Put(t.Context(), "a", bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			f.fail("get", c.fault)
			r, err := s.Get(t.Context(), "a")
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("Get: %v; want %v", err, c.want)
			}
		})
	}
}

func TestS3CheckTells(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fault3
		want  error
	}{
		{"well", fault3{}, nil},
		{"wrong key", fault3{status: 403, code: "InvalidAccessKeyId"}, ErrDenied},
		{"wrong secret", fault3{status: 403, code: "SignatureDoesNotMatch"}, ErrDenied},
		{"no bucket", fault3{status: 404, code: "NoSuchBucket"}, ErrNoBucket},
		{"no S3", fault3{status: 404, code: "NoSuchKey"}, ErrNotFound},
		{"wrong region", fault3{status: 400, code: "AuthorizationHeaderMalformed"}, ErrDenied},
	} {
		f := newFakeS3(t)
		s := newTestS3(t, f, nil)
		f.fail("abort", c.fault)
		if err := s.Check(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: Check = %v; want %v", c.name, err, c.want)
		}
	}
}

func TestS3ProbeNamesTheStep(t *testing.T) {
	denied := fault3{status: 403, code: "AccessDenied"}
	for op, want := range map[string]string{
		"put":    "put",
		"get":    "get",
		"delete": "delete",
		"begin":  "begin multipart upload",
		"part":   "upload part",
		"list":   "list multipart uploads",
		"abort":  "abort multipart upload",
	} {
		f := newFakeS3(t)
		s := newTestS3(t, f, nil)
		f.fail(op, denied)
		var failed []string
		err := Probe(t.Context(), s, "probe", func(step string, err error) {
			if err != nil {
				failed = append(failed, step)
			}
		})
		if fmt.Sprint(failed) != fmt.Sprint([]string{want}) || !errors.Is(err, ErrDenied) {
			t.Errorf("%s denied: failed %q, %v; want %q", op, failed, err, want)
		}
	}
}
