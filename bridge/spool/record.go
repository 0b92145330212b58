package spool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"lsmtpd/schema"
)

// version is that of the formats this program writes. It reads those from 1 on.
const version = 1

// Kind tells the two kinds of record apart; it ends the names of their files.
type Kind string

const (
	// Prepared is a message with its objects in the store, for one destination.
	Prepared Kind = "prepared"
	// Raw is a message as it was received.
	Raw Kind = "raw"
)

// Delivery is what is known of a delivery before its message is.
type Delivery struct {
	ID      string           `json:"id"` // UUIDv7, the same on every try
	Address string           `json:"address"`
	Subject string           `json:"subject,omitempty"`
	GroupID string           `json:"groupId,omitempty"`
	RcptTo  []schema.Address `json:"rcptTo"`
}

// Header is what a record says beside its payload.
type Header struct {
	TransactionID string    `json:"transactionId"`
	ReceivedAt    time.Time `json:"receivedAt"`
	// Deliveries are those of the message; a prepared record has one.
	Deliveries []Delivery `json:"deliveries"`
	// Envelope, without recipients, and OffloadThreshold, in octets, are those of a raw record.
	Envelope         *schema.Envelope `json:"envelope,omitempty"`
	OffloadThreshold int64            `json:"offloadThreshold,omitempty"`
	// StoreRaw says of a raw record that its octets go to the store as well. The first records did not know it.
	StoreRaw bool `json:"storeRaw,omitempty"`
}

// Note is a line that was added to a record later.
type Note struct {
	At    time.Time `json:"at"`
	Sent  bool      `json:"sent,omitempty"`  // a transfer was begun: a broker may hold the message
	Tries int       `json:"tries,omitempty"` // how many have failed by then; not each of many is noted
	Error string    `json:"error,omitempty"` // why
}

// ErrDamaged reports a record whose file is not as it was written.
var ErrDamaged = errors.New("the record is damaged")

// sealLen is the length of the first line, the same for all records.
const sealLen = int64(len("lsmtpd-spool 1 prepared 0000000000012345 0000000321 1a2b3c4d\n"))

// seal is the first line of a record. It is written when the rest is.
type seal struct {
	kind            Kind
	payload, header int64 // octets
	sum             uint32
}

func (s seal) line() []byte {
	return fmt.Appendf(nil, "lsmtpd-spool %d %-8s %016d %010d %08x\n", version, s.kind, s.payload, s.header, s.sum)
}

func parseSeal(line string) (s seal, err error) {
	var v int
	var kind string
	if _, err := fmt.Sscanf(line, "lsmtpd-spool %d %s %d %d %x\n", &v, &kind, &s.payload, &s.header, &s.sum); err != nil {
		return s, fmt.Errorf("%w: its first line is not that of a record", ErrDamaged)
	}
	if v > version {
		return s, fmt.Errorf("%w: it is of version %d, this program knows up to %d; want a newer lsmtpd", ErrDamaged, v, version)
	}
	s.kind = Kind(kind)
	const most = 1 << 30 // octets of a header
	if s.kind != Prepared && s.kind != Raw || s.payload < 0 || s.header < 0 || s.header > most {
		return s, fmt.Errorf("%w: its first line has impossible values", ErrDamaged)
	}
	return s, nil
}

// Record is a record that was read. Close it.
type Record struct {
	ID   string
	Kind Kind
	Header
	Notes []Note
	Size  int64 // of the payload, octets

	seal seal
	file *os.File
}

// Sent reports whether a broker may hold the message.
func (r *Record) Sent() bool {
	for _, n := range r.Notes {
		if n.Sent {
			return true
		}
	}
	return false
}

// Tries is how often delivering it has failed, and the last error.
func (r *Record) Tries() (n int, last string) {
	for _, note := range r.Notes {
		n = max(n, note.Tries)
		if note.Error != "" {
			last = note.Error
		}
	}
	return n, last
}

// Close closes the record's file.
func (r *Record) Close() error { return r.file.Close() }

