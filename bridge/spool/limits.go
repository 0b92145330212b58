package spool

import (
	"errors"
	"fmt"
	"syscall"
)

// limitError is an ErrFull of our own making: the disk would take more.
type limitError string

func (e limitError) Error() string { return ErrFull.Error() + ": " + string(e) }

// Is makes it an ErrFull.
func (e limitError) Is(target error) bool { return target == ErrFull }

// Room returns nil when a record of so many octets may be written now, else ErrFull or why writing failed last.
func (s *Spool) Room(octets int64) error {
	s.mu.Lock()
	broken := s.broken
	err := s.fits(octets, 1)
	s.mu.Unlock()
	if err == nil && broken != nil {
		// Whether it goes again is known by trying, which costs a file.
		broken = s.try()
	}
	return errors.Join(err, broken)
}

// fits compares with the limits. The lock is held.
func (s *Spool) fits(octets, messages int64) error {
	holds, held := s.held.waiting+int64(len(s.held.aside)), s.held.bytes+s.held.asideBytes
	switch {
	case s.cfg.MaxBytes > 0 && held+octets > s.cfg.MaxBytes:
		return limitError(fmt.Sprintf("it holds %d octets of spool.max_bytes, %d", held, s.cfg.MaxBytes))
	case s.cfg.MaxMessages > 0 && holds+messages > s.cfg.MaxMessages:
		return limitError(fmt.Sprintf("it holds %d messages of spool.max_messages, %d", holds, s.cfg.MaxMessages))
	case s.cfg.MinFreeBytes > 0:
		if free, ok := freeBytes(s.cfg.Dir); ok && free < s.cfg.MinFreeBytes+octets {
			return limitError(fmt.Sprintf("the disk has %d octets free, spool.min_free_bytes is %d", free, s.cfg.MinFreeBytes))
		}
	}
	return nil
}

// grow takes room for a record that is being written, whatever the limits say where that is instead of another one.
func (s *Spool) grow(octets, messages int64, instead bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !instead {
		if err := s.fits(octets, messages); err != nil {
			return err
		}
	}
	s.held.bytes += octets
	s.held.waiting += messages
	return nil
}

// shrink gives room back.
func (s *Spool) shrink(octets, messages int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held.bytes -= octets
	s.held.waiting -= messages
}

// wrote notes whether records can be written, and returns err, as ErrFull where the disk is full.
func (s *Spool) wrote(err error) error {
	var limit limitError
	if errors.As(err, &limit) {
		return err // says nothing of the disk
	}
	if err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	s.mu.Lock()
	changed := (s.broken == nil) != (err == nil)
	s.broken = err
	s.mu.Unlock()
	switch {
	case changed && err != nil:
		s.cfg.Logger.Error("the spool cannot be written", "dir", s.cfg.Dir, "error", err)
	case changed:
		s.cfg.Logger.Info("the spool can be written again", "dir", s.cfg.Dir)
	}
	return err
}
