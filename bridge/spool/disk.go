package spool

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// disk is what of the file system decides about what a power cut leaves. Tests put one in its place that forgets what
// was not synced.
type disk interface {
	// create makes a file that was not there, for reading and writing.
	create(name string) (*os.File, error)
	// sync makes the octets of a file durable, syncDir the entries of a directory.
	sync(f *os.File) error
	syncDir(name string) error
	rename(from, to string) error
	remove(name string) error
}

// Records are mail: only the owner reads them.
const fileMode, dirMode = 0o600, 0o700

// realDisk is the disk as the operating system has it.
type realDisk struct{}

func (realDisk) create(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
}

func (realDisk) sync(f *os.File) error { return f.Sync() }

func (realDisk) syncDir(name string) error {
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

func (realDisk) rename(from, to string) error { return os.Rename(from, to) }

func (realDisk) remove(name string) error { return os.Remove(name) }

// move renames a record between two directories of the spool, durably: it is never in neither of them. Where that cannot
// be made durable, a power cut may undo it; until then it is where it was moved to.
func (s *Spool) move(name, from, to string) error {
	if err := s.disk.rename(filepath.Join(s.cfg.Dir, from, name), filepath.Join(s.cfg.Dir, to, name)); err != nil {
		return err
	}
	if err := errors.Join(s.dirs[to].do(), s.dirs[from].do()); err != nil {
		s.cfg.Logger.Error("a directory of the spool cannot be synced: a power cut may undo that a record was moved", "record", name, "to", to, "error", err)
	}
	return nil
}
