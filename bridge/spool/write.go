package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/schema"
)

// ErrMayReturn reports a record that is not kept, but may be there after a power cut: its objects must stay.
var ErrMayReturn = errors.New("the record is removed, which may not last")

// Message is a prepared message to be kept.
type Message struct {
	Delivery Delivery
	Message  *schema.Message
	Sent     bool // a transfer was begun: a broker may hold the message
}

// Add keeps a prepared message: on return it is on disk, and waits for Take. Any error means that it is not kept; it
// is ErrFull where a limit or the disk does not let it.
func (s *Spool) Add(m Message) error { return s.add(m, newDir, "") }

// AddFailed keeps a prepared message among those set aside, because of reason.
func (s *Spool) AddFailed(m Message, reason error) error {
	return s.add(m, failedDir, reason.Error())
}

func (s *Spool) add(m Message, dir, reason string) error {
	w, err := s.prepare(m, reason, false)
	if err != nil {
		return fmt.Errorf("spool: keep %s: %w", m.Delivery.ID, s.wrote(err))
	}
	err = w.place(dir)
	if s.wrote(err) != nil {
		return fmt.Errorf("spool: keep %s: %w", m.Delivery.ID, err)
	}
	if dir == newDir {
		s.queue.push(w.item(), m.Delivery.Address)
	} else {
		s.mu.Lock()
		s.held.waiting--
		s.held.bytes -= w.octets
		s.held.setAside(fileName(w.id, w.kind), w.octets)
		s.mu.Unlock()
	}
	return nil
}

// prepare writes the record of m to tmp. Reason is why it is set aside, "" where it is not; see newWriter for instead.
func (s *Spool) prepare(m Message, reason string, instead bool) (*writer, error) {
	payload, err := m.Message.Encode()
	if err != nil {
		return nil, err
	}
	w, err := s.newWriter(m.Delivery.ID, Prepared, instead)
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(payload); err == nil {
		err = w.seal(Header{TransactionID: m.Message.TransactionID, ReceivedAt: m.Message.Email.ReceivedAt, Deliveries: []Delivery{m.Delivery}})
	}
	if err == nil && (m.Sent || reason != "") {
		err = w.note(Note{At: time.Now().UTC(), Sent: m.Sent, Error: bounded(reason)})
	}
	if err == nil {
		err = w.sync()
	}
	if err != nil {
		w.abort()
		return nil, err
	}
	return w, nil
}

// bounded is an error's text as a note carries it.
func bounded(text string) string { return text[:min(len(text), 500)] }

// RawWriter takes a raw record as its octets arrive. End it with Commit or Abort.
type RawWriter struct {
	w     *writer
	ended bool
}

// NewRaw begins a raw record for a transaction.
func (s *Spool) NewRaw(id string) (*RawWriter, error) {
	w, err := s.newWriter(id, Raw, false)
	if err != nil {
		return nil, fmt.Errorf("spool: keep %s: %w", id, s.wrote(err))
	}
	return &RawWriter{w: w}, nil
}

// Write takes octets of the message. ErrFull where a limit or the disk does not let it.
func (r *RawWriter) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	failpoint.Hit("raw.written")
	if err != nil {
		return n, fmt.Errorf("spool: keep %s: %w", r.w.id, r.w.spool.wrote(err))
	}
	return n, nil
}

// Commit ends the record: on return it is on disk, and waits for Take. Any error means that it is not kept.
func (r *RawWriter) Commit(h Header) error {
	r.ended = true
	w := r.w
	err := w.seal(h)
	if err == nil {
		err = w.sync()
	}
	if err != nil {
		w.abort()
	} else {
		err = w.place(newDir)
	}
	if err = w.spool.wrote(err); err != nil {
		return fmt.Errorf("spool: keep %s: %w", w.id, err)
	}
	failpoint.Hit("raw.durable")
	w.spool.queue.push(w.item(), "")
	return nil
}

// Abort removes what was written, unless Commit was called.
func (r *RawWriter) Abort() {
	if !r.ended {
		r.ended = true
		r.w.abort()
	}
}

// writer writes one record: payload, then seal, then place, or abort at any time before.
type writer struct {
	spool   *Spool
	id      string
	kind    Kind
	instead bool
	file    *os.File
	sum     hash.Hash32
	octets  int64 // written, the seal included
	taken   int64 // of the limits
}

