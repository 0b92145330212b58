// Package storetest is the contract of objectstore.Store as a test suite: every implementation, and
// every server behind one, has to pass it. It leaves nothing behind in the store it is given.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"lsmtpd/objectstore"
)

// Fixture is a store under test.
type Fixture struct {
	Store objectstore.Store
	// PartBytes is the size of its parts in octets; for a store without parts any size.
	PartBytes int64
	// Replaces says that Put to a key that exists replaces the object; otherwise it is refused.
	Replaces bool
	// Residue lists everything in the store, finished or not. Nil where nobody can tell; the suite
	// then asks the store itself for the keys that it has used.
	Residue func(t *testing.T) []string
}

// Run runs the suite. open makes a store for each group of cases; it may be the same one each time.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, group := range []struct {
		name string
		run  func(*testing.T, Fixture)
	}{
		{"Sizes", testSizes},
		{"OddReaders", testOddReaders},
		{"FailingReaders", testFailingReaders},
		{"NoProgress", testNoProgress},
		{"Panic", testPanic},
		{"Cancel", testCancel},
		{"InvisibleUntilDone", testInvisible},
		{"Parallel", testParallel},
		{"Together", testTogether},
		{"ExistingKey", testExistingKey},
		{"NotFound", testNotFound},
		{"HostileKeys", testHostileKeys},
		{"Abandoned", testAbandoned},
		{"Probe", testProbe},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, open(t)) })
	}
}

// newKey returns a key that nobody else uses.
func newKey() string { return fmt.Sprintf("storetest/%016x/1", rand.Uint64()) }

// Content returns n octets that differ everywhere, the same for the same n.
func Content(n int64) []byte {
	octets := make([]byte, n)
	// Read of a ChaCha8 never fails.
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(octets)
	return octets
}

// boundaries are the sizes at which something changes, and those beside them.
func boundaries(part int64) []int64 {
	const slab = objectstore.SlabBytes
	return []int64{0, 1, slab - 1, slab, slab + 1, part - 1, part, part + 1, 2 * part, 7 * part / 2}
}

func testSizes(t *testing.T, f Fixture) {
	for _, size := range boundaries(f.PartBytes) {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			roundTrip(t, f, Content(size), func(r io.Reader) io.Reader { return r })
		})
	}
}

func testOddReaders(t *testing.T, f Fixture) {
	size := int64(objectstore.SlabBytes + 1)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one octet at a time":       iotest.OneByteReader,
		"half of what is asked for": iotest.HalfReader,
		"io.EOF with the last":      iotest.DataErrReader,
		"nothing now and then":      func(r io.Reader) io.Reader { return &hesitant{r: r} },
	} {
		t.Run(name, func(t *testing.T) { roundTrip(t, f, Content(size), wrap) })
	}
}

// hesitant returns neither octets nor an error every other time.
type hesitant struct {
	r   io.Reader
	odd bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.odd = !h.odd; h.odd {
		return 0, nil
	}
	return h.r.Read(p)
}

// roundTrip puts content, reads it back, deletes it, and looks at everything that is said about it.
func roundTrip(t *testing.T, f Fixture, content []byte, wrap func(io.Reader) io.Reader) {
	t.Helper()
	key := newKey()
	o, err := f.Store.Put(t.Context(), key, wrap(bytes.NewReader(content)))
	if err != nil {
		t.Fatalf("Put of %d octets: %v", len(content), err)
	}
	if o.Size != int64(len(content)) || !strings.HasSuffix(o.Key, key) || !strings.HasSuffix(o.URL, key) {
		t.Errorf("Put(%q) of %d octets returned %+v", key, len(content), o)
	}
	wantContent(t, f, key, content)
	wantNoUploads(t, f, key)
	if err := f.Store.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete(%q): %v", key, err)
	}
	wantNothing(t, f, key)
}

