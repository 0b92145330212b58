package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// multipartProber is what a store has whose objects are put together from parts.
type multipartProber interface {
	// probeMultipart tries each step of a multipart upload of key, and aborts it.
	probeMultipart(ctx context.Context, key string, report func(step string, err error))
}

// Probe tries every right that mail will need, step by step, under a key that nothing else uses:
// put, get, delete, and where the store has them begin, part, list and abort of a multipart upload.
// It calls report after each step that was tried, with nil when it succeeded, goes on where a later
// step does not depend on the one that failed, and leaves nothing behind that it has the right to
// remove. The error joins those of all steps.
func Probe(ctx context.Context, s Store, key string, report func(step string, err error)) error {
	var failures []error
	note := func(step string, err error) {
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", step, err))
		}
		report(step, err)
	}
	content := []byte("lsmtpd check: may be removed\r\n")
	_, err := s.Put(ctx, key, bytes.NewReader(content))
	note("put", err)
	if err == nil {
		note("get", probeGet(ctx, s, key, content))
	}
	if err == nil || errors.Is(err, ErrUncertain) {
		note("delete", s.Delete(ctx, key))
	}
	if m, ok := s.(multipartProber); ok {
		m.probeMultipart(ctx, key, note)
	}
	return errors.Join(failures...)
}

func probeGet(ctx context.Context, s Store, key string, want []byte) error {
	r, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(r, int64(len(want))+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read back %d octets, not the %d that were put", len(got), len(want))
	}
	return nil
}

// probeMultipart implements multipartProber. The part is a small one, as the last part of an object may be.
func (s *S3) probeMultipart(ctx context.Context, key string, report func(step string, err error)) {
	name, err := s.name(key)
	if err != nil {
		report("begin multipart upload", err)
		return
	}
	id, _, err := s.initiate(ctx, name)
	report("begin multipart upload", err)
	if err != nil {
		return
	}
	b := s.pool.buffer(SlabBytes)
	defer b.release()
	_, err = b.fill(ctx, &source{r: bytes.NewReader(make([]byte, 1024))})
	if err == nil {
		_, err = s.sendPart(ctx, name, id, 1, b)
	}
	report("upload part", err)
	_, err = s.Abandoned(ctx, key)
	report("list multipart uploads", err)
	// Also when ctx has ended: nothing is left behind.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	report("abort multipart upload", s.abort(clean, name, id))
}
