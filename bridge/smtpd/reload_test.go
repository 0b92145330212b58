package smtpd

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logged is a log whose lines a test can count.
type logged struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logged) count(level slog.Level) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.lines.String(), "level="+level.String())
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func newLogged() (*slog.Logger, *logged) {
	l := &logged{}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// writeFile gives a file its content, and a modification time of its own, however fast tests write.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	var mtime time.Time
	if info, err := os.Stat(path); err == nil {
		mtime = info.ModTime().Add(time.Second)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if !mtime.IsZero() {
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
}

// setTime gives a file the modification time that all files get here.
func setTime(t *testing.T, path string) {
	t.Helper()
	mtime := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

// replaceFile puts a new file in the place of another with a rename.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	writeFile(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// swapLink makes a symbolic link in one step, in the place of one that may be there.
func swapLink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// loadText loads a file as text without the space around it, and refuses "bad".
func loadText(path string) func() (string, error) {
	return func() (string, error) {
		content, err := readFile(path)
		if err == nil && string(content) == "bad" {
			err = fmt.Errorf("%s is bad; want it good", path)
		}
		return strings.TrimSpace(string(content)), err
	}
}

func TestReloadedFollows(t *testing.T) {
	for _, tt := range []struct {
		name   string
		create func(t *testing.T, path string)
		change func(t *testing.T, path string)
	}{
		{"rewritten in place", func(t *testing.T, path string) { writeFile(t, path, "one") }, func(t *testing.T, path string) { writeFile(t, path, "two") }},
		{"replaced by a rename", func(t *testing.T, path string) { writeFile(t, path, "one") }, func(t *testing.T, path string) { replaceFile(t, path, "two") }},
		{
			"replaced by a rename, with the same time and size",
			func(t *testing.T, path string) { writeFile(t, path, "one"); setTime(t, path) },
			func(t *testing.T, path string) {
				writeFile(t, path+".new", "two")
				setTime(t, path+".new")
				if err := os.Rename(path+".new", path); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			"rewritten in place to another size, with the same time",
			func(t *testing.T, path string) { writeFile(t, path, "one"); setTime(t, path) },
			func(t *testing.T, path string) { writeFile(t, path, "two\n"); setTime(t, path) },
		},
		{
			"behind a link to a folder that is swapped",
			func(t *testing.T, path string) {
				dir := filepath.Dir(path)
				for _, version := range []string{"one", "two"} {
					if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
						t.Fatal(err)
					}
					writeFile(t, filepath.Join(dir, version, filepath.Base(path)), version)
				}
				swapLink(t, "one", filepath.Join(dir, "data"))
				swapLink(t, filepath.Join("data", filepath.Base(path)), path)
			},
			func(t *testing.T, path string) { swapLink(t, "two", filepath.Join(filepath.Dir(path), "data")) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			tt.create(t, path)
			log, lines := newLogged()
			r, err := newReloaded(loadText(path), log, path)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.get(); got != "one" {
				t.Errorf("before: got %q, want one", got)
			}
			tt.change(t, path)
			for range 3 {
				if got := r.get(); got != "two" {
					t.Errorf("after: got %q, want two", got)
				}
			}
			if n := lines.count(slog.LevelInfo); n != 1 || lines.count(slog.LevelError) != 0 {
				t.Errorf("%d lines about success, want 1, and no error:\n%s", n, lines)
			}
		})
	}
}

func TestReloadedKeepsWhatWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, "one")
	log, lines := newLogged()
	r, err := newReloaded(loadText(path), log, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		change func()
		want   string
		errors int // logged by now
		infos  int
	}{
		{"bad", func() { writeFile(t, path, "bad") }, "one", 1, 0},
		{"bad again", func() { writeFile(t, path, "bad") }, "one", 2, 0},
		{"removed", func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "one", 3, 0},
		{"a folder", func() {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "one", 4, 0},
		{"good", func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, "two")
		}, "two", 4, 1},
		{"too large", func() { writeFile(t, path, strings.Repeat("x", maxFileBytes+1)) }, "two", 5, 1},
		{"just small enough", func() { writeFile(t, path, strings.Repeat("x", maxFileBytes)) }, strings.Repeat("x", maxFileBytes), 5, 2},
	} {
		step.change()
		for range 3 {
			if got := r.get(); got != step.want {
				t.Errorf("%s: got %.20q, want %.20q", step.name, got, step.want)
			}
		}
		if e, i := lines.count(slog.LevelError), lines.count(slog.LevelInfo); e != step.errors || i != step.infos {
			t.Errorf("%s: %d errors and %d successes logged, want %d and %d:\n%s", step.name, e, i, step.errors, step.infos, lines)
		}
	}
	if want := path + " is bad; want it good"; !strings.Contains(lines.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, lines)
	}
}

