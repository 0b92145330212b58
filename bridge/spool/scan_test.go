package spool

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSetAsideHoldsItsObjects: an operator may have a record tried again that was set aside, so its objects are not
// those of an intent that nobody sees to.
func TestSetAsideHoldsItsObjects(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	id, transaction := newID(), newID()
	err := errors.Join(s.Uploading(transaction, "k/1"), s.Uploading(id, "k/2"), s.Add(prepared(id, transaction, "mail", false)))
	if err != nil {
		t.Fatal(err)
	}
	takeNow(t, s).Aside(errors.New("tried too often"))
	if orphans, others, err := ReadIntents(s.cfg.Dir); err != nil || len(orphans) != 0 || len(others) != 2 {
		t.Errorf("intents %v and %v, %v; want two that a record sees to", orphans, others, err)
	}
	s = reopen(t, s)
	if got := s.Orphans(); len(got) != 0 {
		t.Errorf("orphans %v, want none", got)
	}
	if _, lives := s.Intent(transaction); lives {
		t.Error("the intent of the transaction lives beside its record")
	}
}

// TestUnreadSetAside: where it is not known which objects belong to a record that was set aside, none are deleted.
func TestUnreadSetAside(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	err := errors.Join(s.Uploading(newID(), "k/1"), os.Mkdir(filepath.Join(s.cfg.Dir, failedDir, fileName(newID(), Prepared)), dirMode))
	if err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if got := s.Orphans(); len(got) != 1 || got[0].State != Publishing {
		t.Errorf("orphans %v, want one in doubt", got)
	}
}

// recordingDisk notes which directories are synced.
type recordingDisk struct {
	realDisk
	synced  map[string]bool
	private string // a directory that cannot be read
}

func (d *recordingDisk) syncDir(name string) error {
	d.synced[name] = true
	if name == d.private {
		return &os.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return d.realDisk.syncDir(name)
}

// TestWayIsDurable: every directory that Open makes is synced in its own.
func TestWayIsDurable(t *testing.T) {
	root := t.TempDir()
	d := &recordingDisk{synced: map[string]bool{}, private: root}
	s, err := open(Config{Dir: filepath.Join(root, "a", "b", "spool"), Logger: quiet()}, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, dir := range []string{root, filepath.Join(root, "a"), filepath.Join(root, "a", "b"), s.cfg.Dir} {
		if !d.synced[dir] {
			t.Errorf("%s is not synced", dir)
		}
	}
}
