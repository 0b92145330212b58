package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"lsmtpd/schema"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// prepared is a message to keep.
func prepared(id, transaction, address string, sent bool) Message {
	rcpts := []schema.Address{{Email: "in@example.com"}}
	structure := &schema.BodyPart{Headers: []schema.Header{}}
	structure.Type = "text/plain"
	return Message{Sent: sent, Delivery: Delivery{ID: id, Address: address, RcptTo: rcpts}, Message: &schema.Message{
		Schema: schema.ID, ID: id, TransactionID: transaction, Envelope: schema.Envelope{RcptTo: rcpts},
		Email: schema.Email{BodyStructure: structure, ReceivedAt: time.Now().UTC()},
	}}
}

func rawHeader(id string) Header {
	return Header{TransactionID: id, ReceivedAt: time.Now().UTC(), Envelope: &schema.Envelope{Helo: "client.example.org"},
		Deliveries: []Delivery{{ID: newID(), Address: "mail", RcptTo: []schema.Address{{Email: "in@example.com"}}}}}
}

func openAt(t *testing.T, cfg Config) *Spool {
	t.Helper()
	cfg.Logger = quiet()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reopen ends a spool and opens its directory again.
func reopen(t *testing.T, s *Spool) *Spool {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openAt(t, s.cfg)
}

// takeNow takes what is due, and fails where nothing is.
func takeNow(t *testing.T, s *Spool) *Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	e := s.Take(ctx, func(string) bool { return true })
	if e == nil {
		t.Fatal("nothing is due")
	}
	return e
}

// takesNothing reports that nothing is due.
func takesNothing(t *testing.T, s *Spool) {
	t.Helper()
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if i, address, ok := s.queue.pick(func(string) bool { return true }); ok {
		t.Fatalf("%v for %q is due, want nothing", i.id, address)
	}
}

func TestPrepared(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	first, second, transaction := newID(), newID(), newID()
	for _, id := range []string{first, second} {
		if err := s.Add(prepared(id, transaction, "mail", id == second)); err != nil {
			t.Fatal(err)
		}
	}
	s = reopen(t, s)
	e := takeNow(t, s)
	m, err := e.Message()
	if err != nil || e.ID != first || m.ID != first || m.TransactionID != transaction || e.Sent() {
		t.Fatalf("took %s, message %+v, sent %v, error %v; want %s unsent", e.ID, m, e.Sent(), err, first)
	}
	if err := e.MarkSent(); err != nil {
		t.Fatal(err)
	}
	e.Later(errors.New("queue full"))
	if e = takeNow(t, s); e.ID != second || !e.Sent() {
		t.Fatalf("took %s, sent %v; want %s, sent", e.ID, e.Sent(), second)
	}
	e.Remove()
	if st := s.Stats(); st.Waiting != 1 || st.Failed != 0 {
		t.Fatalf("%+v, want one waiting", st)
	}
	s = reopen(t, s)
	if e = takeNow(t, s); e.ID != first || !e.Sent() || e.Tries() != 1 {
		t.Fatalf("took %s, sent %v, tries %d; want %s, sent, 1", e.ID, e.Sent(), e.Tries(), first)
	}
	if _, last := e.Record.Tries(); last != "queue full" {
		t.Errorf("last error %q", last)
	}
	e.Aside(errors.New("refused for good"))
	s = reopen(t, s)
	takesNothing(t, s)
	if st := s.Stats(); st.Waiting != 0 || st.Failed != 1 || st.Bytes != 0 || st.FailedBytes == 0 {
		t.Fatalf("%+v, want one set aside", st)
	}
}

