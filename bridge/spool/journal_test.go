package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// unsyncedDisk is a full disk on which a directory cannot be synced, either.
type unsyncedDisk struct {
	fullDisk
	dir string
}

func (d *unsyncedDisk) syncDir(name string) error {
	if name == d.dir {
		return &os.PathError{Op: "sync", Path: name, Err: syscall.EIO}
	}
	return d.fullDisk.syncDir(name)
}

// TestJournalExchangeInDoubt: when it is open which file a crash leaves as the journal, nothing counts as noted that is
// only in one of them.
func TestJournalExchangeInDoubt(t *testing.T) {
	d := &unsyncedDisk{}
	s, err := open(Config{Dir: t.TempDir(), Logger: quiet()}, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := newID()
	if err := s.Uploading(id, strings.Repeat("k", journalRoom/2)); err != nil {
		t.Fatal(err) // from now on it is time to write the journal anew
	}
	d.dir = s.cfg.Dir
	if err := s.Uploading(newID(), "k/1"); !errors.Is(err, ErrJournal) {
		t.Errorf("%v while the directory cannot be synced, want ErrJournal", err)
	}
	d.dir, d.full = "", true
	if err := s.Publishing(id); err != nil {
		return // nobody was told that it is noted
	}
	live, _, err := readJournal(filepath.Join(s.cfg.Dir, journalName))
	if err != nil || live[id] == nil || live[id].State != Publishing {
		t.Errorf("%v, %v: noted, and a start would not know of it", live[id].State, err)
	}
}

// TestOpenOnFullDisk: a spool that holds mail is opened again when no file can be made.
func TestOpenOnFullDisk(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	id := newID()
	if err := errors.Join(s.Add(prepared(id, newID(), "mail", false)), s.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := open(s.cfg, &fullDisk{full: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	takeNow(t, again).Remove()
}

// TestSpareIsTheJournal: what a power cut has left under both names is not written over.
func TestSpareIsTheJournal(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	id := newID()
	journal, spare := filepath.Join(s.cfg.Dir, journalName), filepath.Join(s.cfg.Dir, tmpDir, journalName)
	if err := errors.Join(s.Uploading(id, "k/1"), s.Close(), os.Remove(spare), os.Link(journal, spare)); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(journal)
	if err != nil {
		t.Fatal(err)
	}
	s = openAt(t, s.cfg)
	if after, err := os.Stat(journal); err != nil || os.SameFile(before, after) {
		t.Errorf("%v: the journal was written over in its place", err)
	}
	if _, ok := s.Intent(id); !ok {
		t.Error("the intent is lost")
	}
}

// TestDoneIsNoted: the end of an intent that nobody waits for is in the file soon, also where no other line follows.
func TestDoneIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(Config{Dir: dir, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		id := newID()
		if err := errors.Join(s.Uploading(id, "k/1"), s.Publishing(id)); err != nil {
			t.Fatal(err)
		}
		s.Done(id)
		inFile := func() int {
			live, _, err := readJournal(filepath.Join(dir, journalName))
			if err != nil {
				t.Fatal(err)
			}
			return len(live)
		}
		if got := inFile(); got != 1 {
			t.Errorf("%d live intents in the file at once, want 1: nobody waits for its end", got)
		}
		<-time.After(2 * noteWithin)
		synctest.Wait()
		if got := inFile(); got != 0 {
			t.Errorf("%d live intents in the file after %v, want none", got, 2*noteWithin)
		}
		s.Done(newID()) // is written by Close
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
