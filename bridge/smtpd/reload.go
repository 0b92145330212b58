package smtpd

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxFileBytes bounds a file that is read whole: certificates and users are far smaller.
const maxFileBytes = 4 << 20

// retryAfter is how long a failed reload rests when its files stay as they are. What failed may be mended without a
// change to see on them: descriptors had run out, an owner was wrong, a disk was away.
const retryAfter = time.Minute

// reloaded is a value made from files, and made anew once one of them changes: rewritten, replaced by a rename, or
// reached through a symbolic link that now leads elsewhere, as Kubernetes swaps them. Nothing watches the files: they
// are looked at when the value is asked for. Where making it anew fails, the value from before stays.
type reloaded[T any] struct {
	load  func() (T, error)
	log   *slog.Logger
	paths []string

	now     atomic.Pointer[loaded[T]]
	loading sync.Mutex // held by the one who loads; the others go on with what there is
}

// loaded is a value with the state of the files that it was made from, or that did not make a better one.
type loaded[T any] struct {
	value   T
	stamps  []stamp
	failure string    // of the last attempt, if it failed
	tried   time.Time // when that was
}

// newReloaded loads the value for the first time. The error, which names the file and the remedy, is load's own.
func newReloaded[T any](load func() (T, error), log *slog.Logger, paths ...string) (*reloaded[T], error) {
	r := &reloaded[T]{load: load, log: log, paths: paths}
	stamps := stampsOf(paths) // before the files are read: a change in between is seen at the next look
	value, err := load()
	if err != nil {
		return nil, err
	}
	r.now.Store(&loaded[T]{value: value, stamps: stamps})
	return r, nil
}

// get returns the value as of the files' present state, at the price of a stat for each. While one caller loads,
// the others have the value from before. It is safe for concurrent use.
func (r *reloaded[T]) get() T {
	was := r.now.Load()
	if was.isOf(stampsOf(r.paths)) || !r.loading.TryLock() {
		return was.value
	}
	defer r.loading.Unlock()
	was = r.now.Load() // another caller may have loaded in the meantime
	stamps := stampsOf(r.paths)
	if was.isOf(stamps) {
		return was.value
	}
	is := r.reload(was, stamps)
	r.now.Store(is)
	return is.value
}

func (r *reloaded[T]) reload(was *loaded[T], stamps []stamp) *loaded[T] {
	value, err := r.load()
	if err == nil {
		r.log.Info("files read again", "files", r.paths)
		return &loaded[T]{value: value, stamps: stamps}
	}
	is := &loaded[T]{value: was.value, stamps: stamps, failure: err.Error(), tried: time.Now()}
	if is.failure != was.failure || !sameStamps(stamps, was.stamps) {
		r.log.Error("changed files were not taken over; what was read before stays in use", "files", r.paths, "error", err)
	}
	return is
}

// isOf reports whether there is nothing to gain from reading files in the state of stamps.
func (l *loaded[T]) isOf(stamps []stamp) bool {
	return sameStamps(stamps, l.stamps) && (l.failure == "" || time.Since(l.tried) < retryAfter)
}

// stamp tells one state of a file from another. A file that is rewritten in place twice within a tick of the file
// system's clock, to the same size, looks as if it had been written once.
type stamp struct {
	info fs.FileInfo // nil when the file cannot be looked at
	err  string
}

func stampsOf(paths []string) []stamp {
	stamps := make([]stamp, len(paths))
	for i, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			stamps[i].err = err.Error()
			continue
		}
		stamps[i].info = info
	}
	return stamps
}

func sameStamps(a, b []stamp) bool {
	return slices.EqualFunc(a, b, func(a, b stamp) bool {
		if a.info == nil || b.info == nil {
			return a.info == b.info && a.err == b.err
		}
		return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.Mode() == b.info.Mode() &&
			a.info.ModTime().Equal(b.info.ModTime())
	})
}

// readFile reads a whole regular file of up to maxFileBytes. Anything else could block, or could not be read again.
func readFile(path string) (content []byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s; want a regular file, which can be read again", path, kindOf(info.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	content, err = io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(content) > maxFileBytes {
		return nil, fmt.Errorf("%s is larger than %d octets; is it the right one?", path, maxFileBytes)
	}
	return content, err
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
