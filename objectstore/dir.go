package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const (
	// copyBytes is the buffer of one Put.
	copyBytes = 64 << 10
	// Objects are mail: for the owner, and for the group of those who consume them.
	dirMode, fileMode = 0o750, 0o640
)

// Dir keeps objects as files: the object KEY is the file ROOT/KEY, and while it is written the file
// ROOT/KEY.part. ROOT holds nothing else. A Put holds 64 KiB of memory and one file descriptor.
type Dir struct {
	root    string
	buffers sync.Pool // of *[]byte, copyBytes long

	mu     sync.Mutex
	rooted bool // root has been made, durably
}

// NewDir returns the store in the directory root, an absolute path. The first Put, or Check, makes
// it where it is missing.
func NewDir(root string) *Dir {
	d := &Dir{root: filepath.Clean(root)}
	d.buffers.New = func() any {
		b := make([]byte, copyBytes)
		return &b
	}
	return d
}

func (d *Dir) file(key string) string { return filepath.Join(d.root, filepath.FromSlash(key)) }

// Put implements Store. The file is on disk, with the directories that lead to it, when Put returns.
func (d *Dir) Put(ctx context.Context, key string, r io.Reader) (Object, error) {
	if err := checkKey(key); err != nil {
		return Object{}, fmt.Errorf("objectstore: put: %w", err)
	}
	src := &source{r: r}
	defer src.repanic()
	size, err := d.write(ctx, key, src)
	if err != nil {
		return Object{}, fmt.Errorf("objectstore: put %s: %w", key, d.fault(err))
	}
	return Object{URL: objectURL("file", "", filepath.ToSlash(d.file(key))), Key: key, Size: size}, nil
}

func (d *Dir) write(ctx context.Context, key string, src *source) (size int64, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	name := d.file(key)
	temporary := name + partSuffix
	f, err := d.create(temporary)
	if err != nil {
		return 0, err
	}
	placed := temporary
	defer func() {
		if err == nil {
			return
		}
		_ = f.Close() // closed already, or of no interest: the file goes
		if rerr := d.remove(placed); rerr != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", ErrUncertain, rerr))
		}
	}()
	// Whoever has made the temporary file is alone with the key, so this cannot race.
	if _, err := os.Lstat(name); err == nil {
		return 0, ErrExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if size, err = d.copy(ctx, f, src); err != nil {
		return 0, err
	}
	if err := seal(f, size); err != nil {
		return 0, err
	}
	if err := os.Rename(temporary, name); err != nil {
		return 0, err
	}
	placed = name
	return size, d.syncParents(name)
}

// makeRoot makes the root and makes the way to it durable, once. Directories above it that this user
// may not read cannot be synced, nor have they been made here.
func (d *Dir) makeRoot() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rooted {
		return nil
	}
	if err := os.MkdirAll(d.root, dirMode); err != nil {
		return err
	}
	for dir := d.root; dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	d.rooted = true
	return nil
}

// create makes a file and the directories that lead to it. It tries again when a Delete that
// empties the directory takes it away in between.
func (d *Dir) create(name string) (*os.File, error) {
	if err := d.makeRoot(); err != nil {
		return nil, err
	}
	const tries = 100
	for n := 1; ; n++ {
		if err := os.MkdirAll(filepath.Dir(name), dirMode); err != nil && (n == tries || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, fs.ErrExist):
			return nil, fmt.Errorf("%w: %s is there", ErrExists, name)
		case n == tries || !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
}

func (d *Dir) copy(ctx context.Context, f *os.File, src *source) (int64, error) {
	buf := d.buffers.Get().(*[]byte)
	defer d.buffers.Put(buf)
	var size int64
	for {
		n, err := fill(src, *buf)
		if ctx.Err() != nil {
			return size, context.Cause(ctx)
		}
		if err != nil && err != io.EOF {
			return size, err
		}
		if _, err := f.Write((*buf)[:n]); err != nil {
			return size, err
		}
		size += int64(n)
		if err == io.EOF {
			return size, nil
		}
	}
}

// fill reads until p is full or src has ended: a reader of short pieces must not cost a write each.
func fill(src *source, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = src.Read(p[n:])
		n += k
	}
	return n, err
}

// seal makes the octets durable and makes sure that there are as many as were read.
func seal(f *os.File, size int64) error {
	if err := f.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != size {
		return fmt.Errorf("%w: file has %d octets, %d were written", ErrUnavailable, info.Size(), size)
	}
	return f.Close()
}