func wantContent(t *testing.T, f Fixture, key string, want []byte) {
	t.Helper()
	r, err := f.Store.Get(t.Context(), key)
	if err != nil {
		t.Errorf("Get(%q): %v", key, err)
		return
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%q): %d octets, %v; want the %d that were put", key, len(got), err, len(want))
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func wantNoUploads(t *testing.T, f Fixture, key string) {
	t.Helper()
	if left, err := f.Store.Abandoned(t.Context(), key); err != nil || len(left) != 0 {
		t.Errorf("Abandoned(%q) = %v, %v; want none", key, left, err)
	}
}

// wantNothing makes sure that neither an object nor a part of one is left.
func wantNothing(t *testing.T, f Fixture, key string) {
	t.Helper()
	if r, err := f.Store.Get(t.Context(), key); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("Get(%q) = %v, %v; want ErrNotFound", key, r, err)
	}
	wantNoUploads(t, f, key)
	if f.Residue != nil {
		if left := f.Residue(t); len(left) != 0 {
			t.Errorf("left in the store: %q", left)
		}
	}
}

func testFailingReaders(t *testing.T, f Fixture) {
	lost := errors.New("connection lost")
	wrapped := fmt.Errorf("wrapped: %w", io.EOF)
	for _, fail := range []struct {
		name string
		err  error
	}{
		{"unexpected EOF", io.ErrUnexpectedEOF},
		{"own error", lost},
		{"wrapped EOF", wrapped},
		{"closed pipe", io.ErrClosedPipe},
	} {
		for _, size := range boundaries(f.PartBytes) {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s after %d, with octets %t", fail.name, size, together), func(t *testing.T) {
					var r io.Reader = io.MultiReader(bytes.NewReader(Content(size)), iotest.ErrReader(fail.err))
					if together {
						r = &abrupt{octets: Content(size), err: fail.err}
					}
					key := newKey()
					o, err := f.Store.Put(t.Context(), key, r)
					var read *objectstore.ReadError
					if !errors.Is(err, fail.err) || !errors.As(err, &read) {
						t.Errorf("Put = %+v, %v; want a *ReadError of %q", o, err, fail.err)
					}
					if errors.Is(err, objectstore.ErrUncertain) {
						t.Errorf("Put: %v; want certainty", err)
					}
					wantNothing(t, f, key)
				})
			}
		}
	}
}

// abrupt returns its last octets together with an error.
type abrupt struct {
	octets []byte
	err    error
}

func (a *abrupt) Read(p []byte) (int, error) {
	n := copy(p, a.octets)
	if a.octets = a.octets[n:]; len(a.octets) == 0 {
		return n, a.err
	}
	return n, nil
}

func testNoProgress(t *testing.T, f Fixture) {
	key := newKey()
	_, err := f.Store.Put(t.Context(), key, stuck{})
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Put of a reader that returns 0, nil for ever: %v; want io.ErrNoProgress", err)
	}
	wantNothing(t, f, key)
}

