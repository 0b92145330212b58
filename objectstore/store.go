package objectstore

import (
	"context"
	"io"
	"time"
)

// Object is one stored object.
type Object struct {
	// URL is where the object is: s3://BUCKET/KEY, or file://ROOT/KEY, percent-encoded.
	URL string
	// Bucket, ETag (without quotation marks) and VersionID are empty where the store has none.
	Bucket, ETag, VersionID string
	// Key is the full key in the bucket, with the prefix of the store; for a directory the key
	// below its root.
	Key string
	// Size in octets.
	Size int64
}

// Store keeps objects. Implementations are safe for concurrent use; two calls of Put with the same
// key at the same time are a mistake of the caller. No method needs a Close: nothing runs between calls.
//
// Errors can be tested for ErrNotFound, ErrExists, ErrKey, ErrTooLarge, ErrDenied, ErrNoBucket,
// ErrUnavailable, ErrNoMemory and ErrUncertain. When ctx ends first, they wrap its cause.
type Store interface {
	// Put reads r to its end and stores what it read under key. See the package comment for what
	// it promises.
	//
	// Put calls r.Read in the calling goroutine, never again after r has returned an error, and
	// cannot interrupt it: whoever cancels ctx also makes a blocked Read return. It does not close r.
	// A failure of r is returned as a *ReadError, which wraps the error of r; every other error is
	// the store's, or that of ctx. After an error nothing is left under key unless the error wraps
	// ErrUncertain.
	Put(ctx context.Context, key string, r io.Reader) (Object, error)

	// Together returns the same store for uploads that are fed from one stream, at most two at a time, where the one may
	// have to wait with its reading until the other has read on. Uploads of one Store that are fed so, but not through
	// what one call of Together has returned, can block each other for want of memory until ErrNoMemory.
	Together() Store

	// Get opens the object for reading; ErrNotFound when there is none. The caller closes it. ctx
	// governs the reading, too. A body cut short by the store ends with an error, not with io.EOF.
	Get(ctx context.Context, key string) (io.ReadCloser, error)

	// Delete removes the object, durably. It is no error when there is none. In a versioned bucket
	// the object is hidden, and its versions stay.
	Delete(ctx context.Context, key string) error

	// Check tells by one cheap call, which changes nothing, whether the store can be reached with
	// the rights to write, as far as such a call can tell. Probe tells for certain.
	Check(ctx context.Context) error

	// Abandoned lists what calls of Put that never returned have left behind: multipart uploads or
	// temporary files, whose key begins with prefix. Calls of Put that still run are listed as
	// well: only the caller knows which of them live. MinIO lists only those whose key is prefix.
	Abandoned(ctx context.Context, prefix string) ([]Leftover, error)

	// Abort removes a leftover. It is no error when it is gone. A Put that still writes it fails.
	Abort(ctx context.Context, l Leftover) error
}

// Leftover is a multipart upload or a temporary file that is not an object yet.
type Leftover struct {
	// Key of the object it was to become, as given to Put.
	Key string
	// UploadID of the multipart upload, empty for a temporary file.
	UploadID string
	// Started is when it was begun; for a temporary file, when it was last written.
	Started time.Time
}
