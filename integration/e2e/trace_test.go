package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// trace is the system calls of a program, in the order in which strace saw them begin. Strace lets a call of one thread
// return only after it has written that down, so that what the program does because of it comes later in the file.
type trace []call

// call is a system call that has returned.
type call struct {
	name, text   string // text is the whole of it, with its strings as C writes them, but for quotation marks
	began, ended int    // lines of the file
	failed       bool
}

var (
	traceLine = regexp.MustCompile(`^(\d+) +\S+ (.*)$`)
	resumed   = regexp.MustCompile(`^<\.\.\. \w+ resumed>(.*)$`)
	// descriptor is the first argument of a call, with what it stands for.
	descriptor = regexp.MustCompile(`^\w+\(\d+<(.*?)>[,) ]`)
	quoted     = regexp.MustCompile(`"([^"]*)"`)
)

const unfinished = " <unfinished ...>"

// parseTrace reads what "strace -f -tt -y" has written.
func parseTrace(text string) (trace, error) {
	var all trace
	open := map[string]call{} // by thread
	for n, line := range slices.Collect(strings.Lines(text)) {
		m := traceLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return nil, fmt.Errorf("line %d is not one of strace: %.200q", n+1, line)
		}
		thread, rest := m[1], m[2]
		c := call{began: n}
		if m := resumed.FindStringSubmatch(rest); m != nil {
			c, rest = open[thread], open[thread].text+m[1]
			if delete(open, thread); c.text == "" {
				return nil, fmt.Errorf("line %d ends a call that has not begun: %.200q", n+1, line)
			}
		}
		if head, found := strings.CutSuffix(rest, unfinished); found {
			c.text = head
			open[thread] = c
			continue
		}
		name, _, isCall := strings.Cut(rest, "(")
		if strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "+++") || !isCall {
			continue // a signal, or the end of a thread
		}
		at := strings.LastIndex(rest, " = ")
		c.name, c.text, c.ended = name, strings.ReplaceAll(rest, `\"`, `"`), n
		c.failed = at < 0 || strings.HasPrefix(rest[at:], " = -") || strings.HasPrefix(rest[at:], " = ?")
		all = append(all, c)
	}
	return all, nil
}

// file is what the descriptor stands for that a call is about.
func (c call) file() string {
	if m := descriptor.FindStringSubmatch(c.text); m != nil {
		return m[1]
	}
	return ""
}

// names are the texts among the arguments.
func (c call) names() []string {
	var all []string
	for _, m := range quoted.FindAllStringSubmatch(c.text, -1) {
		all = append(all, m[1])
	}
	return all
}

func (c call) writes() bool {
	return slices.Contains([]string{"write", "writev", "pwrite64", "sendto", "sendmsg"}, c.name)
}
func (c call) syncs() bool  { return c.name == "fsync" || c.name == "fdatasync" }
func (c call) socket() bool { return strings.HasPrefix(c.file(), "socket:") }

// find returns the first call that succeeded, began after a line and is so.
func (tr trace) find(what string, after int, so func(call) bool) (call, error) {
	for _, c := range tr {
		if !c.failed && c.began > after && so(c) {
			return c, nil
		}
	}
	return call{}, fmt.Errorf("there is no %s after line %d of the trace", what, after+1)
}

// synced checks that file was synced between two moments.
func (tr trace) synced(file string, after, before int) error {
	c, err := tr.find("sync of "+file, after, func(c call) bool { return c.syncs() && c.file() == file })
	if err == nil && c.ended >= before {
		err = fmt.Errorf("the sync of %s, line %d of the trace, has not returned before line %d", file, c.ended+1, before+1)
	}
	return err
}

// placed checks that a file was written under a temporary name, synced, renamed, and that the directories down from top
// were synced then, all of it before a moment.
func (tr trace) placed(temporary, name, top string, before int) error {
	written := -1
	for _, c := range tr {
		if c.began < before && c.writes() && (c.file() == temporary || c.file() == name) {
			written = c.ended
		}
	}
	if written < 0 {
		return fmt.Errorf("nothing was written to %s", temporary)
	}
	rename, err := tr.find("renaming of "+temporary, -1, func(c call) bool {
		return strings.HasPrefix(c.name, "rename") && slices.Equal(c.names(), []string{temporary, name})
	})
	if err != nil {
		return err
	}
	if err := tr.synced(temporary, written, rename.began); err != nil {
		return err
	}
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if err := tr.synced(dir, rename.ended, before); err != nil {
			return err
		}
		if dir == top {
			return nil
		}
	}
}

// intended checks that an intent was in the journal, synced, before a moment; words are what the line says.
func (tr trace) intended(journal string, before int, words ...string) error {
	write, err := tr.find(fmt.Sprintf("line with %q in the journal", words), -1, func(c call) bool {
		return c.writes() && c.file() == journal && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(c.text, w) })
	})
	if err != nil {
		return err
	}
	return tr.synced(journal, write.ended, before)
}