// A panic of the reader goes on to the caller of Put, after it has cleaned up.
func testPanic(t *testing.T, f Fixture) {
	for _, at := range []int64{0, f.PartBytes - 1, f.PartBytes + 1, 3 * f.PartBytes} {
		t.Run(fmt.Sprintf("at octet %d", at), func(t *testing.T) {
			key := newKey()
			defer func() {
				if p := recover(); p != "a defect" {
					t.Errorf("recovered %v, want the reader's panic", p)
				}
				wantNothing(t, f, key)
			}()
			r := &atOffset{r: bytes.NewReader(Content(4 * f.PartBytes)), offset: at, do: func() { panic("a defect") }}
			o, err := f.Store.Put(t.Context(), key, r)
			t.Errorf("Put = %+v, %v; want a panic", o, err)
		})
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// atOffset calls do once, before it returns the octet at offset.
type atOffset struct {
	r      io.Reader
	offset int64
	do     func()
}

func (a *atOffset) Read(p []byte) (int, error) {
	if a.offset > 0 {
		n, err := a.r.Read(p[:min(int64(len(p)), a.offset)])
		a.offset -= int64(n)
		return n, err
	}
	if a.do != nil {
		a.do()
		a.do = nil
	}
	return a.r.Read(p)
}

func testCancel(t *testing.T, f Fixture) {
	gone := errors.New("client gone")
	size := 7 * f.PartBytes / 2
	for _, at := range []int64{0, 1, f.PartBytes - 1, f.PartBytes, f.PartBytes + 1, 2*f.PartBytes + 1, size} {
		t.Run(fmt.Sprintf("at octet %d", at), func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			key := newKey()
			r := &atOffset{r: bytes.NewReader(Content(size)), offset: at, do: func() { cancel(gone) }}
			o, err := f.Store.Put(ctx, key, r)
			if !errors.Is(err, gone) {
				t.Errorf("Put = %+v, %v; want the cause of the context", o, err)
			}
			wantNothing(t, f, key)
		})
	}
}

func testInvisible(t *testing.T, f Fixture) {
	size := 5 * f.PartBytes / 2
	for _, at := range []int64{0, 1, f.PartBytes + 1, size} {
		t.Run(fmt.Sprintf("at octet %d", at), func(t *testing.T) {
			key := newKey()
			look := func() {
				if _, err := f.Store.Get(t.Context(), key); !errors.Is(err, objectstore.ErrNotFound) {
					t.Errorf("Get while Put runs: %v; want ErrNotFound", err)
				}
			}
			r := &atOffset{r: bytes.NewReader(Content(size)), offset: at, do: look}
			if _, err := f.Store.Put(t.Context(), key, r); err != nil {
				t.Fatalf("Put: %v", err)
			}
			if err := f.Store.Delete(t.Context(), key); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			wantNothing(t, f, key)
		})
	}
}

func testParallel(t *testing.T, f Fixture) {
	const uploads = 12
	var running sync.WaitGroup
	keys := make([]string, uploads)
	contents := make([][]byte, uploads)
	for i := range keys {
		keys[i] = newKey()
		contents[i] = Content(int64(i) * f.PartBytes / 4)
		running.Go(func() {
			if _, err := f.Store.Put(t.Context(), keys[i], bytes.NewReader(contents[i])); err != nil {
				t.Errorf("Put(%q): %v", keys[i], err)
				return
			}
			wantContent(t, f, keys[i], contents[i])
			if err := f.Store.Delete(t.Context(), keys[i]); err != nil {
				t.Errorf("Delete(%q): %v", keys[i], err)
			}
		})
	}
	running.Wait()
	for _, key := range keys {
		wantNothing(t, f, key)
	}
}

// testTogether feeds pairs of uploads from one stream each: the one reads on when the other does.
func testTogether(t *testing.T, f Fixture) {
	var (
		running sync.WaitGroup
		keys    [6]string
	)
	for i := 0; i < len(keys); i += 2 {
		whole, half := newKey(), newKey()
		keys[i], keys[i+1] = whole, half
		content := Content(f.PartBytes + f.PartBytes/2 + int64(i))
		running.Go(func() {
			store := f.Store.Together()
			r, w := io.Pipe()
			var other sync.WaitGroup
			other.Go(func() {
				_, err := store.Put(t.Context(), whole, r)
				if err != nil {
					t.Errorf("Put(%q): %v", whole, err)
				}
				_ = r.CloseWithError(err)
			})
			stream := io.TeeReader(bytes.NewReader(content), w)
			_, err := store.Put(t.Context(), half, io.LimitReader(stream, int64(len(content))/2))
			if err == nil {
				_, err = io.Copy(io.Discard, stream)
			}
			_ = w.CloseWithError(err)
			other.Wait()
			if err != nil {
				t.Errorf("Put(%q): %v", half, err)
				return
			}
			wantContent(t, f, whole, content)
			wantContent(t, f, half, content[:len(content)/2])
			for _, key := range []string{whole, half} {
				if err := f.Store.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete(%q): %v", key, err)
				}
			}
		})
	}
	running.Wait()
	for _, key := range keys {
		wantNothing(t, f, key)
	}
}

