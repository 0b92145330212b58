package spool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"lsmtpd/bridge/failpoint"
)

const (
	journalName = "journal"
	// journalRoom is reserved behind what a journal holds when a file is made for it; past half of its room, the journal
	// is written anew, to the file before. Where that fails, the other half is there.
	journalRoom = 4 << 20
	// noteWithin is how soon a line is written that nobody waits for: until then a crash, and whoever reads the journal
	// beside its owner, takes for in doubt what is not.
	noteWithin = time.Second
	// doubtExpires is when an intent whose outcome never became known is forgotten. Its objects stay.
	doubtExpires = 30 * 24 * time.Hour
)

// journalHead is the first line of a journal.
type journalHead struct {
	Journal int `json:"lsmtpd-journal"` // version of its format
}

// ErrJournal reports that an intent could not be made durable.
var ErrJournal = errors.New("the journal cannot be written")

// journal is the file of intents. Its methods are safe for concurrent use.
type journal struct {
	disk disk
	dir  string
	log  *slog.Logger
	sync sharedSync

	mu      sync.Mutex
	live    map[string]*Intent
	pending []byte // lines that are not in the file yet
	broken  error  // why the file cannot be relied on; the next write makes a new one
	ended   bool
	later   *time.Timer // writes what nobody waits for; nil when there is nothing
	writes  sync.WaitGroup

	// Of sync's turn:
	file *os.File
	size int64 // of the file, the reserved room included
	end  int64 // of its lines
	kept int64 // octets of the lines it began with
}

// openJournal reads the journal of a directory, and writes it anew with what is still live. A journal that is damaged
// is set aside, and what can be read of it comes back as in doubt: nothing is deleted on the word of such a file.
func openJournal(d disk, dir string, log *slog.Logger, now time.Time) (*journal, error) {
	j := &journal{disk: d, dir: dir, log: log}
	j.sync.sync = j.flush
	live, damage, err := readJournal(filepath.Join(dir, journalName))
	if err != nil {
		return nil, err
	}
	if damage != nil {
		aside := journalName + ".damaged-" + now.UTC().Format("20060102T150405.000000000Z")
		log.Error("the journal of the spool is damaged and set aside: objects of transactions that were under way are kept, as in doubt",
			"error", damage, "aside", aside, "intents", len(live))
		if err := d.rename(filepath.Join(dir, journalName), filepath.Join(dir, aside)); err != nil {
			return nil, err
		}
		for _, i := range live {
			i.State = Publishing
		}
	}
	maps.DeleteFunc(live, func(_ string, i *Intent) bool {
		return i.State == Publishing && !i.Time().IsZero() && now.Sub(i.Time()) > doubtExpires
	})
	j.live = live
	err = j.rewrite()
	if _, missing := os.Stat(j.sparePath()); err == nil && missing != nil {
		// The first journal of a directory becomes the spare file of the second.
		if err := j.rewrite(); err != nil {
			log.Warn("the journal of the spool has no room to be written anew", "error", err)
			if errors.Is(err, errExchange) {
				return j, err
			}
		}
	}
	return j, err
}

// readJournal returns the live intents of a journal, none where there is no file. Damage is what is wrong with a file
// that can be read in part.
func readJournal(name string) (live map[string]*Intent, damage, err error) {
	live = map[string]*Intent{}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return live, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	r := bufio.NewReaderSize(f, 64<<10)
	if damage, err = readHead(r); damage != nil || err != nil {
		return live, damage, err
	}
	for {
		line, err := r.ReadBytes('\n')
		text, ok := checkedLine(bytes.TrimSuffix(line, []byte("\n")))
		var i Intent
		if err != nil || !ok || json.Unmarshal(text, &i) != nil || i.ID == "" {
			return live, restIsEmpty(line, r), nil
		}
		if next := live[i.ID].apply(i); next != nil {
			live[i.ID] = next
		} else {
			delete(live, i.ID)
		}
	}
}

// readHead reads the first line. Its error is for a journal that somebody else must read.
func readHead(r *bufio.Reader) (damage, err error) {
	line, _ := r.ReadBytes('\n')
	text, ok := checkedLine(bytes.TrimSuffix(line, []byte("\n")))
	var head journalHead
	if !ok || json.Unmarshal(text, &head) != nil || head.Journal < 1 {
		return errors.New("its first line is not that of a journal"), nil
	}
	if head.Journal > version {
		return nil, fmt.Errorf("the journal is of version %d, this program knows up to %d; want a newer lsmtpd", head.Journal, version)
	}
	return nil, nil
}

