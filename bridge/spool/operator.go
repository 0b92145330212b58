package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// What follows is for who looks at a spool directory, or asks something of it, beside its owner.

// Place says where a record is.
type Place string

const (
	Waiting Place = "waiting" // to be delivered
	Failed  Place = "failed"  // set aside
	Retry   Place = "retry"   // set aside, and to be tried again as soon as an owner sees it
	Removed Place = "removed" // to be removed as soon as an owner sees it
)

// places are the directories of a spool with records.
var places = []struct {
	place Place
	dir   string
}{{Waiting, newDir}, {Failed, failedDir}, {Retry, retryDir}, {Removed, removedDir}}

// ErrNoRecord reports an id of which there is no record.
var ErrNoRecord = errors.New("there is no such record in the spool")

// File is the file of a record.
type File struct {
	Name  string
	Place Place
	Size  int64 // octets
	// Record is what the file says, nil where Err is why that cannot be read. It is open during the call of Look only.
	Record *Record
	Err    error
}

// Look calls f for every file of a spool directory that is a record, or should be one, and returns the first error of f.
// The directory may have an owner: what goes away meanwhile is left out.
func Look(dir string, f func(File) error) error {
	for _, p := range places {
		entries, err := os.ReadDir(filepath.Join(dir, p.dir))
		if err != nil {
			return notSpool(dir, err)
		}
		for _, e := range entries {
			if err := lookAt(filepath.Join(dir, p.dir, e.Name()), p.place, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func notSpool(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no spool directory: %w", dir, err)
	}
	return err
}

func lookAt(path string, p Place, f func(File) error) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file := File{Name: filepath.Base(path), Place: p, Size: info.Size()}
	file.Record, file.Err = openRecord(path)
	if errors.Is(file.Err, fs.ErrNotExist) {
		return nil
	}
	err = f(file)
	if file.Record != nil {
		_ = file.Record.Close() // only read
	}
	return err
}

// Find calls f with the record of an id, or ErrNoRecord.
func Find(dir, id string, f func(File) error) error {
	found := false
	err := Look(dir, func(file File) error {
		name, _, _ := strings.Cut(file.Name, ".")
		if found || name != id && file.Name != id {
			return nil
		}
		found = true
		return f(file)
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: %s", ErrNoRecord, id)
	}
	return err
}

// AskRetry asks the owner of a directory, or the next one, to try a record again that was set aside.
func AskRetry(dir string, f File) error {
	if f.Place != Failed {
		return fmt.Errorf("%s is not set aside but %s: only what is set aside has to be tried again", f.Name, f.Place)
	}
	return ask(dir, f.Name, failedDir, retryDir)
}

// AskRemove asks the owner of a directory, or the next one, to remove a record.
func AskRemove(dir string, f File) error {
	for _, p := range places {
		if p.place == f.Place && p.place != Removed {
			return ask(dir, f.Name, p.dir, removedDir)
		}
	}
	return fmt.Errorf("%s is removed already, as soon as lsmtpd serves", f.Name)
}

// ask moves a record, durably.
func ask(dir, name, from, to string) error {
	if err := os.Rename(filepath.Join(dir, from, name), filepath.Join(dir, to, name)); err != nil {
		return err
	}
	d := realDisk{}
	return errors.Join(d.syncDir(filepath.Join(dir, to)), d.syncDir(filepath.Join(dir, from)))
}

// Owned reports whether a process owns the directory now.
func Owned(dir string) (bool, error) {
	l := flock.New(filepath.Join(dir, "lock"), flock.SetFlag(os.O_RDONLY))
	free, err := l.TryRLock()
	if err != nil {
		return false, notSpool(dir, err)
	}
	return !free, l.Close()
}

// ReadIntents returns the live intents of a directory: the orphans, which no record sees to, as the next owner would find
// them, and the others. Where there is an owner, those of what is under way are among the orphans. What is wrong with the
// journal is for the owner to say.
func ReadIntents(dir string) (orphans, others []Intent, err error) {
	live, _, err := readJournal(filepath.Join(dir, journalName))
	if err != nil {
		return nil, nil, err
	}
	recorded := map[string]bool{}
	err = Look(dir, func(f File) error {
		if f.Record != nil && f.Place != Removed {
			recorded[f.Record.ID], recorded[f.Record.TransactionID] = true, true
		}
		return nil
	})
	for _, i := range live {
		if recorded[i.ID] {
			others = append(others, *i)
		} else {
			orphans = append(orphans, *i)
		}
	}
	return orphans, others, err
}

// Check reports what would keep Open from making or using a directory, as far as that can be told without changing
// anything in it. It may have an owner.
func Check(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := makeable(filepath.Dir(dir)); err != nil {
			return fmt.Errorf("%s cannot be made: %w", dir, err)
		}
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is a file; want a directory", dir)
	}
	if err := writable(dir); err != nil {
		return err
	}
	if _, err := readVersion(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// makeable reports what would keep a directory from being made in dir, which may have to be made as well.
func makeable(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		return makeable(filepath.Dir(dir))
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is a file; want a directory", dir)
	}
	if err != nil {
		return err
	}
	return writable(dir)
}

// writable makes a file, and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".lsmtpd-check-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
