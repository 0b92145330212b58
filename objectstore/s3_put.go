package objectstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"

	"github.com/minio/minio-go/v7"
)

const (
	checksumHeader    = "X-Amz-Checksum-Crc32c"
	checksumAlgorithm = "X-Amz-Checksum-Algorithm"
)

// Put implements Store.
func (s *S3) Put(ctx context.Context, key string, r io.Reader) (Object, error) {
	name, err := s.name(key)
	if err != nil {
		return Object{}, fmt.Errorf("objectstore: put: %w", err)
	}
	src := &source{r: r}
	defer src.repanic()
	first := s.buffer(s.partBytes)
	defer first.release()
	end, err := first.fill(ctx, src)
	var o Object
	switch {
	case err != nil:
	case end:
		o, err = s.putWhole(ctx, name, first)
	default:
		o, err = s.putParts(ctx, name, first, src)
	}
	if err != nil {
		return Object{}, fmt.Errorf("objectstore: put %s: %w", name, err)
	}
	return o, nil
}

func (s *S3) object(name, etag, version string, size int64) Object {
	return Object{URL: objectURL("s3", s.bucket, name), Bucket: s.bucket, Key: name, ETag: etag, VersionID: version, Size: size}
}

// encoded is the checksum as S3 writes it in a header, or empty where none is wanted.
func (s *S3) encoded(b *buffer) string {
	if !s.checksum {
		return ""
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, b.crc))
}

// putWhole stores an object that ended within its first part. The length is proven by HTTP, which
// carries a body of known length or fails, and the content by the checksum.
func (s *S3) putWhole(ctx context.Context, name string, b *buffer) (Object, error) {
	sum := s.encoded(b)
	options := minio.PutObjectOptions{DisableContentSha256: true}
	if sum != "" {
		options.UserMetadata = map[string]string{checksumHeader: sum}
	}
	var info minio.UploadInfo
	err := s.settle(ctx, s.transferLimit(b.size), func(ctx context.Context) (err error) {
		body := b.body()
		defer body.detach()
		info, err = s.core.PutObject(ctx, s.bucket, name, body, b.size, "", "", options)
		if err == nil {
			err = confirm(sum, info.ChecksumCRC32C)
		}
		return err
	})
	if err != nil {
		return Object{}, s.undo(ctx, name, "", outcomeOf(err), err)
	}
	return s.object(name, info.ETag, info.VersionID, b.size), nil
}

// confirm compares the checksum that was sent with what the server says it has. Servers that know
// no checksums say nothing.
func confirm(sent, stored string) error {
	if sent != "" && stored != "" && sent != stored {
		return fmt.Errorf("server has CRC32C %s of octets with %s", stored, sent)
	}
	return nil
}

// undo removes what a failed Put has left, also when ctx has ended. id is the multipart upload, if
// one was begun. It returns err, wrapped with ErrUncertain unless nothing can be left.
func (s *S3) undo(ctx context.Context, name, id string, o outcome, err error) error {
	if id == "" && o == refused {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	var undone error
	if id != "" {
		undone = s.abort(ctx, name, id)
		if o == unanswered {
			// A part that was on its way may have arrived after the abort.
			undone = errors.Join(undone, s.abort(ctx, name, id))
		}
	}
	if o != refused {
		undone = errors.Join(undone, s.remove(ctx, name))
	}
	if undone != nil {
		return fmt.Errorf("%w (%w; clean-up: %w)", err, ErrUncertain, undone)
	}
	if o == unanswered {
		return fmt.Errorf("%w (%w: a request was never answered)", err, ErrUncertain)
	}
	return err
}

// initiate begins a multipart upload. A try that was never answered may have begun one whose id
// nobody knows; stray reports it.
func (s *S3) initiate(ctx context.Context, name string) (id string, stray bool, err error) {
	var options minio.PutObjectOptions
	if s.checksum {
		options.UserMetadata = map[string]string{checksumAlgorithm: "CRC32C"}
	}
	err = s.settle(ctx, s.timeout, func(ctx context.Context) (err error) {
		id, err = s.core.NewMultipartUpload(ctx, s.bucket, name, options)
		if err == nil && id == "" {
			err = errors.New("server gave no upload id")
		}
		if err != nil && s.fault(err).outcome != refused {
			stray = true
		}
		return err
	})
	return id, stray, err
}

// abortStrays aborts every upload of the key but keep.
func (s *S3) abortStrays(ctx context.Context, name, keep string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	key := name[len(s.prefix):]
	left, err := s.Abandoned(ctx, key)
	for _, l := range left {
		if l.Key == key && l.UploadID != keep {
			err = errors.Join(err, s.Abort(ctx, l))
		}
	}
	return err
}

// sendPart stores one part and returns what completes it.
//
// It runs in a goroutine of the upload: a panic fails the upload there, and not the process.
func (s *S3) sendPart(ctx context.Context, name, id string, number int, b *buffer) (_ minio.CompletePart, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	sum := s.encoded(b)
	var part minio.ObjectPart
	err = s.settle(ctx, s.transferLimit(b.size), func(ctx context.Context) (err error) {
		options := minio.PutObjectPartOptions{DisableContentSha256: true}
		if sum != "" {
			options.CustomHeader = http.Header{checksumHeader: {sum}}
		}
		body := b.body()
		defer body.detach()
		part, err = s.core.PutObjectPart(ctx, s.bucket, name, id, number, body, b.size, options)
		if err == nil && part.ETag == "" {
			err = errors.New("server gave no ETag")
		}
		if err == nil {
			err = confirm(sum, part.ChecksumCRC32C)
		}
		return err
	})
	// The server's own checksum, not ours: where it gave none, it would refuse one in the list.
	return minio.CompletePart{PartNumber: number, ETag: part.ETag, ChecksumCRC32C: part.ChecksumCRC32C}, err
}

// complete makes an object of the parts and makes sure that it has the octets that were read.
func (s *S3) complete(ctx context.Context, name, id string, parts []minio.CompletePart, size int64) (Object, error) {
	var info minio.UploadInfo
	// The server may have to copy the parts: a 256th of the time they had.
	err := s.settle(ctx, s.transferLimit(size/256), func(ctx context.Context) (err error) {
		info, err = s.core.CompleteMultipartUpload(ctx, s.bucket, name, id, parts, minio.PutObjectOptions{})
		return err
	})
	// An upload that is gone after a try without an answer was completed by that try, if the object is there.
	known := outcomeOf(err)
	if err != nil && (known == refused || !errors.Is(err, ErrNotFound)) {
		return Object{}, err
	}
	var stat minio.ObjectInfo
	err = s.try(ctx, s.timeout, func(ctx context.Context) (err error) {
		stat, err = s.core.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{VersionID: info.VersionID})
		return err
	})
	if err == nil && stat.Size != size {
		err = fmt.Errorf("%w: object has %d octets, %d were sent", ErrUnavailable, stat.Size, size)
	}
	if err == nil && info.ETag != "" && stat.ETag != info.ETag {
		err = fmt.Errorf("%w: object has ETag %s, completed was %s", ErrUnavailable, stat.ETag, info.ETag)
	}
	if err != nil {
		// An object is visible, whatever became of asking for it.
		return Object{}, &fault{cause: fmt.Errorf("verify: %w", err), outcome: max(known, failed)}
	}
	return s.object(name, stat.ETag, stat.VersionID, size), nil
}