func testExistingKey(t *testing.T, f Fixture) {
	for _, size := range []int64{10, f.PartBytes + 1} {
		key := newKey()
		first, second := Content(11), Content(size)
		if _, err := f.Store.Put(t.Context(), key, bytes.NewReader(first)); err != nil {
			t.Fatalf("Put: %v", err)
		}
		_, err := f.Store.Put(t.Context(), key, bytes.NewReader(second))
		switch {
		case f.Replaces && err != nil:
			t.Errorf("Put to a key that exists: %v; want it replaced", err)
		case f.Replaces:
			wantContent(t, f, key, second)
		case !errors.Is(err, objectstore.ErrExists):
			t.Errorf("Put to a key that exists: %v; want ErrExists", err)
		default:
			wantContent(t, f, key, first)
		}
		if err := f.Store.Delete(t.Context(), key); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantNothing(t, f, key)
	}
}

func testNotFound(t *testing.T, f Fixture) {
	key := newKey()
	if r, err := f.Store.Get(t.Context(), key); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("Get of nothing = %v, %v; want ErrNotFound", r, err)
	}
	if err := f.Store.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete of nothing: %v; want nil", err)
	}
	if err := f.Store.Abort(t.Context(), objectstore.Leftover{Key: key, UploadID: "nothing"}); err != nil {
		t.Errorf("Abort of nothing: %v; want nil", err)
	}
	if err := f.Store.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	wantNothing(t, f, key)
}

func testHostileKeys(t *testing.T, f Fixture) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a/./b", "a\x00b", "a\nb", "a\x7fb",
		"a\u0085b", "a\xffb", `a\b`, `..\a`, "a.part", "a/b.part", strings.Repeat("x", 251), strings.Repeat("x/", 512) + "x",
	} {
		t.Run(fmt.Sprintf("%.20q", key), func(t *testing.T) {
			r := &atOffset{r: strings.NewReader("x"), do: func() { t.Error("Put read its reader") }}
			if _, err := f.Store.Put(t.Context(), key, r); !errors.Is(err, objectstore.ErrKey) {
				t.Errorf("Put(%q): %v; want ErrKey", key, err)
			}
			if _, err := f.Store.Get(t.Context(), key); !errors.Is(err, objectstore.ErrKey) {
				t.Errorf("Get(%q): %v; want ErrKey", key, err)
			}
			if err := f.Store.Delete(t.Context(), key); !errors.Is(err, objectstore.ErrKey) {
				t.Errorf("Delete(%q): %v; want ErrKey", key, err)
			}
			if err := f.Store.Abort(t.Context(), objectstore.Leftover{Key: key, UploadID: "u"}); !errors.Is(err, objectstore.ErrKey) {
				t.Errorf("Abort(%q): %v; want ErrKey", key, err)
			}
		})
	}
}

func testAbandoned(t *testing.T, f Fixture) {
	key := newKey()
	abort := func() {
		left, err := f.Store.Abandoned(t.Context(), key)
		if err != nil || len(left) != 1 || left[0].Key != key || left[0].Started.IsZero() {
			t.Fatalf("Abandoned(%q) = %+v, %v; want one, with its time", key, left, err)
		}
		if err := f.Store.Abort(t.Context(), left[0]); err != nil {
			t.Errorf("Abort(%+v): %v", left[0], err)
		}
	}
	size := 2 * f.PartBytes
	r := &atOffset{r: bytes.NewReader(Content(size)), offset: f.PartBytes + 1, do: abort}
	if o, err := f.Store.Put(t.Context(), key, r); err == nil {
		t.Errorf("Put = %+v, nil; want an error after its leftovers were removed", o)
	}
	wantNothing(t, f, key)
}

func testProbe(t *testing.T, f Fixture) {
	key := newKey()
	var steps []string
	err := objectstore.Probe(t.Context(), f.Store, key, func(step string, err error) {
		steps = append(steps, step)
		if err != nil {
			t.Errorf("step %s: %v", step, err)
		}
	})
	if err != nil || len(steps) < 3 {
		t.Errorf("Probe: %v after %q; want put, get, delete and more", err, steps)
	}
	wantNothing(t, f, key)
}
