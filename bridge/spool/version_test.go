package spool

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestVersion1 reads a directory as the first version has left it. What a later version changes, it has to read.
func TestVersion1(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/version-1")); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, Config{Dir: dir})
	if st := s.Stats(); st.Waiting != 2 || st.Failed != 0 {
		t.Fatalf("%+v, want two waiting", st)
	}
	if left := s.Orphans(); len(left) != 1 || left[0].State != Uploading || len(left[0].Keys) != 1 || !strings.HasSuffix(left[0].Keys[0], "/2") {
		t.Errorf("orphans %v, want one with its key", left)
	}
	for range 2 {
		e := takeNow(t, s)
		switch e.Kind {
		case Prepared:
			m, err := e.Message()
			d := e.Deliveries[0]
			if err != nil || m.ID != e.ID || string(m.Blobs["b1"].Inline) != "abc" || d.Address != "mail" || d.Subject != "s" || d.GroupID != "g" || !e.Sent() {
				t.Errorf("%+v, %+v, %v", m, e.Record, err)
			}
		case Raw:
			octets, err := io.ReadAll(e.Payload())
			if err != nil || e.Verify() != nil || string(octets) != "From: a@example.org\r\n\r\ntext\r\n" || e.Envelope.Helo != "client.example" || e.OffloadThreshold != 65536 || e.StoreRaw {
				t.Errorf("%q, %+v, %v", octets, e.Record, err)
			}
		}
		e.Remove()
	}
	if st := s.Stats(); st.Waiting != 0 || st.Bytes != 0 {
		t.Errorf("%+v, want nothing", st)
	}
}
