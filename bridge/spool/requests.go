package spool

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"
)

// Requests carries out what was asked for with AskRetry and AskRemove since the last call: records to be tried again
// wait for Take afterwards, and those to be removed are handed to remove first, which says whether they may go. It
// returns the first error; what is left is for the next call. One call at a time.
func (s *Spool) Requests(remove func(*Record) error) error {
	err := s.eachFile(retryDir, s.retry)
	return errors.Join(err, s.eachFile(removedDir, func(name string, info fs.FileInfo) error { return s.drop(name, info, remove) }))
}

// retry puts a record back that was set aside. It was counted as such.
func (s *Spool) retry(name string, info fs.FileInfo) error {
	r, err := openRecord(filepath.Join(s.cfg.Dir, retryDir, name))
	if errors.Is(err, ErrDamaged) {
		s.cfg.Logger.Error("a damaged record cannot be tried again", "record", name, "error", err)
		return s.move(name, retryDir, failedDir)
	}
	if err != nil {
		return err
	}
	address := ""
	if r.Kind == Prepared {
		address = r.Deliveries[0].Address
	}
	_ = r.Close() // only read
	if err := s.move(name, retryDir, newDir); err != nil {
		return err
	}
	s.mu.Lock()
	octets, counted := s.held.takeBack(name)
	if !counted {
		octets = info.Size()
	}
	s.held.waiting++
	s.held.bytes += octets
	s.mu.Unlock()
	s.cfg.Logger.Info("a record that was set aside is tried again", "record", name)
	s.queue.push(item{id: uuid.MustParse(r.ID), raw: r.Kind == Raw, size: octets}, address)
	return nil
}

// drop removes a record. One that waited is counted until Take finds that it is gone.
func (s *Spool) drop(name string, info fs.FileInfo, remove func(*Record) error) error {
	path := filepath.Join(s.cfg.Dir, removedDir, name)
	r, err := openRecord(path)
	if err == nil {
		err = errors.Join(remove(r), r.Close())
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	if err := s.disk.remove(path); err != nil {
		return err
	}
	s.mu.Lock()
	s.held.takeBack(name)
	s.mu.Unlock()
	s.cfg.Logger.Info("a record is removed", "record", name, "octets", info.Size())
	return nil
}
