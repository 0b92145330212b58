//go:build !unix

package objectstore

func newSlab() ([]byte, error) { return make([]byte, SlabBytes), nil }

func freeSlab([]byte) {}
