//go:build !unix

package objectstore

import "os"

// writable only makes sure that the directory is there: this system has no call that tells more.
func writable(dir string) error {
	_, err := os.Stat(dir)
	return err
}

// removeDir removes an empty directory.
func removeDir(name string) error { return os.Remove(name) }
