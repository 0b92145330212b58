package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"
)

// Requests carries out what was asked for with AskRetry and AskRemove since the last call: records to be tried again
// wait for Take afterwards, and those to be removed are handed to remove first, which says whether they may go. It
// returns the first error of each kind and goes on; what is left is for the next call. One call at a time.
func (s *Spool) Requests(remove func(*Record) error) error {
	return errors.Join(s.eachRequest(retryDir, s.retry),
		s.eachRequest(removedDir, func(name string, info fs.FileInfo) error { return s.drop(name, info, remove) }))
}

// eachRequest calls f for every file of a directory, also after an error, and returns the first.
func (s *Spool) eachRequest(dir string, f func(name string, info fs.FileInfo) error) error {
	var first error
	err := s.eachFile(dir, func(name string, info fs.FileInfo) error {
		// What is gone, an operator has taken back.
		if err := f(name, info); err != nil && first == nil && !errors.Is(err, fs.ErrNotExist) {
			first = fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		return nil
	})
	return errors.Join(first, err)
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

// drop removes a record. One that is being delivered is counted until that ends.
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
	_, wasAside := s.held.takeBack(name)
	s.mu.Unlock()
	if id, kind, ok := parseName(name); ok && !wasAside {
		if i, waited := s.queue.remove(uuid.MustParse(id), kind == Raw); waited {
			s.shrink(i.size, 1)
		}
	}
	s.cfg.Logger.Info("a record is removed", "record", name, "octets", info.Size())
	return nil
}
