//go:build unix

package objectstore

import "golang.org/x/sys/unix"

// newSlab takes a slab from the system, beside the Go heap: its garbage collector would otherwise
// let the heap grow by as much again before it runs.
func newSlab() ([]byte, error) {
	return unix.Mmap(-1, 0, SlabBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// freeSlab gives a slab back; whoever touches it afterwards crashes the process.
func freeSlab(slab []byte) {
	// It fails only for memory that Mmap did not return.
	_ = unix.Munmap(slab)
}
