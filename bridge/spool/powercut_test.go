//go:build linux

package spool

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// forgetful is a disk that knows what of it would outlive a power cut: the octets that files had when they were synced,
// under the names that directories had when they were. What was not synced outlives it by chance.
type forgetful struct {
	root string

	mu      sync.Mutex
	synced  map[string][]byte            // by inode: the octets at the last sync
	entries map[string]map[string]string // by directory: name to inode, at its last sync
	lost    bool                         // syncs claim success and do nothing: for the test of the test
}

func newForgetful(root string) *forgetful {
	return &forgetful{root: root, synced: map[string][]byte{}, entries: map[string]map[string]string{}}
}

func (d *forgetful) create(name string) (*os.File, error) { return realDisk{}.create(name) }
func (d *forgetful) rename(from, to string) error         { return os.Rename(from, to) }
func (d *forgetful) remove(name string) error             { return os.Remove(name) }

func (d *forgetful) sync(f *os.File) error {
	content, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.lost {
		d.synced[inode(info)] = content
	}
	return nil
}

func (d *forgetful) syncDir(name string) error {
	list, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost {
		return nil
	}
	names := map[string]string{}
	for _, e := range list {
		if info, err := e.Info(); err == nil && !e.IsDir() {
			names[e.Name()] = inode(info)
		}
	}
	d.entries[name] = names
	return nil
}

func inode(info fs.FileInfo) string { return fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino) }

// cut writes to a new directory what a power cut at this moment leaves.
func (d *forgetful) cut(t *testing.T, r *rand.Rand) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	after := t.TempDir()
	for _, sub := range []string{".", tmpDir, newDir, failedDir, retryDir, removedDir} {
		dir := filepath.Join(d.root, sub)
		names := maps.Clone(d.entries[dir])
		if names == nil {
			names = map[string]string{}
		}
		current := map[string]string{}
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if info, err := e.Info(); err == nil && !e.IsDir() {
				current[e.Name()] = inode(info)
			}
		}
		// Each entry that was changed since its sync is as it was, or as it is.
		for name, node := range current {
			if names[name] != node && r.IntN(2) == 0 {
				names[name] = node
			}
		}
		for name := range maps.Clone(names) {
			if _, there := current[name]; !there && r.IntN(2) == 0 {
				delete(names, name)
			}
		}
		if err := os.MkdirAll(filepath.Join(after, sub), dirMode); err != nil {
			t.Fatal(err)
		}
		for name, node := range names {
			d.restore(t, r, filepath.Join(dir, name), filepath.Join(after, sub, name), node)
		}
	}
	return after
}

// restore writes what is left of a file: the octets that were synced, and of those after them, if it is there still, some.
func (d *forgetful) restore(t *testing.T, r *rand.Rand, from, to, node string) {
	t.Helper()
	content := d.synced[node]
	if now, err := os.ReadFile(from); err == nil {
		if info, err := os.Stat(from); err == nil && inode(info) == node && len(now) > len(content) {
			rest := now[len(content):]
			content = append(append([]byte(nil), content...), rest[:r.IntN(len(rest)+1)]...)
		}
	}
	if err := os.WriteFile(to, content, fileMode); err != nil {
		t.Fatal(err)
	}
}

// promises are what a run was told to be durable.
type promises struct {
	mu      sync.Mutex
	kept    map[string]bool  // records, until their removal begins
	states  map[string]State // intents
	ended   map[string]bool  // intents that were dropped, durably
	removed map[string]bool  // records whose removal has begun
}

// run writes records and intents from several goroutines, and tells p what was promised.
func (p *promises) run(s *Spool, seed uint64) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range 12 {
				p.step(s, r)
			}
		})
	}
	wg.Wait()
}

func (p *promises) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *promises) step(s *Spool, r *rand.Rand) {
	id := newID()
	switch r.IntN(4) {
	case 0:
		if s.Add(prepared(id, newID(), "mail", r.IntN(2) == 0)) == nil {
			p.note(func() { p.kept[fileName(id, Prepared)] = true })
		}
	case 1:
		w, err := s.NewRaw(id)
		if err != nil {
			return
		}
		_, _ = w.Write(make([]byte, r.IntN(100_000)))
		if w.Commit(rawHeader(id)) == nil {
			p.note(func() { p.kept[fileName(id, Raw)] = true })
		}
	case 2:
		if s.Uploading(id, "2026/11/24/"+id+"/1") == nil {
			p.note(func() { p.states[id] = Uploading })
		}
		if r.IntN(2) == 0 && s.Publishing(id) == nil {
			p.note(func() { p.states[id] = Publishing })
		}
		if r.IntN(3) == 0 && s.Drop(id) == nil {
			p.note(func() { delete(p.states, id); p.ended[id] = true })
		}
	case 3:
		s.queue.mu.Lock()
		i, address, ok := s.queue.pick(func(string) bool { return true })
		s.queue.mu.Unlock()
		if !ok {
			return
		}
		name := fileName(i.id.String(), i.kind())
		p.note(func() { p.removed[name] = true })
		rec, err := openRecord(s.path(i))
		if err != nil {
			s.queue.again(i, address)
			return
		}
		(&Entry{Record: rec, spool: s, item: i, address: address}).Remove()
	}
}

// check opens what a power cut has left and reports what of the promises is not kept.
func (p *promises) check(t *testing.T, dir string) (broken []string) {
	t.Helper()
	s, err := Open(Config{Dir: dir, Logger: quiet()})
	if err != nil {
		return []string{"the spool does not open: " + err.Error()}
	}
	defer s.Close()
	for name := range p.kept {
		if p.removed[name] {
			continue
		}
		r, err := openRecord(filepath.Join(dir, newDir, name))
		if err == nil {
			err = r.Verify()
			r.Close()
		}
		if err != nil {
			broken = append(broken, fmt.Sprintf("record %s: %v", name, err))
		}
	}
	for id, want := range p.states {
		// A later state that nobody was told of yet may be there.
		got, ok := s.Intent(id)
		if !ok || want == Publishing && got.State != Publishing {
			broken = append(broken, fmt.Sprintf("intent %s: %v, want %s", id, got, want))
		}
	}
	for id := range p.ended {
		if got, ok := s.Intent(id); ok {
			broken = append(broken, fmt.Sprintf("intent %s: %v, want none", id, got))
		}
	}
	return broken
}

func powerCut(t *testing.T, seed uint64, lost bool) []string {
	t.Helper()
	root := t.TempDir()
	d := newForgetful(root)
	s, err := open(Config{Dir: root, Logger: quiet()}, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d.mu.Lock()
	d.lost = lost
	d.mu.Unlock()
	p := &promises{kept: map[string]bool{}, states: map[string]State{}, ended: map[string]bool{}, removed: map[string]bool{}}
	p.run(s, seed)
	return p.check(t, d.cut(t, rand.New(rand.NewPCG(seed, 99))))
}

func TestPowerCut(t *testing.T) {
	for seed := range uint64(40) {
		if broken := powerCut(t, seed, false); len(broken) > 0 {
			t.Fatalf("seed %d:\n%v", seed, broken)
		}
	}
}

// The test above can fail: a disk whose syncs do nothing breaks promises.
func TestPowerCutNotices(t *testing.T) {
	for seed := range uint64(5) {
		if len(powerCut(t, seed, true)) > 0 {
			return
		}
	}
	t.Fatal("no promise was broken by a disk that syncs nothing")
}
