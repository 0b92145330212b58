//go:build unix

package objectstore

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// writable asks the system whether files can be made in a directory, without making one. It also
// notices a file system mounted read-only.
func writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}

// removeDir removes an empty directory, and never a file.
func removeDir(name string) error {
	if err := unix.Rmdir(name); err != nil {
		return &fs.PathError{Op: "rmdir", Path: name, Err: err}
	}
	return nil
}