// growth is the room that is taken of the limits ahead of what is written.
const growth = 1 << 20

// newWriter begins a record. Instead says that it takes the place of one that is held: the limits have let that one in,
// and a spool that is at one of them would never empty if they kept its records from being delivered.
func (s *Spool) newWriter(id string, k Kind, instead bool) (*writer, error) {
	w := &writer{spool: s, id: id, kind: k, instead: instead, sum: crc32.New(castagnoli)}
	if err := s.grow(0, 1, instead); err != nil {
		return nil, err
	}
	f, err := s.disk.create(w.path(tmpDir))
	if err == nil {
		w.file = f
		_, err = f.Write(make([]byte, sealLen))
		w.octets = sealLen
	}
	if err != nil {
		w.abort()
		return nil, err
	}
	return w, nil
}

func (w *writer) path(dir string) string {
	return filepath.Join(w.spool.cfg.Dir, dir, fileName(w.id, w.kind))
}

// Write writes octets of the payload.
func (w *writer) Write(p []byte) (int, error) {
	if need := w.octets + int64(len(p)); need > w.taken {
		more := max(need-w.taken, 0)
		if w.kind == Raw {
			more = (more + growth - 1) / growth * growth
		}
		if err := w.spool.grow(more, 0, w.instead); err != nil {
			return 0, err
		}
		w.taken += more
	}
	n, err := w.file.Write(p)
	w.octets += int64(n)
	w.sum.Write(p[:n])
	return n, err
}

// seal writes the header behind the payload, and the first line.
func (w *writer) seal(h Header) error {
	payload := w.octets - sealLen
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if _, err := w.Write(line); err != nil {
		return err
	}
	first := seal{kind: w.kind, payload: payload, header: int64(len(line)), sum: w.sum.Sum32()}.line()
	_, err = w.file.WriteAt(first, 0)
	failpoint.Hit("spool.written")
	return err
}

// note adds a note to a record that is not placed yet.
func (w *writer) note(n Note) error {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	k, err := w.file.Write(append(line, '\n'))
	w.octets += int64(k)
	return err
}

// sync makes the octets durable and closes the file.
func (w *writer) sync() error {
	if err := w.spool.disk.sync(w.file); err != nil {
		return err
	}
	failpoint.Hit("spool.synced")
	err := w.file.Close()
	w.file = nil
	return err
}

// place renames a synced record to a directory, and makes that durable. After an error it is gone.
func (w *writer) place(dir string) error {
	if err := w.spool.disk.rename(w.path(tmpDir), w.path(dir)); err != nil {
		w.abort()
		return err
	}
	failpoint.Hit("spool.renamed")
	if err := w.spool.dirs[dir].do(); err != nil {
		err = errors.Join(fmt.Errorf("%w: %w", ErrMayReturn, err), w.spool.disk.remove(w.path(dir)))
		w.spool.shrink(w.taken, 1)
		return err
	}
	failpoint.Hit("spool.durable")
	w.spool.shrink(w.taken-w.octets, 0)
	w.taken = w.octets
	return nil
}

// abort gives the record up.
func (w *writer) abort() {
	if w.file != nil {
		_ = w.file.Close() // it is removed
		w.file = nil
	}
	_ = os.Remove(w.path(tmpDir)) // left behind, it is removed by the next start
	w.spool.shrink(w.taken, 1)
	w.taken = 0
}

// item is the record in the queue.
func (w *writer) item() item {
	return item{id: uuid.MustParse(w.id), raw: w.kind == Raw, size: w.octets}
}

// try writes, syncs and removes a file, to find out whether the disk can be written again.
func (s *Spool) try() error {
	name := filepath.Join(s.cfg.Dir, tmpDir, "try")
	f, err := s.disk.create(name)
	if err != nil && os.IsExist(err) {
		return nil // another one tries; the next record tells
	}
	if err == nil {
		_, err = f.Write(make([]byte, growth/256))
		if err == nil {
			err = s.disk.sync(f)
		}
		err = errors.Join(err, f.Close(), os.Remove(name))
	}
	return s.wrote(err)
}
