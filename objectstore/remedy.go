package objectstore

import (
	"context"
	"errors"
	"io/fs"
)

// Remedy says what an operator can do about an error of a Store, naming the
// setting concerned. It is empty where nothing is known.
func Remedy(err error) string {
	switch {
	case errors.Is(err, ErrDenied), errors.Is(err, fs.ErrPermission):
		return "check store.access_key and store.secret_key and their rights on the bucket; for a directory, who may write to it and whether it is mounted read-only"
	case errors.Is(err, ErrNoBucket):
		return "make the bucket, or set store.url to one that exists"
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return "check that the store runs, has room, and is where store.url says"
	}
	return ""
}
