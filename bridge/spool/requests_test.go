package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestRequestsGoOn: a file that cannot be dealt with does not hold up the others.
func TestRequestsGoOn(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	var ids []string
	for range 3 {
		id := newID()
		ids = append(ids, id)
		if err := s.Add(prepared(id, newID(), "mail", false)); err != nil {
			t.Fatal(err)
		}
		takeNow(t, s).Aside(errors.New("reason"))
	}
	for _, id := range ids {
		if err := Find(s.cfg.Dir, id, func(f File) error { return AskRetry(s.cfg.Dir, f) }); err != nil {
			t.Fatal(err)
		}
	}
	// One that is no file.
	for _, dir := range []string{retryDir, removedDir} {
		if err := os.MkdirAll(filepath.Join(s.cfg.Dir, dir, "00000000-0000-7000-8000-000000000000.prepared", "x"), dirMode); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Requests(func(*Record) error { return nil }); err == nil {
		t.Error("no error for what is no file")
	}
	if st := s.Stats(); st.Waiting != 3 || st.Failed != 0 {
		t.Errorf("%+v, want three waiting", st)
	}
}

// TestRemoveWaiting: a record that waits and is removed counts no more, also where nobody takes records.
func TestRemoveWaiting(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	keep, gone := newID(), newID()
	for _, id := range []string{keep, gone} {
		if err := s.Add(prepared(id, newID(), "mail", false)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Find(s.cfg.Dir, gone, func(f File) error { return AskRemove(s.cfg.Dir, f) }); err != nil {
		t.Fatal(err)
	}
	asked := 0
	if err := s.Requests(func(r *Record) error { asked++; return nil }); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v; want once", asked, err)
	}
	if st := s.Stats(); st.Waiting != 1 || st.Failed != 0 {
		t.Errorf("%+v, want one waiting", st)
	}
	e := takeNow(t, s)
	if e.ID != keep {
		t.Errorf("%s is taken, want %s", e.ID, keep)
	}
	// One that is removed while it is being delivered is not made anew.
	if err := Find(s.cfg.Dir, keep, func(f File) error { return AskRemove(s.cfg.Dir, f) }); err != nil {
		t.Fatal(err)
	}
	if placed, err := e.Rewrite(prepared(keep, newID(), "mail", false)); placed || err == nil {
		t.Errorf("rewritten: %v, %v; want an error", placed, err)
	}
	if err := s.Requests(func(*Record) error { return nil }); err != nil {
		t.Error(err)
	}
	e.Later(errors.New("reason"))
	if i, waits := s.queue.remove(e.item.id, false); !waits || len(s.queue.lanes) != 0 {
		t.Errorf("%v, %d addresses are left; want none", i.id, len(s.queue.lanes))
	}
}