// sent is the first write to a socket with this text.
func (tr trace) sent(text string) (call, error) {
	return tr.find(fmt.Sprintf("%q to a socket", text), -1, func(c call) bool { return c.writes() && c.socket() && strings.Contains(c.text, text) })
}

// traced is where a traced program keeps things, and one mail that it took.
type traced struct {
	spool, store          string   // directories
	transaction, delivery string   // ids
	keys                  []string // of the objects
}

func (m traced) reply(tr trace) (call, error) { return tr.sent("250 2.0.0 queued as " + m.transaction) }

// spooled checks that the 250 of a mail that was spooled comes after what it promises: the record, and the objects, if
// there are any.
func (m traced) spooled(tr trace, record string) error {
	reply, err := m.reply(tr)
	if err != nil {
		return err
	}
	in := func(dir string) string { return filepath.Join(m.spool, dir, record) }
	return errors.Join(tr.placed(in("tmp"), in("new"), filepath.Join(m.spool, "new"), reply.began), m.uploaded(tr, reply.began))
}

// published checks that nothing of a mail is sent to the broker before its objects and its intent are on disk.
func (m traced) published(tr trace) error {
	reply, err := m.reply(tr)
	if err != nil {
		return err
	}
	transfer, err := tr.sent(m.delivery)
	if err != nil {
		return err
	}
	if transfer.ended >= reply.began {
		return fmt.Errorf("the 250 in line %d comes before the transfer in line %d", reply.began+1, transfer.ended+1)
	}
	return errors.Join(
		tr.intended(m.journal(), transfer.began, `"id":"`+m.transaction+`"`, `"state":"publishing"`),
		m.uploaded(tr, transfer.began))
}

func (m traced) journal() string { return filepath.Join(m.spool, "journal") }

