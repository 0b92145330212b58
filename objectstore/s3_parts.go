package objectstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/minio/minio-go/v7"

	"lsmtpd/bridge/failpoint"
)

const (
	// maxParts is S3's limit for a multipart upload.
	maxParts = 10000
	// partsPerSize is how many parts are sent before their size doubles.
	partsPerSize = 1000
	// partsHeld is how many parts of an upload are in memory: one is sent while the next is read.
	partsHeld = 2
	// maxObjectBytes is S3's limit for an object, 5 TiB.
	maxObjectBytes = 5 << 40
)

// partLimit is the size of part number, counted from 1. It grows, so that 10,000 parts go a long way,
// but never beyond half of the pool, so that two large uploads can go on side by side. Of uploads that are fed together
// it does not grow, nor does their claim: what they hold cannot wait until there is room for a larger one.
func (s *S3) partLimit(number int) int64 {
	if s.together != nil {
		return s.partBytes
	}
	largest := min(int64(s.pool.capacity/2)*SlabBytes, MaxPartBytes)
	limit := s.partBytes
	for range (number - 1) / partsPerSize {
		if 2*limit > largest {
			break
		}
		limit *= 2
	}
	return limit
}

// MaxObjectBytes is the largest object, in octets, that Put can store with this part size and pool.
func (s *S3) MaxObjectBytes() int64 {
	var total int64
	for number := 1; number <= s.maxParts; number += partsPerSize {
		total += partsPerSize * s.partLimit(number)
	}
	return min(total, maxObjectBytes)
}

// MaxTogetherBytes is S3.MaxObjectBytes of uploads that are fed together, with parts of that size.
func MaxTogetherBytes(partBytes int64) int64 { return min(maxParts*partBytes, maxObjectBytes) }

// upload is one multipart upload under way.
type upload struct {
	store    *S3
	name, id string
	size     int64

	sending sync.WaitGroup
	slots   chan struct{} // one for each part in memory

	mu    sync.Mutex
	parts []minio.CompletePart // part n at n-1
	worst outcome              // of the parts that failed
}

// putParts stores an object that goes on after its first part, which is full.
func (s *S3) putParts(ctx context.Context, name string, first *buffer, src *source) (Object, error) {
	id, stray, err := s.initiate(ctx, name)
	if err != nil {
		if stray && s.abortStrays(ctx, name, "") != nil {
			err = fmt.Errorf("%w (%w: an upload may have been begun)", err, ErrUncertain)
		}
		return Object{}, fmt.Errorf("begin multipart upload: %w", err)
	}
	u := &upload{store: s, name: name, id: id, slots: make(chan struct{}, partsHeld)}
	o, uncertain, err := u.run(ctx, first, src)
	if err != nil {
		err = s.undo(ctx, name, id, uncertain, err)
	}
	if stray {
		// After success this is a courtesy: a stray upload is not visible, and lifecycle rules remove it.
		if serr := s.abortStrays(ctx, name, ""); serr != nil && err != nil {
			err = fmt.Errorf("%w (%w: %w)", err, ErrUncertain, serr)
		}
	}
	return o, err
}

// run sends the parts and completes the object. When it fails, no part is being sent any more, and
// the outcome says what is known of the requests that failed.
func (u *upload) run(ctx context.Context, first *buffer, src *source) (Object, outcome, error) {
	if err := u.send(ctx, first, src); err != nil {
		return Object{}, u.worst, err
	}
	o, err := u.store.complete(ctx, u.name, u.id, u.parts, u.size)
	if err != nil {
		return Object{}, outcomeOf(err), fmt.Errorf("complete multipart upload: %w", err)
	}
	return o, refused, nil
}

// send reads src to its end and sends it part by part. The first failure, of whatever, ends all else,
// and is the one returned.
func (u *upload) send(ctx context.Context, first *buffer, src *source) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := u.readOn(ctx, fail, first, src); err != nil {
		fail(err)
	}
	u.sending.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (u *upload) readOn(ctx context.Context, fail context.CancelCauseFunc, b *buffer, src *source) error {
	for number, end := 1, false; ; number++ {
		if number > 1 {
			if !u.slot(ctx) {
				return context.Cause(ctx)
			}
			b = u.store.buffer(u.store.partLimit(number))
			var err error
			if end, err = b.fill(ctx, src); err != nil || b.size == 0 {
				b.release()
				return err
			}
			if number > u.store.maxParts || u.size+b.size > maxObjectBytes {
				b.release()
				return fmt.Errorf("%w: more than %d octets", ErrTooLarge, u.store.MaxObjectBytes())
			}
		} else {
			u.slots <- struct{}{}
		}
		u.size += b.size
		u.start(ctx, fail, number, b)
		if end {
			return nil
		}
	}
}

// slot waits until there may be one more part in memory.
func (u *upload) slot(ctx context.Context) bool {
	select {
	case u.slots <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// start sends a full buffer, and releases it when that has ended.
func (u *upload) start(ctx context.Context, fail context.CancelCauseFunc, number int, b *buffer) {
	u.mu.Lock()
	u.parts = append(u.parts, minio.CompletePart{})
	u.mu.Unlock()
	u.sending.Go(func() {
		part, err := u.store.sendPart(ctx, u.name, u.id, number, b)
		failpoint.Hit("upload.part")
		b.release()
		<-u.slots
		if err != nil {
			fail(fmt.Errorf("part %d: %w", number, err))
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.parts[number-1] = part
		if err != nil {
			u.worst = max(u.worst, outcomeOf(err))
		}
	})
}
