package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
var ErrInUse = errors.New("the spool directory is in use by another process, which serves on it or sweeps")

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
	waiting, bytes int64            // records that wait or are being written, and their octets
	aside          map[string]int64 // octets of those set aside, by the names of their files
	asideBytes     int64
}

// setAside counts a record that no longer waits, or never did, and is kept.
func (h *holdings) setAside(name string, octets int64) {
	h.aside[name] = octets
	h.asideBytes += octets
}

// takeBack counts a record that is set aside no more; false where it was not.
func (h *holdings) takeBack(name string) (octets int64, ok bool) {
	octets, ok = h.aside[name]
	delete(h.aside, name)
	h.asideBytes -= octets
	return octets, ok
}

// Open takes hold of a spool directory, which it makes where it is missing, and reads what is in it: records wait for
// Take afterwards, damaged ones have been set aside, intents wait for the caller, see Intents. Close it.
//
// Its errors name the directory, and what is wrong: ErrInUse, no right to write, a newer version.
func Open(cfg Config) (*Spool, error) { return open(cfg, realDisk{}) }

func open(cfg Config, d disk) (_ *Spool, err error) {
	s := &Spool{cfg: cfg, disk: d, dirs: map[string]*sharedSync{}, held: holdings{aside: map[string]int64{}}}
	s.queue.init()
	fail := func(err error) error { return fmt.Errorf("spool directory %s: %w", cfg.Dir, err) }
	if err := makeDirs(d, cfg.Dir); err != nil {
		return nil, fail(err)
	}
	for _, name := range []string{tmpDir, newDir, failedDir, retryDir, removedDir} {
		s.dirs[name] = &sharedSync{sync: func() error { return d.syncDir(filepath.Join(cfg.Dir, name)) }}
	}
	if s.lock, err = takeLock(cfg.Dir); err != nil {
		return nil, fail(err)
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

// lockPatience is how long Open waits for the lock: who looks at the directory holds it for a moment.
const lockPatience = time.Second

func takeLock(dir string) (*flock.Flock, error) {
	l := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(fileMode))
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	const again = 20 * time.Millisecond
	locked, err := l.TryLockContext(ctx, again)
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	if !locked {
		return nil, ErrInUse
	}
	return l, nil
}

// makeDirs makes the directory of a spool and those below it, and makes the way to them durable. Directories above that
// this user may not read cannot be synced, nor have they been made here.
func makeDirs(d disk, dir string) error {
	for _, name := range []string{tmpDir, newDir, failedDir, retryDir, removedDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), dirMode); err != nil {
			return err
		}
	}
	if err := d.syncDir(dir); err != nil {
		return err
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if err := d.syncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// checkVersion refuses a directory of a newer version, and marks a new one.
func (s *Spool) checkVersion() error {
	n, err := readVersion(s.cfg.Dir)
	if err == nil && n == 0 {
		return os.WriteFile(filepath.Join(s.cfg.Dir, versionName), []byte(strconv.Itoa(version)+"\n"), fileMode)
	}
	return err
}

const versionName = "version"

// readVersion is the version of a directory, 0 where it has none yet. It is an error where this program cannot read it.
func readVersion(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, versionName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("its file %q says %.20q; want the version of a spool, a number", versionName, text)
	}
	if n > version {
		return 0, fmt.Errorf("it is of version %d, this program knows up to %d; want a newer lsmtpd", n, version)
	}
	return n, nil
}

// clearTmp removes what was being written when the last owner ended: nobody was told that it is safe. The spare file of
// the journal stays, or a full disk would have no room for another one.
func (s *Spool) clearTmp() error {
	dir := filepath.Join(s.cfg.Dir, tmpDir)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() == journalName && s.hasSpare() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			s.cfg.Logger.Warn("what was not finished in the spool cannot be removed, and takes room", "error", err)
		}
	}
	return err
}

// hasSpare reports whether the file in tmp may be written over: a power cut may have left the journal under both names.
func (s *Spool) hasSpare() bool {
	spare, err := os.Lstat(filepath.Join(s.cfg.Dir, tmpDir, journalName))
	if err != nil || !spare.Mode().IsRegular() {
		return false
	}
	current, err := os.Stat(filepath.Join(s.cfg.Dir, journalName))
	return err == nil && !os.SameFile(spare, current)
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
	st := Stats{Waiting: s.held.waiting, Failed: int64(len(s.held.aside)), Bytes: s.held.bytes, FailedBytes: s.held.asideBytes}
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
// written with the next one that somebody waits for, or within a second.
func (s *Spool) Done(id string) {
	_ = s.journal.note(Intent{ID: id, State: dropped}, false) // not waited for: no error
}

// Doubt notes, durably, objects that a message may refer to of which nothing more is known here.
func (s *Spool) Doubt(id string, keys []string) error {
	return s.journal.note(Intent{ID: id, State: Publishing, Keys: keys}, true)
}

// Intent returns the live intent of an id, false where there is none.
func (s *Spool) Intent(id string) (Intent, bool) { return s.journal.state(id) }

// Orphans are the intents that the last owner left behind and that no record will see to.
func (s *Spool) Orphans() []Intent { return s.orphans }

// Intents are the live intents.
func (s *Spool) Intents() []Intent {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	list := make([]Intent, 0, len(s.journal.live))
	for _, i := range s.journal.live {
		list = append(list, Intent{ID: i.ID, State: i.State, Keys: slices.Clone(i.Keys)})
	}
	return list
}
