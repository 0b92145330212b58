package objectstore

import (
	"context"
	"errors"
)

// Discard removes the object under key, and what was to become it: unfinished multipart uploads and temporary files.
// It is no error when there is nothing.
func Discard(ctx context.Context, s Store, key string) error {
	left, err := s.Abandoned(ctx, key)
	for _, l := range left {
		if l.Key == key {
			err = errors.Join(err, s.Abort(ctx, l))
		}
	}
	return errors.Join(err, s.Delete(ctx, key))
}
