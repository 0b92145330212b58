package objectstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lsmtpd/objectstore"
	"lsmtpd/objectstore/storetest"
)

func TestDir(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		root := filepath.Join(t.TempDir(), "not", "there yet")
		return storetest.Fixture{
			Store:     objectstore.NewDir(root),
			PartBytes: 1 << 20,
			Residue:   func(t *testing.T) []string { return filesIn(t, root) },
		}
	})
}

// filesIn lists everything below root, directories, too.
func filesIn(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if name != root {
			names = append(names, strings.TrimPrefix(name, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDirLayout(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a b%c")
	store := objectstore.NewDir(root)
	got, err := store.Put(t.Context(), "2026/11/23/x/1", strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	want := objectstore.Object{
		URL: "file://" + strings.NewReplacer("%", "%25", " ", "%20").Replace(root) + "/2026/11/23/x/1",
		Key: "2026/11/23/x/1", Size: 7,
	}
	if got != want {
		t.Errorf("Put = %+v; want %+v", got, want)
	}
	if octets, err := os.ReadFile(filepath.Join(root, "2026/11/23/x/1")); string(octets) != "content" {
		t.Errorf("file holds %q, %v", octets, err)
	}
	if err := store.Delete(t.Context(), "2026/11/23/x/1"); err != nil {
		t.Error(err)
	}
	if left := filesIn(t, root); left != nil {
		t.Errorf("after Delete: %q; want an empty root", left)
	}
}

func TestDirDeleteKeepsOthers(t *testing.T) {
	root := t.TempDir()
	store := objectstore.NewDir(root)
	for _, key := range []string{"a/b/1", "a/b/2", "a/c"} {
		if _, err := store.Put(t.Context(), key, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	// A directory, something below an object, and something below nothing: not objects.
	for _, key := range []string{"a/b", "a/c/1", "a/c/d/1", "a/d/1"} {
		if err := store.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
		if _, err := store.Get(t.Context(), key); !errors.Is(err, objectstore.ErrNotFound) {
			t.Errorf("Get(%q): %v; want ErrNotFound", key, err)
		}
	}
	if err := store.Delete(t.Context(), "a/b/1"); err != nil {
		t.Error(err)
	}
	if got, want := fmt.Sprint(filesIn(t, root)), "[a a/b a/b/2 a/c]"; got != want {
		t.Errorf("left: %s; want %s", got, want)
	}
}

func TestDirTemporaryFileInTheWay(t *testing.T) {
	root := t.TempDir()
	store := objectstore.NewDir(root)
	if err := os.WriteFile(filepath.Join(root, "a.part"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "a", strings.NewReader("new")); !errors.Is(err, objectstore.ErrExists) {
		t.Errorf("Put beside a temporary file: %v; want ErrExists", err)
	}
	left, err := store.Abandoned(t.Context(), "")
	if err != nil || len(left) != 1 || left[0].Key != "a" {
		t.Fatalf("Abandoned = %+v, %v; want a", left, err)
	}
	if err := store.Abort(t.Context(), left[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "a", strings.NewReader("new")); err != nil {
		t.Errorf("Put after Abort: %v", err)
	}
}

func TestDirAbandonedPrefix(t *testing.T) {
	root := t.TempDir()
	store := objectstore.NewDir(root)
	for _, name := range []string{"x/1.part", "x/10.part", "x/2", "y/1.part"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string]string{
		"": "[x/1 x/10 y/1]", "x": "[x/1 x/10]", "x/": "[x/1 x/10]", "x/1": "[x/1 x/10]", "x/10": "[x/10]", "z/1": "[]", "x/2/3": "[]",
	} {
		left, err := store.Abandoned(t.Context(), prefix)
		keys := []string{}
		for _, l := range left {
			keys = append(keys, l.Key)
		}
		if got := fmt.Sprint(keys); got != want || err != nil {
			t.Errorf("Abandoned(%q) = %s, %v; want %s", prefix, got, err, want)
		}
	}
	if _, err := store.Abandoned(t.Context(), "../x"); !errors.Is(err, objectstore.ErrKey) {
		t.Errorf("Abandoned(../x): %v; want ErrKey", err)
	}
}

// Deletes that empty a directory race with puts that make it.
func TestDirPutAgainstDelete(t *testing.T) {
	root := t.TempDir()
	store := objectstore.NewDir(root)
	var running sync.WaitGroup
	for worker := range 8 {
		running.Go(func() {
			for i := range 50 {
				key := fmt.Sprintf("2026/11/%d-%d", worker, i)
				if _, err := store.Put(t.Context(), key, bytes.NewReader([]byte(key))); err != nil {
					t.Errorf("Put(%q): %v", key, err)
				}
				if err := store.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete(%q): %v", key, err)
				}
			}
		})
	}
	running.Wait()
	if left := filesIn(t, root); left != nil {
		t.Errorf("left: %q", left)
	}
}

func TestDirFaults(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, root, key string
		want            error
	}{
		{"root is a file", filepath.Join(root, "file"), "a", objectstore.ErrUnavailable},
		{"root below a file", filepath.Join(root, "file", "x"), "a", objectstore.ErrUnavailable},
		{"key below an object", root, "file/a", objectstore.ErrUnavailable},
		{"root where nothing can be made", "/proc/lsmtpd", "a", objectstore.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := objectstore.NewDir(c.root)
			if _, err := store.Put(t.Context(), c.key, strings.NewReader("x")); !errors.Is(err, c.want) {
				t.Errorf("Put: %v; want %v", err, c.want)
			}
			if c.root != root {
				if err := store.Check(t.Context()); err == nil {
					t.Error("Check: nil; want an error")
				}
			}
		})
	}
}
