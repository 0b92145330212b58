package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// The directories below that of the spool.
const (
	tmpDir, newDir, failedDir = "tmp", "new", "failed"
	retryDir, removedDir      = "retry", "removed"
)

// Config says where a spool is and how much it may hold. Sizes are octets; 0 is no limit.
type Config struct {
	Dir          string
	MaxBytes     int64 // of all records, those set aside included
	MaxMessages  int64 // records, those set aside included
	MinFreeBytes int64 // what is left free on the disk
	Logger       *slog.Logger
}

// ErrFull reports a spool that is at one of its limits, or a disk that is.
var ErrFull = errors.New("the spool is full")

// ErrInUse reports a spool directory that another process owns.
var ErrInUse = errors.New("the spool directory is in use by another process")

// Spool is the owner of a spool directory. Its methods are safe for concurrent use.
type Spool struct {
	cfg     Config
	disk    disk
	lock    *flock.Flock
	dirs    map[string]*sharedSync // by directory
	journal *journal
	queue   queue
	orphans []Intent // found by Open

	mu     sync.Mutex
	held   holdings
	broken error // why records cannot be written, as the last try had it; nil when it succeeded
}

// holdings is how much is in the spool.
type holdings struct {
	waiting, failed   int64 // records
	bytes, failedSize int64 // of new and failed together; of failed
}

// Open takes hold of a spool directory, which it makes where it is missing, and reads what is in it: records wait for
// Take afterwards, damaged ones have been set aside, intents wait for the caller, see Intents. Close it.
//
// Its errors name the directory, and what is wrong: ErrInUse, no right to write, a newer version.
func Open(cfg Config) (*Spool, error) { return open(cfg, realDisk{}) }

func open(cfg Config, d disk) (_ *Spool, err error) {
	s := &Spool{cfg: cfg, disk: d, dirs: map[string]*sharedSync{}}
	s.queue.init()
	fail := func(err error) error { return fmt.Errorf("spool directory %s: %w", cfg.Dir, err) }
	if err := makeDirs(d, cfg.Dir); err != nil {
		return nil, fail(err)
	}
	for _, name := range []string{tmpDir, newDir, failedDir, retryDir, removedDir} {
		s.dirs[name] = &sharedSync{sync: func() error { return d.syncDir(filepath.Join(cfg.Dir, name)) }}
	}
	s.lock = flock.New(filepath.Join(cfg.Dir, "lock"), flock.SetPermissions(fileMode))
	locked, err := s.lock.TryLock()
	if err != nil {
		return nil, fail(err)
	}
	if !locked {
		return nil, fail(ErrInUse)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	if err := s.checkVersion(); err != nil {
		return nil, fail(err)
	}
	if err := s.clearTmp(); err != nil {
		return nil, fail(err)
	}
	if s.journal, err = openJournal(d, cfg.Dir, cfg.Logger, time.Now()); err != nil {
		return nil, fail(err)
	}
	if err := s.scan(); err != nil {
		return nil, fail(errors.Join(err, s.journal.close()))
	}
	return s, nil
}

// makeDirs makes the directory of a spool and those below it, and makes them durable.
func makeDirs(d disk, dir string) error {
	for _, name := range []string{tmpDir, newDir, failedDir, retryDir, removedDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), dirMode); err != nil {
			return err
		}
	}
	return errors.Join(d.syncDir(dir), d.syncDir(filepath.Dir(dir)))
}

// checkVersion refuses a directory of a newer version, and marks a new one.
func (s *Spool) checkVersion() error {
	name := filepath.Join(s.cfg.Dir, "version")
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return os.WriteFile(name, []byte(strconv.Itoa(version)+"\n"), fileMode)
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return fmt.Errorf("its file %q says %.20q; want the version of a spool, a number", "version", text)
	}
	if n > version {
		return fmt.Errorf("it is of version %d, this program knows up to %d; want a newer lsmtpd", n, version)
	}
	return nil
}

// clearTmp removes what was being written when the last owner ended: nobody was told that it is safe.
func (s *Spool) clearTmp() error {
	dir := filepath.Join(s.cfg.Dir, tmpDir)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
	}
	return err
}

// Close gives the directory up. Records that were taken must have been given back.
func (s *Spool) Close() error {
	s.queue.close()
	return errors.Join(s.journal.close(), s.lock.Close())
}

// Stats is how much a spool holds.
type Stats struct {
	Waiting, Failed    int64 // records
	Bytes, FailedBytes int64 // octets of waiting ones, and of those set aside
	Oldest             time.Time
	Intents            int
	JournalBroken      bool
}

// Stats counts.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	st := Stats{Waiting: s.held.waiting, Failed: s.held.failed, Bytes: s.held.bytes - s.held.failedSize, FailedBytes: s.held.failedSize}
	s.mu.Unlock()
	st.Oldest = s.queue.oldest()
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	st.Intents, st.JournalBroken = len(s.journal.live), s.journal.broken != nil
	return st
}

// Uploading notes, durably, that an object is about to be put under key by the transaction, or the delivery, with
// this id. ErrJournal: it may or may not be noted; nothing must be uploaded then.
func (s *Spool) Uploading(id, key string) error {
	return s.journal.note(Intent{ID: id, State: Uploading, Keys: []string{key}}, true)
}

// Publishing notes, durably, that a message that refers to the objects is about to be sent. ErrJournal: it must not be.
func (s *Spool) Publishing(id string) error {
	return s.journal.note(Intent{ID: id, State: Publishing}, true)
}

// Refused notes, durably, that no message refers to the objects, which are about to be deleted.
func (s *Spool) Refused(id string) error {
	return s.journal.note(Intent{ID: id, State: Refused}, true)
}

// Drop ends an intent, durably: from now on its objects belong to a record.
func (s *Spool) Drop(id string) error { return s.journal.note(Intent{ID: id, State: dropped}, true) }

// Done ends an intent that needs no more care: its objects are deleted, or it was in state Publishing. The line is
// written with the next one that somebody waits for.
func (s *Spool) Done(id string) {
	_ = s.journal.note(Intent{ID: id, State: dropped}, false) // not waited for: no error
}

// Intent returns the live intent of an id, false where there is none.
func (s *Spool) Intent(id string) (Intent, bool) { return s.journal.state(id) }