func TestRaw(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	id, body := newID(), bytes.Repeat([]byte("line\r\n"), 500_000)
	w, err := s.NewRaw(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	h := rawHeader(id)
	if err := w.Commit(h); err != nil {
		t.Fatal(err)
	}
	w.Abort() // no effect any more
	s = reopen(t, s)
	e := takeNow(t, s)
	got, err := io.ReadAll(e.Payload())
	if err != nil || !bytes.Equal(got, body) || e.Kind != Raw || e.Envelope.Helo != h.Envelope.Helo || e.Deliveries[0].ID != h.Deliveries[0].ID {
		t.Fatalf("%d octets, %+v, error %v; want what was written", len(got), e.Header, err)
	}
	if err := s.Uploading(id, "k/1"); err != nil {
		t.Fatal(err)
	}
	if err := e.Replace([]Message{prepared(h.Deliveries[0].ID, id, "mail", false)}); err != nil {
		t.Fatal(err)
	}
	if i, ok := s.Intent(id); ok {
		t.Errorf("intent %v lives on beside the record that has its objects", i)
	}
	s = reopen(t, s)
	if e = takeNow(t, s); e.Kind != Prepared || e.ID != h.Deliveries[0].ID {
		t.Fatalf("took %s %s, want the prepared record", e.Kind, e.ID)
	}
	e.Remove()
	if st := s.Stats(); st.Waiting != 0 || st.Bytes != 0 {
		t.Errorf("%+v, want nothing", st)
	}
}

// TestRawWins: a crash between the prepared records and the removal of the raw one leaves both.
func TestRawWins(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	id := newID()
	w, err := s.NewRaw(id)
	if err == nil {
		err = w.Commit(rawHeader(id))
	}
	err = errors.Join(err, s.Add(prepared(newID(), id, "mail", false)), s.Uploading(id, "k/1"))
	if err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if e := takeNow(t, s); e.Kind != Raw {
		t.Fatalf("took %s, want raw", e.Kind)
	}
	takesNothing(t, s)
	if i, ok := s.Intent(id); !ok || i.State != Uploading {
		t.Errorf("intent %v, want it to be resolved before the raw record is read", i)
	}
}

func TestRecordWinsOverIntent(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir()})
	kept, lost := newID(), newID()
	if err := errors.Join(s.Uploading(kept, "k/1"), s.Uploading(lost, "l/1"), s.Uploading(lost, "l/2"), s.Add(prepared(newID(), kept, "mail", false))); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if i, ok := s.Intent(kept); ok {
		t.Errorf("%v lives beside its record", i)
	}
	if i, ok := s.Intent(lost); !ok || i.State != Uploading || strings.Join(i.Keys, " ") != "l/1 l/2" {
		t.Errorf("intent %v, want uploading l/1 l/2", i)
	}
}

func TestLimits(t *testing.T) {
	s := openAt(t, Config{Dir: t.TempDir(), MaxBytes: 4 << 20, MaxMessages: 3})
	w, err := s.NewRaw(newID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(make([]byte, 5<<20)); !errors.Is(err, ErrFull) {
		t.Fatalf("%v, want ErrFull", err)
	}
	w.Abort()
	for range 3 {
		if err := s.Add(prepared(newID(), newID(), "mail", false)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(prepared(newID(), newID(), "mail", false)); !errors.Is(err, ErrFull) {
		t.Fatalf("%v, want ErrFull", err)
	}
	if err := s.Room(1); !errors.Is(err, ErrFull) {
		t.Fatalf("%v, want ErrFull", err)
	}
	takeNow(t, s).Remove()
	if err := s.Room(1); err != nil {
		t.Fatal(err)
	}
}

// TestBadDirectories: what is wrong is said, or set aside and counted.
func TestBadDirectories(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, dir, record string)
		want   string // in the error
		failed int64
	}{
		"newer version": {spoil: func(t *testing.T, dir, _ string) { write(t, filepath.Join(dir, "version"), "2\n") }, want: "version 2"},
		"no version":    {spoil: func(t *testing.T, dir, _ string) { write(t, filepath.Join(dir, "version"), "garbage") }, want: "want the version"},
		"newer journal": {spoil: func(t *testing.T, dir, _ string) {
			write(t, filepath.Join(dir, journalName), string(appendChecked(nil, []byte(`{"lsmtpd-journal":2}`))))
		}, want: "journal is of version 2"},
		"record of garbage":   {spoil: func(t *testing.T, _, r string) { write(t, r, strings.Repeat("garbage", 100)) }, failed: 1},
		"empty record":        {spoil: func(t *testing.T, _, r string) { write(t, r, "") }, failed: 1},
		"record cut in half":  {spoil: func(t *testing.T, _, r string) { halve(t, r) }, failed: 1},
		"foreign file":        {spoil: func(t *testing.T, dir, _ string) { write(t, filepath.Join(dir, newDir, "README"), "x") }, failed: 1},
		"journal of garbage":  {spoil: func(t *testing.T, dir, _ string) { write(t, filepath.Join(dir, journalName), "garbage") }},
		"journal cut in half": {spoil: func(t *testing.T, dir, _ string) { halve(t, filepath.Join(dir, journalName)) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openAt(t, Config{Dir: dir})
			id := newID()
			if err := errors.Join(s.Add(prepared(id, newID(), "mail", false)), s.Close()); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir, filepath.Join(dir, newDir, fileName(id, Prepared)))
			again, err := Open(Config{Dir: dir, Logger: quiet()})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
					t.Fatalf("%v, want an error with %q and the directory", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if st := again.Stats(); st.Failed != c.failed || st.Waiting+st.Failed < 1 {
				t.Errorf("%+v, want %d set aside, and nothing lost", st, c.failed)
			}
		})
	}
}

func TestOneOwner(t *testing.T) {
	dir := t.TempDir()
	openAt(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir, Logger: quiet()}); !errors.Is(err, ErrInUse) {
		t.Fatalf("%v, want ErrInUse", err)
	}
}

