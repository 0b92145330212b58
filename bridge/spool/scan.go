package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// scan reads what waits in new, sets aside what is damaged, and counts what was set aside before. Where a raw record
// was about to give way to its prepared ones, it wins: none of those has been sent.
func (s *Spool) scan() error {
	if err := s.eachFile(retryDir, func(name string, _ fs.FileInfo) error { return s.move(name, retryDir, newDir) }); err != nil {
		return err
	}
	kept := map[string]transactionOrDelivery{} // transactions with a prepared record, and the deliveries
	var unread error                           // why it is not known of which ones
	if err := s.eachFile(failedDir, func(name string, info fs.FileInfo) error {
		s.held.setAside(name, info.Size())
		if err := s.keepAside(name, kept); err != nil && !errors.Is(err, ErrDamaged) {
			unread = err
		}
		return nil
	}); err != nil {
		return err
	}
	begun := map[string]bool{} // transactions with a raw record
	if err := s.eachFile(newDir, func(name string, _ fs.FileInfo) error {
		if id, k, ok := parseName(name); ok && k == Raw {
			begun[id] = true
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.eachFile(newDir, func(name string, info fs.FileInfo) error { return s.admit(name, info, begun, kept, &unread) }); err != nil {
		return err
	}
	if err := s.dropKept(kept); err != nil {
		return err
	}
	if unread != nil {
		s.cfg.Logger.Error("a record that was set aside cannot be read: until the next start the objects of transactions that were under way are kept, as in doubt", "error", unread)
	}
	for _, i := range s.Intents() {
		if begun[i.ID] || kept[i.ID] != 0 {
			continue
		}
		if unread != nil {
			i.State = Publishing
		}
		s.orphans = append(s.orphans, i)
	}
	return nil
}

// transactionOrDelivery says what an id with a prepared record stands for.
type transactionOrDelivery int

const (
	ofTransaction transactionOrDelivery = iota + 1
	ofDelivery
)

// keep notes that objects belong to a prepared record, so that no intent has the say over them.
func keep(r *Record, kept map[string]transactionOrDelivery) {
	kept[r.TransactionID], kept[r.ID] = ofTransaction, ofDelivery
}

// keepAside notes the objects of a record that was set aside: an operator may have it tried again.
func (s *Spool) keepAside(name string, kept map[string]transactionOrDelivery) error {
	r, err := openRecord(filepath.Join(s.cfg.Dir, failedDir, name))
	if err != nil {
		return err
	}
	if r.Kind == Prepared {
		keep(r, kept)
	}
	return r.Close()
}

// admit puts a record into the queue. One that cannot be read is set aside, and unread says why.
func (s *Spool) admit(name string, info fs.FileInfo, raw map[string]bool, kept map[string]transactionOrDelivery, unread *error) error {
	r, err := openRecord(filepath.Join(s.cfg.Dir, newDir, name))
	switch {
	case errors.Is(err, ErrDamaged):
		return s.setAside(name, info.Size(), err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EISDIR):
		*unread = err
		return s.setAside(name, info.Size(), err) // the others must not wait for it
	case errors.Is(err, fs.ErrNotExist):
		return nil // an operator has taken it away just now
	case err != nil:
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	if r.Kind == Prepared && raw[r.TransactionID] {
		return s.disk.remove(filepath.Join(s.cfg.Dir, newDir, name))
	}
	s.held.waiting++
	s.held.bytes += info.Size()
	tries, _ := r.Tries()
	address := ""
	if r.Kind == Prepared {
		keep(r, kept)
		address = r.Deliveries[0].Address
	}
	s.queue.push(item{id: uuid.MustParse(r.ID), raw: r.Kind == Raw, size: info.Size(), tries: int32(tries)}, address)
	return nil
}

// dropKept ends the intents of transactions whose objects belong to a record. Those of deliveries, which a replay has
// left, are its business.
func (s *Spool) dropKept(kept map[string]transactionOrDelivery) error {
	for _, i := range s.Intents() {
		if kept[i.ID] == ofTransaction {
			if err := s.Drop(i.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// setAside moves a file of new that is no record to failed, before anybody waits for it.
func (s *Spool) setAside(name string, size int64, reason error) error {
	s.cfg.Logger.Error("a record of the spool cannot be read and is set aside", "record", name, "error", reason)
	if err := s.move(name, newDir, failedDir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held.setAside(name, size)
	return nil
}

// eachFile calls f for every file of a directory of the spool, a thousand at a time.
func (s *Spool) eachFile(dir string, f func(name string, info fs.FileInfo) error) error {
	d, err := os.Open(filepath.Join(s.cfg.Dir, dir))
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only read
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = f(e.Name(), info)
			}
			if err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// timeOut is how long a record that has failed n times waits.
func timeOut(n int32) time.Duration {
	d := firstRetry
	for ; n > 1 && d < lastRetry; n-- {
		d *= 2
	}
	return min(d, lastRetry)
}