// openRecord reads all of a record but its payload. It does not compute the checksum: Verify does.
func openRecord(name string) (*Record, error) {
	id, kind, ok := parseName(filepath.Base(name))
	if !ok {
		return nil, fmt.Errorf("%w: its name is not that of a record", ErrDamaged)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := &Record{ID: id, Kind: kind, file: f}
	if err := r.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Record) read() error {
	line := make([]byte, sealLen)
	if _, err := r.file.ReadAt(line, 0); err != nil {
		if err == io.EOF {
			return fmt.Errorf("%w: it has been cut off", ErrDamaged)
		}
		return err
	}
	var err error
	if r.seal, err = parseSeal(string(line)); err != nil {
		return err
	}
	if r.seal.kind != r.Kind {
		return fmt.Errorf("%w: it says that it is %s", ErrDamaged, r.seal.kind)
	}
	r.Size = r.seal.payload
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < sealLen+r.seal.payload+r.seal.header {
		return fmt.Errorf("%w: it has been cut off", ErrDamaged)
	}
	tail := io.NewSectionReader(r.file, sealLen+r.seal.payload, r.seal.header)
	if err := json.NewDecoder(tail).Decode(&r.Header); err != nil {
		return fmt.Errorf("%w: its header cannot be read: %w", ErrDamaged, err)
	}
	if len(r.Deliveries) == 0 || r.Kind == Prepared && len(r.Deliveries) != 1 || r.Kind == Raw && r.Envelope == nil {
		return fmt.Errorf("%w: its header lacks what a record of its kind has", ErrDamaged)
	}
	return r.readNotes(info.Size())
}

// maxNotes bounds what is read of them: a record has few.
const maxNotes = 1 << 20

func (r *Record) readNotes(size int64) error {
	begin := sealLen + r.seal.payload + r.seal.header
	lines := bufio.NewReader(io.NewSectionReader(r.file, begin, min(size-begin, maxNotes)))
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil // a torn line does not count
		}
		if err != nil {
			return err
		}
		var n Note
		if json.Unmarshal(line, &n) == nil {
			r.Notes = append(r.Notes, n)
		}
	}
}

// Payload reads the payload from its beginning: the message in JSON, or the octets as received.
func (r *Record) Payload() io.Reader { return io.NewSectionReader(r.file, sealLen, r.seal.payload) }

// Verify reads all of the record and compares its checksum; ErrDamaged where it differs.
func (r *Record) Verify() error {
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(r.file, sealLen, r.seal.payload+r.seal.header)); err != nil {
		return err
	}
	if sum.Sum32() != r.seal.sum {
		return fmt.Errorf("%w: its checksum is not right", ErrDamaged)
	}
	return nil
}

// Message is the message of a prepared record. It computes the checksum, too.
func (r *Record) Message() (*schema.Message, error) {
	if r.Kind != Prepared {
		return nil, errors.New("a raw record has no message yet")
	}
	b := make([]byte, r.seal.payload+r.seal.header)
	if _, err := io.ReadFull(io.NewSectionReader(r.file, sealLen, int64(len(b))), b); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != r.seal.sum {
		return nil, fmt.Errorf("%w: its checksum is not right", ErrDamaged)
	}
	m, err := schema.Decode(b[:r.seal.payload])
	if err != nil {
		return nil, fmt.Errorf("%w: its message cannot be read: %w", ErrDamaged, err)
	}
	return m, nil
}

// fileName is that of the record of an id.
func fileName(id string, k Kind) string { return id + "." + string(k) }

// parseName takes the name of a record's file apart.
func parseName(name string) (id string, k Kind, ok bool) {
	id, kind, ok := strings.Cut(name, ".")
	k = Kind(kind)
	if u, err := uuid.Parse(id); err != nil || u.String() != id || k != Prepared && k != Raw {
		return "", "", false
	}
	return id, k, ok
}

// appendNote adds a note to a record's file, and syncs it where the note has to be durable.
func appendNote(d disk, name string, n Note, durable bool) error {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	// A line end first: the note before may have been torn.
	_, err = f.Write(append(bytes.Join([][]byte{nil, line}, []byte("\n")), '\n'))
	if err == nil && durable {
		err = d.sync(f)
	}
	return errors.Join(err, f.Close())
}