// TestDamagedJournal: nothing is deleted on the word of a journal of which a part is missing.
func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, Config{Dir: dir})
	var ids []string
	for n := range 20 {
		ids = append(ids, newID())
		if err := s.Uploading(ids[n], fmt.Sprint("k/", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, journalName)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.LastIndex(b, []byte(ids[10]))] ^= 1
	write(t, name, string(b))
	s = openAt(t, Config{Dir: dir})
	for _, id := range ids[:10] {
		if i, ok := s.Intent(id); !ok || i.State != Publishing {
			t.Errorf("intent %v, want it in doubt", i)
		}
	}
	if left, _ := filepath.Glob(name + ".damaged-*"); len(left) != 1 {
		t.Errorf("set aside: %v, want the damaged journal", left)
	}
}

// TestJournalIsRewritten: it does not grow for ever, and what is live is not lost.
func TestJournalIsRewritten(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, Config{Dir: dir})
	live := newID()
	if err := s.Uploading(live, "k/1"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("k", 1000)
	for range 5000 {
		id := newID()
		_ = s.journal.note(Intent{ID: id, State: Uploading, Keys: []string{long}}, false)
		s.Done(id)
		if s.journal.sync.do() != nil {
			t.Fatal("the journal cannot be written")
		}
	}
	info, err := os.Stat(filepath.Join(dir, journalName))
	if err != nil || info.Size() > 2*journalRoom {
		t.Fatalf("%d octets after 5 MB of lines, %v", info.Size(), err)
	}
	s = reopen(t, s)
	if i, ok := s.Intent(live); !ok || len(s.Intents()) != 1 {
		t.Errorf("%v of %d, want the live one alone", i, len(s.Intents()))
	}
}

// fullDisk is a disk on which no file can be made any more.
type fullDisk struct {
	realDisk
	full bool
}

func (d *fullDisk) create(name string) (*os.File, error) {
	if d.full {
		return nil, &os.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	return d.realDisk.create(name)
}

// TestJournalOnFullDisk: the journal goes on for ever where no file can be made.
func TestJournalOnFullDisk(t *testing.T) {
	d := &fullDisk{}
	s, err := open(Config{Dir: t.TempDir(), Logger: quiet()}, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d.full = true
	key := strings.Repeat("k", 10_000)
	for range 3 * journalRoom / len(key) {
		id := newID()
		if err := s.Uploading(id, key); err != nil {
			t.Fatal(err)
		}
		s.Done(id)
	}
	if _, err := s.NewRaw(newID()); !errors.Is(err, ErrFull) {
		t.Errorf("a record: %v, want ErrFull", err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), fileMode); err != nil {
		t.Fatal(err)
	}
}

func halve(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}
