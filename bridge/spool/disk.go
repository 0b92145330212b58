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

// move renames a record between two directories of the spool, durably: it is never in neither of them.
func (s *Spool) move(name, from, to string) error {
	if err := s.disk.rename(filepath.Join(s.cfg.Dir, from, name), filepath.Join(s.cfg.Dir, to, name)); err != nil {
		return err
	}
	if err := s.dirs[to].do(); err != nil {
		return err
	}
	return s.dirs[from].do()
}