// A failure that has nothing to do with the state of the file ends without a change to it.
func TestReloadedTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		writeFile(t, path, "one")
		log, lines := newLogged()
		var failure error
		r, err := newReloaded(func() (string, error) {
			if failure != nil {
				return "", failure
			}
			return loadText(path)()
		}, log, path)
		if err != nil {
			t.Fatal(err)
		}
		failure = os.ErrPermission
		writeFile(t, path, "two")
		for _, step := range []struct {
			name    string
			failure error
			wait    time.Duration
			want    string
			errors  int
		}{
			{"at once", os.ErrPermission, 0, "one", 1},
			{"mended, but too early", nil, retryAfter - 1, "one", 1},
			{"the same failure", os.ErrPermission, 1, "one", 1},
			{"another failure", os.ErrDeadlineExceeded, retryAfter, "one", 2},
			{"mended", nil, retryAfter, "two", 2},
		} {
			failure = step.failure
			time.Sleep(step.wait)
			if got := r.get(); got != step.want {
				t.Errorf("%s: got %q, want %q", step.name, got, step.want)
			}
			if n := lines.count(slog.LevelError); n != step.errors {
				t.Errorf("%s: %d errors logged, want %d:\n%s", step.name, n, step.errors, lines)
			}
		}

		failure = os.ErrPermission
		writeFile(t, path, "three")
		if got := r.get(); got != "two" {
			t.Errorf("not to be read: got %q, want two", got)
		}
		failure = nil
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if got := r.get(); got != "three" {
			t.Errorf("made readable: got %q, want three", got)
		}
	})
}

// While one caller loads, the others go on with the value from before.
func TestReloadedDoesNotWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, "one")
	log, _ := newLogged()
	entered, leave := make(chan struct{}), make(chan struct{})
	first := true
	r, err := newReloaded(func() (string, error) {
		if !first {
			entered <- struct{}{}
			<-leave
		}
		first = false
		return loadText(path)()
	}, log, path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "two")
	loader := make(chan string)
	go func() { loader <- r.get() }()
	<-entered
	if got := r.get(); got != "one" {
		t.Errorf("while another loads: got %q, want one", got)
	}
	close(leave)
	if got := <-loader; got != "two" {
		t.Errorf("the one who loads: got %q, want two", got)
	}
	if got := r.get(); got != "two" {
		t.Errorf("afterwards: got %q, want two", got)
	}
}

func TestReloadedConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	replaceFile(t, path, "0")
	log, lines := newLogged()
	r, err := newReloaded(loadText(path), log, path)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for last := ""; ; {
				select {
				case <-stop:
					return
				default:
				}
				if got := r.get(); got < last {
					t.Errorf("got %q after %q", got, last)
				} else {
					last = got
				}
			}
		})
	}
	for i := 1; i <= 9; i++ {
		replaceFile(t, path, fmt.Sprint(i))
	}
	close(stop)
	readers.Wait()
	if got := r.get(); got != "9" {
		t.Errorf("got %q, want 9", got)
	}
	if n := lines.count(slog.LevelError); n != 0 {
		t.Errorf("%d errors logged:\n%s", n, lines)
	}
}

func TestReloadedFirst(t *testing.T) {
	log, _ := newLogged()
	path := filepath.Join(t.TempDir(), "absent")
	if _, err := newReloaded(loadText(path), log, path); !os.IsNotExist(err) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}
