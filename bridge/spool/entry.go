package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"time"

	"lsmtpd/bridge/failpoint"
)

// Entry is a record that was taken for delivery. It is the taker's alone until exactly one of Remove, Aside, Later,
// Again and Replace has been called.
type Entry struct {
	*Record

	spool   *Spool
	item    item
	address string
	sent    bool
}

// Take waits for a record whose turn it is, oldest first, of the address of which fewest are being delivered. Nil when
// ctx ends or the spool is closed. A record whose header or notes are damaged is set aside on the way; the payload is for
// the taker to verify, who may have to give it back many times.
//
// Ready says of an address, and of "" for raw records, whether it is worth trying; it must not block.
func (s *Spool) Take(ctx context.Context, ready func(address string) bool) *Entry {
	for {
		i, address, ok := s.queue.take(ctx, ready)
		if !ok {
			return nil
		}
		r, err := openRecord(s.path(i))
		switch {
		case err == nil:
			return &Entry{Record: r, spool: s, item: i, address: address, sent: r.Sent()}
		case errors.Is(err, fs.ErrNotExist): // an operator has taken it away
			s.shrink(i.size, 1)
			s.queue.gone(address)
		case errors.Is(err, ErrDamaged):
			s.aside(i, address, err)
		default:
			s.cfg.Logger.Error("a record of the spool cannot be read, it is tried again", "record", i.id, "error", err)
			i.tries++
			s.queue.later(i, address, timeOut(i.tries))
		}
	}
}

// path is the file of a record that waits.
func (s *Spool) path(i item) string {
	return filepath.Join(s.cfg.Dir, newDir, fileName(i.id.String(), i.kind()))
}

func (i item) kind() Kind {
	if i.raw {
		return Raw
	}
	return Prepared
}

// Pause lets no other record for the same address, or no other raw one, be taken for a while.
func (e *Entry) Pause(d time.Duration) { e.spool.queue.pause(e.address, d) }

// MarkSent notes, durably and once, that a transfer is about to begin.
func (e *Entry) MarkSent() error {
	if e.sent {
		return nil
	}
	err := appendNote(e.spool.disk, e.spool.path(e.item), Note{At: time.Now().UTC(), Sent: true}, true)
	if err != nil {
		return fmt.Errorf("spool: note that %s is sent: %w", e.ID, err)
	}
	e.sent = true
	failpoint.Hit("replay.sent.synced")
	return nil
}

// Sent reports whether a broker may hold the message.
func (e *Entry) Sent() bool { return e.sent }

// Tries is how often delivering it has failed.
func (e *Entry) Tries() int { return int(e.item.tries) }

// Remove ends the entry: its message is delivered. After an error, which is logged, it may be delivered once more.
func (e *Entry) Remove() {
	s := e.spool
	err := errors.Join(e.Close(), s.disk.remove(s.path(e.item)))
	if err == nil {
		err = s.dirs[newDir].do()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Logger.Error("a delivered record of the spool cannot be removed: it will be delivered again after a restart", "record", e.ID, "error", err)
	}
	failpoint.Hit("replay.removed")
	s.shrink(e.item.size, 1)
	s.queue.gone(e.address)
}

// Aside ends the entry: its record is kept, and tried no more.
func (e *Entry) Aside(reason error) {
	_ = e.Close() // only read
	e.spool.aside(e.item, e.address, reason)
}

func (s *Spool) aside(i item, address string, reason error) {
	name := fileName(i.id.String(), i.kind())
	s.cfg.Logger.Error("a record of the spool is set aside", "record", name, "error", reason, "remedy", "lsmtpd spool show, then spool retry or spool export")
	// The reason is for people; that it is missing must not keep the record where it is.
	_ = appendNote(s.disk, s.path(i), Note{At: time.Now().UTC(), Error: bounded(reason.Error())}, false)
	if err := s.move(name, newDir, failedDir); err != nil {
		s.cfg.Logger.Error("it cannot be moved, and is tried again", "record", name, "error", err)
		i.tries++
		s.queue.later(i, address, timeOut(i.tries))
		return
	}
	s.mu.Lock()
	s.held.waiting--
	s.held.bytes -= i.size
	s.held.setAside(name, i.size)
	s.mu.Unlock()
	s.queue.gone(address)
}

