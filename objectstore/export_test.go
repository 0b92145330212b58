package objectstore

import "testing"

// NewFakeS3ForTest returns a store at a fake server, and what lists everything on that server.
func NewFakeS3ForTest(t *testing.T) (Store, func(*testing.T) []string) {
	f := newFakeS3(t)
	return newTestS3(t, f, nil), func(*testing.T) []string { return f.residue() }
}