// restIsEmpty tells a journal that ends as one does, with zeros behind its last line or behind one that was torn, from
// one that was cut off or written over.
func restIsEmpty(torn []byte, r io.Reader) error {
	zeros := len(torn) > 0 && torn[len(torn)-1] == 0
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return errors.New("there are lines behind one that cannot be read")
			}
		}
		zeros = zeros || n > 0
		if err == io.EOF && !zeros {
			return errors.New("it has been cut off")
		}
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// note applies a line, and writes it. Durable waits until it is on disk.
func (j *journal) note(i Intent, durable bool) error {
	j.mu.Lock()
	if next := j.live[i.ID].apply(i); next != nil {
		j.live[i.ID] = next
	} else {
		delete(j.live, i.ID)
	}
	j.pending = appendLine(j.pending, i)
	if !durable {
		j.writeLater()
	}
	j.mu.Unlock()
	if !durable {
		return nil
	}
	if err := j.sync.do(); err != nil {
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	return nil
}

// writeLater has what is pending written soon. The lock is held.
func (j *journal) writeLater() {
	if j.later != nil || j.ended {
		return
	}
	j.writes.Add(1)
	j.later = time.AfterFunc(noteWithin, func() {
		defer j.writes.Done()
		j.mu.Lock()
		j.later = nil
		idle := len(j.pending) == 0
		j.mu.Unlock()
		if idle {
			return
		}
		if err := j.sync.do(); err != nil {
			j.log.Warn("the end of an intent could not be noted: after a crash it counts as in doubt", "error", err)
		}
	})
}

// state returns the live intent of an id; its keys are the caller's own.
func (j *journal) state(id string) (Intent, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := j.live[id]
	if i == nil {
		return Intent{}, false
	}
	return Intent{ID: i.ID, State: i.State, Keys: slices.Clone(i.Keys)}, true
}

// flush writes what is pending and syncs it. It runs one at a time.
func (j *journal) flush() error {
	j.mu.Lock()
	lines, broken, ended := j.pending, j.broken, j.ended
	j.pending = nil
	j.mu.Unlock()
	if ended && len(lines) == 0 {
		return nil
	}
	if ended {
		return errors.New("the spool is closed")
	}
	var err error
	switch {
	case broken != nil || j.end+int64(len(lines)) > j.size:
		err = j.rewrite()
	case j.end > j.kept+(j.size-j.kept)/2:
		if err = j.rewrite(); err != nil && !errors.Is(err, errExchange) {
			j.log.Warn("the journal of the spool could not be written anew, it goes on in its reserve", "error", err)
			err = j.write(lines)
		}
	default:
		err = j.write(lines)
	}
	j.mu.Lock()
	j.broken = err
	j.mu.Unlock()
	return err
}

// write appends lines and syncs the file. What fails here may be on disk all the same, in part.
func (j *journal) write(lines []byte) error {
	if _, err := j.file.WriteAt(lines, j.end); err != nil {
		return err
	}
	hitIntent(lines, "written")
	if err := j.disk.sync(j.file); err != nil {
		return err
	}
	hitIntent(lines, "synced")
	j.end += int64(len(lines))
	return nil
}

// hitIntent passes the fail points of the lines' states. Their names are spelled out nowhere else.
func hitIntent(lines []byte, done string) {
	for _, s := range []State{Uploading, Publishing, Refused} {
		if bytes.Contains(lines, []byte(`"`+s+`"`)) {
			failpoint.Hit("intent." + string(s) + "." + done)
		}
	}
	if done == "synced" && bytes.Contains(lines, []byte(`"`+dropped+`"`)) {
		failpoint.Hit("intent.dropped")
	}
}

// rewrite makes a file of what is live, and puts it in the place of the old one.
func (j *journal) rewrite() (err error) {
	head, err := json.Marshal(journalHead{Journal: version})
	if err != nil {
		return err
	}
	content := appendChecked(nil, head)
	j.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(j.live)) {
		content = appendLine(content, *j.live[id])
	}
	j.mu.Unlock() // what is pending is among it, and does no harm when it is written once more

	f, size, err := j.spare(int64(len(content)))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // it is given up
			_ = os.Remove(j.sparePath())
		}
	}()
	// Zeros, not a hole: what is written over them later needs no room of its own.
	whole := make([]byte, size)
	copy(whole, content)
	if _, err := f.WriteAt(whole, 0); err != nil {
		return err
	}
	if err := j.disk.sync(f); err != nil {
		return err
	}
	if err := j.exchange(); err != nil {
		return err
	}
	if j.file != nil {
		_ = j.file.Close() // replaced
	}
	j.file, j.size, j.end, j.kept = f, size, int64(len(content)), int64(len(content))
	return nil
}

// sparePath is the file that the next rewrite writes to: the journal before this one, so that rewriting needs no room
// on a full disk.
func (j *journal) sparePath() string { return filepath.Join(j.dir, tmpDir, journalName) }

// spare opens the spare file, or makes one, with room behind so many octets.
func (j *journal) spare(octets int64) (*os.File, int64, error) {
	path := j.sparePath()
	if info, err := os.Stat(path); err == nil && info.Size() >= octets+journalRoom/2 {
		f, err := os.OpenFile(path, os.O_RDWR, fileMode)
		return f, info.Size(), err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	f, err := j.disk.create(path)
	return f, octets + journalRoom, err
}

// errExchange reports that it is open which of two files a crash leaves as the journal: what is written to one of them
// is not noted.
var errExchange = errors.New("a new journal has the name of the old one, and that may not last")

// exchange puts the spare file in the place of the journal, durably, and then the journal in its place. Where that one
// cannot be kept, the next spare file is a new one.
func (j *journal) exchange() error {
	path, before := filepath.Join(j.dir, journalName), filepath.Join(j.dir, tmpDir, journalName+".before")
	_ = os.Remove(before) // left by a failure
	kept := os.Link(path, before) == nil
	if err := j.disk.rename(j.sparePath(), path); err != nil {
		return err
	}
	if err := j.disk.syncDir(j.dir); err != nil {
		return fmt.Errorf("%w: %w", errExchange, err) // the old one may come back: it must stay as it is
	}
	if kept {
		_ = j.disk.rename(before, j.sparePath())
	}
	return nil
}

// close writes what is pending and closes the file.
func (j *journal) close() error {
	err := j.sync.do()
	j.sync.turn.Lock()
	j.mu.Lock()
	j.ended = true
	if j.later != nil && j.later.Stop() {
		j.writes.Done()
	}
	j.mu.Unlock()
	err = errors.Join(err, j.file.Close())
	j.sync.turn.Unlock()
	j.writes.Wait()
	return err
}
