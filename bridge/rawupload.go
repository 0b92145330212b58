package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"lsmtpd/objectstore"
	"lsmtpd/schema"
)

// rawName ends the key of a raw message.
const rawName = schema.RawBlobID

// errAborted ends the raw upload of a message of which nothing will come, whatever the reason.
var errAborted = errors.New("the message is given up")

// rawUpload puts the octets of a message into the store as they arrive, while they are read for their parts.
type rawUpload struct {
	pipe   *io.PipeWriter
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the Put has returned; object and err are valid then
	object objectstore.Object
	err    error // mapped for replyFor
}

// startRaw begins to store the octets that source reads from now on. Its goroutine ends with endRaw.
func (t *transaction) startRaw(ctx context.Context) error {
	key, err := t.newObject(rawName)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r, w := io.Pipe()
	u := &rawUpload{pipe: w, cancel: cancel, done: make(chan struct{})}
	t.source.raw = u
	go func() {
		defer close(u.done)
		u.object, u.err = t.bridge.putRaw(ctx, t.store, key, r)
		_ = r.CloseWithError(u.err) // ends the reading, too, where it still goes on
	}()
	return nil
}

// putRaw is the goroutine of an upload: a panic fails the upload, and not the process.
func (b *Bridge) putRaw(ctx context.Context, store objectstore.Store, key string, r io.Reader) (o objectstore.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	o, err = store.Put(ctx, key, r)
	b.metrics.put(o, err)
	var read *objectstore.ReadError
	switch {
	case err == nil || errors.As(err, &read):
		return o, err
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSettleTimeout):
		return o, fmt.Errorf("the client is gone: %w: %w", ErrIncomplete, err)
	}
	return o, b.storeFailure(ctx, err)
}

// feed passes on what was read, and how that ended: io.EOF only is the end of the object. It returns err, or why the
// store took no more.
func (u *rawUpload) feed(p []byte, err error) error {
	if err != nil && err != io.EOF {
		_ = u.pipe.CloseWithError(err) // always nil, here and below
		return err
	}
	if len(p) > 0 {
		if _, failure := u.pipe.Write(p); failure != nil {
			return failure
		}
	}
	if err == io.EOF {
		_ = u.pipe.Close()
	}
	return err
}

// endRaw waits until the raw message is stored, or, because of cause, given up. It may be called again.
func (t *transaction) endRaw(cause error) error {
	u := t.source.raw
	if u == nil {
		return nil
	}
	if cause != nil {
		u.cancel(cause)
		_ = u.pipe.CloseWithError(cause)
	}
	<-u.done
	u.cancel(nil)
	t.uncertain = t.uncertain || errors.Is(u.err, objectstore.ErrUncertain)
	return u.err
}

// addRaw waits until the raw message is stored, and refers to it in email, which has its size and digest.
func (t *transaction) addRaw(email *schema.Email) error {
	if t.source.raw == nil {
		return nil
	}
	if err := t.endRaw(nil); err != nil {
		return fmt.Errorf("raw message: %w", err)
	}
	if o := t.source.raw.object; o.Size != email.Size {
		return fmt.Errorf("raw message: %w: the object has %d octets, the message %d", errStore, o.Size, email.Size)
	}
	email.BlobID = optional(schema.RawBlobID)
	t.blobs[schema.RawBlobID] = schema.Blob{Size: email.Size, SHA256: email.SHA256, Stored: stored(t.source.raw.object)}
	return nil
}
