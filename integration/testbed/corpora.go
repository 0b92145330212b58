package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// CorpusMessage is a message of a corpus, as others have collected them to test what reads mail.
type CorpusMessage struct {
	// Name is that of the corpus, "/", and that of the file in it; where a file holds several messages, "#" and a number
	// from 1 follow.
	Name   string
	Octets []byte // as they are in the file
}

// corpus is where the messages of a corpus come from. None of them is ever part of this repository: some are letters
// that real people have written to each other.
type corpus struct {
	name  string
	least int // messages there are in this version
	root  func(context.Context) (string, error)
	base  string // the folder below root that names are relative to, a pattern of filepath.Match
	files []corpusFiles
}

// corpusFiles are the files of a corpus whose name matches a pattern, in which "*" stands for anything. Split finds the
// messages in a file; nil means that a file is a message.
type corpusFiles struct {
	pattern string
	split   func([]byte) [][]byte
}

var corpora = []corpus{
	{"letters", 162, goModule("github.com/mnako/letters", "v0.2.4"), "tests", []corpusFiles{{"*.txt", nil}}},
	{"enmime", 92, goModule("github.com/jhillyerd/enmime/v2", "v2.3.0"), ".", []corpusFiles{{"*.raw", nil}}},
	{"cpython", 47, debianCorpus("libpython3.11-testsuite"), "usr/lib/python3.11/test/test_email/data", []corpusFiles{{"msg_*.txt", nil}}},
	{"notmuch", 316, debianCorpus("notmuch"), "notmuch-*/test/corpora", []corpusFiles{{"*/*", nil}}},
	// A file of these is a message that a mail reader once failed at, with the line before it that mbox has.
	{"kmime", 13, debianCorpus("kmime"), "kmime-*/autotests/data/mails", []corpusFiles{{"*.mbox", nil}}},
	{"gmime", 20, debianCorpus("gmime"), "gmime-*/tests", []corpusFiles{{"*.msg", nil}, {"data/mime-part/*.txt", nil},
		{"data/partial/input/*.eml", nil}, {"data/partial/output/*", nil}, {"data/pgp/*-message.txt", nil},
		{"data/mbox/input/*.mbox", splitMbox}}},
	{"pigeonhole", 210, debianCorpus("dovecot"), "dovecot-*-pigeonhole-*/tests", []corpusFiles{{"*.svtest", splitSieve}}},
	{"gluon", 111, goModule("github.com/ProtonMail/gluon", "v0.17.0"), ".", []corpusFiles{{"*.eml", nil}, {"tests/testdata/dovecot-crlf", splitMbox}}},
	{"go-mail", 4, goModule("github.com/wneessen/go-mail", "v0.8.1"), "testdata", []corpusFiles{{"*.eml", nil}}},
	{"mailpit", 3, goModule("github.com/axllent/mailpit", "v1.27.11"), "internal/storage/testdata", []corpusFiles{{"*.eml", nil}}},
	{"mox", 64, goModule("github.com/mjl-/mox", "v0.0.15"), "testdata", []corpusFiles{{"*.eml", nil}, {"*.mox", nil}, {"*.mbox", splitMbox}}},
}

// Corpora returns the messages of all corpora: those of letters, enmime, CPython, notmuch, kmime, gmime, pigeonhole,
// gluon, go-mail, mailpit and mox. What of them cannot be had is told by complete, and fails the test where
// LSMTPD_TESTBED_REQUIRED is set.
func Corpora(t testing.TB) (messages []CorpusMessage, complete bool) {
	t.Helper()
	complete = true
	for _, c := range corpora {
		ms, err := c.read(t.Context())
		switch {
		case err == nil:
			messages = append(messages, ms...)
		case os.Getenv("LSMTPD_TESTBED_REQUIRED") == "1":
			t.Fatalf("the corpus %s is not available: %v", c.name, err)
		default:
			complete = false
			fmt.Fprintf(os.Stderr, "SKIP: %s: the corpus %s is not available: %v\n", t.Name(), c.name, err)
		}
	}
	if len(messages) == 0 {
		t.Skip("SKIP: no corpus is available")
	}
	return messages, complete
}

// read returns the messages of the corpus, and an error where they are fewer than are known.
func (c corpus) read(ctx context.Context) ([]CorpusMessage, error) {
	root, err := c.root(ctx)
	if err != nil {
		return nil, err
	}
	base, err := onlyMatch(filepath.Join(root, filepath.FromSlash(c.base)))
	if err != nil {
		return nil, err
	}
	var messages []CorpusMessage
	err = filepath.WalkDir(base, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(base, file)
		if err != nil {
			return err
		}
		more, err := c.readFile(file, filepath.ToSlash(name))
		messages = append(messages, more...)
		return err
	})
	if err == nil && len(messages) < c.least {
		err = fmt.Errorf("%s has %d messages, want at least %d", base, len(messages), c.least)
	}
	return messages, err
}

// readFile returns the messages in a file of the corpus.
func (c corpus) readFile(file, name string) ([]CorpusMessage, error) {
	i := slices.IndexFunc(c.files, func(f corpusFiles) bool { return f.matches(name) })
	if i < 0 {
		return nil, nil
	}
	octets, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	name = c.name + "/" + name
	split := c.files[i].split
	if split == nil {
		return []CorpusMessage{{name, octets}}, nil
	}
	var messages []CorpusMessage
	for i, m := range split(octets) {
		messages = append(messages, CorpusMessage{fmt.Sprintf("%s#%d", name, i+1), m})
	}
	return messages, nil
}