// uploaded checks that the objects are on disk before a moment, and that each upload was noted before it began.
func (m traced) uploaded(tr trace, before int) error {
	for _, key := range m.keys {
		name := filepath.Join(m.store, filepath.FromSlash(key))
		begin, err := tr.find("creation of "+name+".part", -1, func(c call) bool {
			return c.name == "openat" && slices.Contains(c.names(), name+".part")
		})
		if err == nil {
			err = errors.Join(
				tr.intended(m.journal(), begin.began, `"id":"`+m.transaction+`"`, `"state":"uploading"`, `"`+key+`"`),
				tr.placed(name+".part", name, m.store, before))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// liveTrace is what a mail with an object leaves that is published at once, rawTrace one that is spooled as it came.
const (
	liveTrace = `10 11:17:45.000001 write(7<socket:[1]>, "354 go on\r\n", 11) = 11
10 11:17:45.000002 pwrite64(8</s/journal>, "0 {\"id\":\"T\",\"state\":\"uploading\",\"keys\":[\"2026/T/2\"]}\n", 60, 30) = 60
10 11:17:45.000003 fsync(8</s/journal>) = 0
10 11:17:45.000004 openat(AT_FDCWD</>, "/o/2026/T/2.part", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0640) = 9</o/2026/T/2.part>
10 11:17:45.000005 write(9</o/2026/T/2.part>, "octets) = -1\n\0"..., 65536) = 65536
10 11:17:45.000006 --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=10, si_uid=0} ---
10 11:17:45.000007 fsync(9</o/2026/T/2.part>) = 0
10 11:17:45.000008 renameat(AT_FDCWD</>, "/o/2026/T/2.part", AT_FDCWD</>, "/o/2026/T/2") = 0
10 11:17:45.000009 fsync(9</o/2026/T>) = 0
10 11:17:45.000010 fsync(9</o/2026>) = 0
10 11:17:45.000011 fsync(9</o>) = 0
10 11:17:45.000012 pwrite64(8</s/journal>, "0 {\"id\":\"T\",\"state\":\"publishing\"}\n", 40, 90) = 40
10 11:17:45.000013 fsync(8</s/journal> <unfinished ...>
11 11:17:45.000014 write(5<socket:[2]>, "heartbeat", 9) = 9
10 11:17:45.000015 <... fsync resumed>)  = 0
11 11:17:45.000016 write(5<socket:[2]>, "\0\241$D\0...{\"id\":\"D\"", 900) = 900
10 11:17:45.000017 write(7<socket:[1]>, "250 2.0.0 queued as T\r\n", 23) = 23
10 11:17:45.000018 +++ exited with 0 +++
`
	rawTrace = `10 11:17:45.000001 write(8</s/tmp/T.raw>, "From: a", 7) = 7
10 11:17:45.000002 pwrite64(8</s/tmp/T.raw>, "lsmtpd-spool 1 raw", 18, 0) = 18
10 11:17:45.000003 fsync(8</s/tmp/T.raw>) = 0
10 11:17:45.000004 renameat2(AT_FDCWD</>, "/s/tmp/T.raw", AT_FDCWD</>, "/s/new/T.raw", 0) = 0
10 11:17:45.000005 fsync(8</s/new>) = 0
10 11:17:45.000006 write(7<socket:[1]>, "250 2.0.0 queued as T\r\n", 23) = 23
`
)

// TestTrace shows that the checks of strace_test.go accept the right order, and can fail.
func TestTrace(t *testing.T) {
	mail := traced{spool: "/s", store: "/o", transaction: "T", delivery: "D", keys: []string{"2026/T/2"}}
	live := func(tr trace) error { return mail.published(tr) }
	raw := func(tr trace) error { return traced{spool: "/s", transaction: "T"}.spooled(tr, "T.raw") }
	const reply, transfer = "250 2.0.0", `\"id\":\"D\"`
	for _, c := range []struct {
		name, trace string
		check       func(trace) error
		edit        func(lines []string) []string
		want        string // in the error; empty: none
	}{
		{"live", liveTrace, live, nil, ""},
		{"live, 250 before the transfer", liveTrace, live, behind(transfer, reply), "before the transfer"},
		{"live, no publishing intent", liveTrace, live, without("publishing"), "publishing"},
		{"live, publishing intent not synced", liveTrace, live, without("13 fsync", "resumed"), "sync of /s/journal"},
		{"live, publishing intent synced too late", liveTrace, live, behind("resumed", transfer), "sync of /s/journal"},
		{"live, publishing intent written after the sync", liveTrace, live, behind("publishing", "resumed"), "sync of /s/journal"},
		{"live, uploading intent not synced", liveTrace, live, without("03 fsync"), "sync of /s/journal"},
		{"live, uploading intent synced after the begin", liveTrace, live, behind("03 fsync", "openat"), "sync of /s/journal"},
		{"live, object not synced", liveTrace, live, without("fsync(9</o/2026/T/2.part>)"), "sync of /o/2026/T/2.part"},
		{"live, sync of the object failed", liveTrace, live, with("2.part>) = 0", "2.part>) = -1 EIO (Input/output error)"), "sync of /o/2026/T/2.part"},
		{"live, object written after its sync", liveTrace, live, behind("octets", "fsync(9</o/2026/T/2.part>)"), "sync of /o/2026/T/2.part"},
		{"live, object synced after its renaming", liveTrace, live, behind("fsync(9</o/2026/T/2.part>)", "renameat"), "sync of /o/2026/T/2.part"},
		{"live, object not renamed", liveTrace, live, without("renameat"), "renaming"},
		{"live, directory not synced", liveTrace, live, without("fsync(9</o/2026/T>)"), "sync of /o/2026/T"},
		{"live, directory above not synced", liveTrace, live, without("fsync(9</o/2026>)"), "sync of /o/2026"},
		{"live, root not synced", liveTrace, live, without("fsync(9</o>)"), "sync of /o"},
		{"live, directory synced before the renaming", liveTrace, live, behind("renameat", "fsync(9</o/2026/T>)"), "sync of /o/2026/T"},
		{"live, directory synced after the transfer", liveTrace, live, behind("fsync(9</o/2026/T>)", transfer), "sync of /o/2026/T"},
		{"raw", rawTrace, raw, nil, ""},
		{"raw, record not synced", rawTrace, raw, without("fsync(8</s/tmp/T.raw>)"), "sync of /s/tmp/T.raw"},
		{"raw, directory not synced", rawTrace, raw, without("fsync(8</s/new>)"), "sync of /s/new"},
		{"raw, sync of the directory still runs", rawTrace, raw, with("new>) = 0", "new> <unfinished ...>"), "sync of /s/new"},
		{"raw, 250 before the sync of the directory", rawTrace, raw, behind("fsync(8</s/new>)", reply), "sync of /s/new"},
		{"raw, 250 before the sync of the record", rawTrace, raw, behind("fsync(8</s/tmp/T.raw>)", reply), "sync of /s/tmp/T.raw"},
		{"raw, first line written after the sync", rawTrace, raw, behind("pwrite64", "fsync(8</s/tmp/T.raw>)"), "sync of /s/tmp/T.raw"},
		{"raw, no 250", rawTrace, raw, without(reply), "to a socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := slices.Collect(strings.Lines(c.trace))
			if c.edit != nil {
				lines = c.edit(lines)
			}
			if text := strings.Join(lines, ""); c.edit != nil && text == c.trace {
				t.Fatal("the trace is as it was")
			}
			tr, err := parseTrace(strings.Join(lines, ""))
			if err == nil {
				err = c.check(tr)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// without removes the lines with these texts.
func without(texts ...string) func([]string) []string {
	return func(lines []string) []string {
		return slices.DeleteFunc(lines, func(l string) bool {
			return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(l, s) })
		})
	}
}

// behind moves the first line with one text behind the last with the other.
func behind(moved, place string) func([]string) []string {
	return func(lines []string) []string {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, moved) })
		line := lines[i]
		lines = slices.Delete(lines, i, i+1)
		for j := len(lines) - 1; ; j-- {
			if strings.Contains(lines[j], place) {
				return slices.Insert(lines, j+1, line)
			}
		}
	}
}

// with puts one text in the place of another.
func with(before, after string) func([]string) []string {
	return func(lines []string) []string {
		for i := range lines {
			lines[i] = strings.Replace(lines[i], before, after, 1)
		}
		return lines
	}
}
