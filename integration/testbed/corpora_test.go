package testbed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"context"

	"github.com/google/go-cmp/cmp"
)

func TestSplitMbox(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"none":               {"", nil},
		"no line before it":  {"Subject: x\n\ntext\n", nil},
		"one":                {"From a@example.org Mon Apr 1\nSubject: x\n\ntext\n", []string{"Subject: x\n\ntext\n"}},
		"two":                {"From a\nA: 1\n\none\n\nFrom b\nB: 2\n\ntwo\n\n", []string{"A: 1\n\none\n", "B: 2\n\ntwo\n\n"}},
		"CR LF":              {"From a\r\nA: 1\r\n\r\none\r\n\r\nFrom b\r\nB: 2\r\n\r\n", []string{"A: 1\r\n\r\none\r\n", "B: 2\r\n\r\n"}},
		"no empty line":      {"From a\nA: 1\n\none\nFrom b\nB: 2\n", []string{"A: 1\n\none\n", "B: 2\n"}},
		"header alone":       {"From a\nA: 1\n\nFrom b\nB: 2\n\n", []string{"A: 1\n", "B: 2\n\n"}},
		"a line of the text": {"From a\nA: 1\n\nFrom here on\nit is text\n>From b\nB: 2\n", []string{"A: 1\n\nFrom here on\nit is text\n>From b\nB: 2\n"}},
	} {
		if diff := cmp.Diff(c.want, asStrings(splitMbox([]byte(c.file)))); diff != "" {
			t.Errorf("%s: %q: messages (-want +got):\n%s", name, c.file, diff)
		}
	}
}

func TestSplitSieve(t *testing.T) {
	const file = "require \"x\";\ntest_set \"message\" text:\nA: 1\n\n..one\n. two\n.\n;\nset \"a\" text:\nno message\n.\n;\n\tset \"message2\" text: # it\r\nB: 2\r\n.\r\n;\n"
	want := []string{"A: 1\n\n.one\n two\n", "B: 2\r\n"}
	if diff := cmp.Diff(want, asStrings(splitSieve([]byte(file)))); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func asStrings(list [][]byte) []string {
	var all []string
	for _, octets := range list {
		all = append(all, string(octets))
	}
	return all
}

func TestReadCorpus(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"c-1/mail/b.eml": "two", "c-1/mail/a/1.eml": "one", "c-1/mail/box.mbox": "From x\nA: 1\nFrom y\nB: 2\n",
		"c-1/mail/README": "no message", "c-1/other.eml": "not in the base",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := corpus{"c", 4, func(context.Context) (string, error) { return root, nil }, "c-*/mail", []corpusFiles{{"*.eml", nil}, {"*box*", splitMbox}}}
	got, err := c.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []CorpusMessage{{"c/a/1.eml", []byte("one")}, {"c/b.eml", []byte("two")},
		{"c/box.mbox#1", []byte("A: 1\n")}, {"c/box.mbox#2", []byte("B: 2\n")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	c.least = 5
	if _, err := c.read(t.Context()); err == nil || !strings.Contains(err.Error(), "has 4 messages, want at least 5") {
		t.Errorf("a corpus with fewer messages than are known: got %v", err)
	}
}

func TestCorpusPattern(t *testing.T) {
	for pattern, names := range map[string]map[string]bool{
		"*.eml":     {"a.eml": true, "b/a.eml": true, "a.eml2": false, ".eml": true, "eml": false},
		"a/*.eml":   {"a/1.eml": true, "a/b/1.eml": true, "b/1.eml": false},
		"a/*-*.txt": {"a/x-y.txt": true, "a/x.txt": false, "a/-.txt": true},
		"*":         {"": true, "a/b": true},
		"a/b":       {"a/b": true, "a/bc": false, "xa/b": false, "": false},
	} {
		for name, want := range names {
			if got := (corpusFiles{pattern, nil}).matches(name); got != want {
				t.Errorf("%q matches %q: got %t, want %t", pattern, name, got, want)
			}
		}
	}
}