// Later ends the entry: delivering it has failed, and is tried again later. Some of the tries are noted in the record.
func (e *Entry) Later(reason error) {
	_ = e.Close() // only read
	e.item.tries++
	if n := int(e.item.tries); n <= 8 || bits.OnesCount(uint(n)) == 1 {
		name := e.spool.path(e.item)
		if err := appendNote(e.spool.disk, name, Note{At: time.Now().UTC(), Tries: n, Error: bounded(reason.Error())}, false); err != nil && !os.IsNotExist(err) {
			e.spool.cfg.Logger.Debug("a try could not be noted", "record", e.ID, "error", err)
		}
	}
	e.spool.queue.later(e.item, e.address, timeOut(e.item.tries))
}

// Again ends the entry without a try: it is the first to be taken again.
func (e *Entry) Again() {
	_ = e.Close() // only read
	e.spool.queue.again(e.item, e.address)
}

// Replace ends the entry: other records take its place, durably, before it goes. After an error none of them is left,
// and the entry is as it was, still the taker's.
//
// The intent of the entry's id must be dropped before one of the new records is sent, and is dropped here where the
// journal lets it: see Drop.
func (e *Entry) Replace(list []Message) error {
	s := e.spool
	writers := make([]*writer, 0, len(list))
	undo := func(err error) error {
		for _, w := range writers {
			_ = s.disk.remove(w.path(newDir)) // left there, it gives way to the raw record at the next start
			s.shrink(w.octets, 1)
		}
		return fmt.Errorf("spool: replace %s: %w", e.ID, err)
	}
	for _, m := range list {
		w, err := s.prepare(m, "", true)
		if err == nil {
			err = w.place(newDir)
		}
		if err = s.wrote(err); err != nil {
			return undo(err)
		}
		writers = append(writers, w)
	}
	failpoint.Hit("replay.prepared")
	if err := s.disk.remove(s.path(e.item)); err != nil {
		return undo(err)
	}
	if err := s.dirs[newDir].do(); err != nil {
		s.cfg.Logger.Error("the directory of the spool cannot be synced: what was read from a raw record may be read again after a power cut", "record", e.ID, "error", err)
	}
	failpoint.Hit("replay.raw.removed")
	_ = e.Close() // only read
	s.shrink(e.item.size, 1)
	if _, lives := s.Intent(e.ID); lives { // a message without uploads has none
		if err := s.Drop(e.ID); err != nil {
			s.cfg.Logger.Warn("an intent could not be dropped", "transaction", e.ID, "error", err)
		}
	}
	for n, m := range list {
		s.queue.push(writers[n].item(), m.Delivery.Address)
	}
	s.queue.gone(e.address)
	return nil
}

// Rewrite puts m, some of whose content has been moved to the store, in the place of the entry's message; the entry
// goes on. Placed reports whether the record refers to the moved objects, also where err says that this is not durable.
func (e *Entry) Rewrite(m Message) (placed bool, err error) {
	s := e.spool
	m.Sent = e.sent
	if _, err := os.Lstat(s.path(e.item)); err != nil { // an operator has taken it away: it is not made anew
		return false, fmt.Errorf("spool: rewrite %s: %w", e.ID, err)
	}
	w, err := s.prepare(m, "", true)
	if err == nil {
		if err = s.disk.rename(w.path(tmpDir), w.path(newDir)); err != nil {
			w.abort()
		}
	}
	if err != nil {
		return false, fmt.Errorf("spool: rewrite %s: %w", e.ID, s.wrote(err))
	}
	s.shrink(w.taken-w.octets+e.item.size, 1)
	e.item.size = w.octets
	if err := s.wrote(s.dirs[newDir].do()); err != nil {
		return true, fmt.Errorf("spool: rewrite %s: %w", e.ID, err)
	}
	return true, nil
}