// matches says whether the pattern matches all of a name.
func (f corpusFiles) matches(name string) bool {
	first, others, starred := strings.Cut(f.pattern, "*")
	rest, ok := strings.CutPrefix(name, first)
	if !ok || !starred {
		return ok && rest == ""
	}
	pieces := strings.Split(others, "*")
	for _, piece := range pieces[:len(pieces)-1] {
		if _, rest, ok = strings.Cut(rest, piece); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, pieces[len(pieces)-1])
}

// beginsMessage is the line before each message of an mbox file, with what tells it from a line of text: the field that
// follows it.
var beginsMessage = regexp.MustCompile(`(?m)^From .*\r?\n([!-9;-~]+:)`)

// splitMbox returns the messages of an mbox file. The line "From " before a message, and the empty line before the next
// such line, are no part of it; all else is as it is in the file.
func splitMbox(file []byte) [][]byte {
	var messages [][]byte
	begun := -1
	for _, at := range append(beginsMessage.FindAllSubmatchIndex(file, -1), []int{len(file), 0, 0, 0}) {
		if begun >= 0 {
			message := file[begun:at[0]]
			if trimmed := trimLine(message); bytes.HasSuffix(trimmed, []byte("\n")) && at[0] < len(file) {
				message = trimmed
			}
			messages = append(messages, message)
		}
		begun = at[2]
	}
	return messages
}

// trimLine takes the line end at the end of b away.
func trimLine(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// splitSieve returns the messages in a test of a Sieve interpreter: the texts (RFC 5228 §2.4.2) that a variable whose
// name begins with "message" is set to.
func splitSieve(file []byte) [][]byte {
	var messages [][]byte
	var message []byte
	inside := false
	for line := range strings.Lines(string(file)) {
		switch {
		case inside && strings.TrimRight(line, "\r\n") == ".":
			messages = append(messages, message)
			message, inside = nil, false
		case inside:
			message = append(message, strings.TrimPrefix(line, ".")...)
		default:
			command, _, found := strings.Cut(line, " text:")
			inside = found && strings.Contains(command, `set "message`)
		}
	}
	return messages
}

// goModule returns what gets a module of Go by its version, into the module cache of Go.
func goModule(path, version string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		dir, err := cacheDir() // no module, whose go.sum would be changed
		if err != nil {
			return "", err
		}
		out, err := runTool(ctx, Command{Path: "go", Dir: dir, Args: []string{"mod", "download", "-json", path + "@" + version}, Env: []string{"GOFLAGS="}})
		if err != nil {
			return "", err
		}
		var module struct{ Dir string }
		if err := json.Unmarshal([]byte(out), &module); err != nil {
			return "", fmt.Errorf("read the output of go mod download: %w: %.200s", err, out)
		}
		return module.Dir, nil
	}
}

// corporaRelease is the release of Debian with the versions of the corpora that are known here. It need not be the one
// that runs here.
const corporaRelease = "bookworm"

// debianCorpora are packages of Debian with what of them, or of their sources, is a corpus: patterns of tar. Without any
// it is the package itself.
var debianCorpora = map[string][]string{
	"libpython3.11-testsuite": nil,
	"notmuch":                 {"*/test/corpora/*"},
	"kmime":                   {"*/autotests/data/*"},
	"gmime":                   {"*/tests/*"},
	"dovecot":                 {"*pigeonhole*/tests/*"},
}

// debianCorpus returns what gets the corpus in a package of Debian.
func debianCorpus(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		root, err := installed(ctx, "debian-"+corporaRelease+"-corpora", unpackCorpora)
		return filepath.Join(root, name), err
	}
}

// unpackCorpora gets all of debianCorpora: the lists of what there is cost more than the packages.
func unpackCorpora(ctx context.Context, dir string) error {
	state, err := os.MkdirTemp("", "lsmtpd-testbed-apt-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	options, err := otherRelease(ctx, corporaRelease, "deb", "deb-src")(state)
	if err != nil {
		return err
	}
	apt, err := aptGet(ctx, state, options)
	if err != nil {
		return err
	}
	for name, patterns := range debianCorpora {
		into, from := filepath.Join(dir, name), filepath.Join(state, name)
		if err := errors.Join(os.Mkdir(into, 0o755), os.Mkdir(from, 0o755)); err != nil {
			return err
		}
		if patterns == nil {
			err = unpackPackage(ctx, apt, name, from, into)
		} else {
			err = unpackSource(ctx, apt, name, from, into, patterns)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unpackPackage fetches a package to the folder from and unpacks it into another.
func unpackPackage(ctx context.Context, apt aptCommand, name, from, into string) error {
	if err := apt(from, "download", name); err != nil {
		return err
	}
	file, err := onlyMatch(filepath.Join(from, "*.deb"))
	if err != nil {
		return err
	}
	_, err = runTool(ctx, Command{Path: "dpkg-deb", Args: []string{"-x", file, into}})
	return err
}

// unpackSource fetches the original archives of a source package to the folder from and unpacks what matches the
// patterns into another.
func unpackSource(ctx context.Context, apt aptCommand, name, from, into string, patterns []string) error {
	if err := apt(from, "--download-only", "source", name); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(from, "*.orig*.tar.*"))
	if err != nil {
		return err
	}
	archives = slices.DeleteFunc(archives, func(path string) bool { return strings.HasSuffix(path, ".asc") })
	var errs []error
	for _, archive := range archives {
		args := append([]string{"-x", "-f", archive, "-C", into, "--no-same-owner", "--wildcards"}, patterns...)
		_, err := runTool(ctx, Command{Path: "tar", Args: args})
		errs = append(errs, err)
	}
	// Of several archives one need not have any file that matches, which is an error of tar.
	if entries, err := os.ReadDir(into); err != nil || len(entries) == 0 {
		return errors.Join(append(errs, err, fmt.Errorf("the source package %s has nothing of %q: %w", name, patterns, fs.ErrNotExist))...)
	}
	return nil
}