// syncParents makes the entry of a file durable: in its directory, and that one in its own, up to
// the root. Another Put may have made a directory without having come to sync it, so all are synced;
// one without changes costs next to nothing.
func (d *Dir) syncParents(name string) error {
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return err
		}
		if dir == d.root {
			return nil
		}
	}
}

func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // a file system that knows no fsync of directories
	}
	return errors.Join(err, dir.Close())
}

// Together implements Store. Uploads to a directory need nothing that others could hold.
func (d *Dir) Together() Store { return d }

// Get implements Store. A local file makes nobody wait, so the context has no say.
func (d *Dir) Get(_ context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("objectstore: get: %w", err)
	}
	f, err := os.Open(d.file(key))
	if err != nil && absent(err) {
		return nil, fmt.Errorf("objectstore: get %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("objectstore: get %s: %w", key, d.fault(err))
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // only read
		return nil, fmt.Errorf("objectstore: get %s: %w", key, ErrNotFound)
	}
	return f, nil
}

// Delete implements Store. It also removes the directories that it has left empty, except the root.
func (d *Dir) Delete(_ context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return fmt.Errorf("objectstore: delete: %w", err)
	}
	if err := d.remove(d.file(key)); err != nil {
		return fmt.Errorf("objectstore: delete %s: %w", key, d.fault(err))
	}
	return nil
}

// remove unlinks a file and the directories that became empty, and makes that durable.
func (d *Dir) remove(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.IsDir() {
		return nil // a prefix of other keys, not an object
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil // below an object: there never was anything
	}
	if err == nil {
		err = os.Remove(name)
	}
	if err != nil && !absent(err) {
		return err
	}
	// Also after nothing was there: what a crash left undone is finished.
	dir := filepath.Dir(name)
	for dir != d.root {
		if err := removeDir(dir); err != nil && !absent(err) {
			break // not empty, in all likelihood; a directory that stays is no harm
		}
		dir = filepath.Dir(dir)
	}
	if err := syncDir(dir); err != nil && !absent(err) {
		return err
	}
	return nil
}

// absent tells that a file is not there, be it for want of a directory.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Check implements Store. It makes the root where it is missing.
func (d *Dir) Check(context.Context) error {
	if err := d.makeRoot(); err != nil {
		return fmt.Errorf("objectstore: check %s: %w", d.root, d.fault(err))
	}
	if err := writable(d.root); err != nil {
		return fmt.Errorf("objectstore: check %s: %w", d.root, d.fault(err))
	}
	return nil
}

// Abandoned implements Store.
func (d *Dir) Abandoned(ctx context.Context, prefix string) ([]Leftover, error) {
	if strings.Contains("/"+prefix+"/", "/../") || strings.HasPrefix(prefix, "/") {
		return nil, fmt.Errorf("objectstore: list leftovers: prefix %.80q: %w", prefix, ErrKey)
	}
	var left []Leftover
	err := filepath.WalkDir(d.file(path.Dir(prefix+"x")), func(name string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if absent(err) {
				return nil
			}
			return err
		}
		key, ok := d.leftoverKey(name)
		if !ok || e.IsDir() || !strings.HasPrefix(key, prefix) {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil // it went in the meantime
		}
		left = append(left, Leftover{Key: key, Started: info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("objectstore: list leftovers of %q: %w", prefix, d.fault(err))
	}
	return left, nil
}

func (d *Dir) leftoverKey(name string) (key string, ok bool) {
	relative, err := filepath.Rel(d.root, name)
	if err != nil {
		return "", false
	}
	return strings.CutSuffix(filepath.ToSlash(relative), partSuffix)
}

// Abort implements Store.
func (d *Dir) Abort(_ context.Context, l Leftover) error {
	if err := checkKey(l.Key); err != nil {
		return fmt.Errorf("objectstore: abort: %w", err)
	}
	if err := d.remove(d.file(l.Key) + partSuffix); err != nil {
		return fmt.Errorf("objectstore: abort %s: %w", l.Key, d.fault(err))
	}
	return nil
}

// fault adds to an error of the file system what a caller decides on, and what would help.
func (d *Dir) fault(err error) error {
	var read *ReadError
	var number syscall.Errno
	switch {
	case errors.As(err, &read):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("disk or quota full, make room in %s: %w: %w", d.root, ErrUnavailable, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("file system of %s is read-only: %w: %w", d.root, ErrDenied, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("let this user write in %s: %w: %w", d.root, ErrDenied, err)
	case errors.As(err, &number):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
