//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lsmtpd/integration/testbed"
)

// TestSpoolRefused starts the program with a spool directory that it cannot use: it ends at once with exit code 2,
// names the directory, and says what is wrong and what would be right.
func TestSpoolRefused(t *testing.T) {
	s := settings{"store.url": "file://" + t.TempDir()}.With(brokerAway(t))
	for _, c := range []struct {
		name   string
		make   func(*testing.T) string
		prefix func(*testing.T) []string
		want   []string // in what it says
	}{
		{"without the right to write", readOnlyDirectory, boundByPermissions, []string{"permission denied", "want a directory that lsmtpd may write to"}},
		{"to be made where nothing may be", func(t *testing.T) string { return filepath.Join(readOnlyDirectory(t), "spool") }, boundByPermissions, []string{"permission denied", "want a directory that lsmtpd may write to"}},
		{"a regular file", func(t *testing.T) string { return spoolFile(t, t.TempDir(), "file", "") }, nil, []string{"is a file", "want a directory"}},
		{"below a regular file", func(t *testing.T) string { return filepath.Join(spoolFile(t, t.TempDir(), "file", ""), "spool") }, nil, []string{"not a directory", "want a directory that lsmtpd may write to"}},
		{"on a full disk", func(t *testing.T) string { return smallDisk(t, 64<<10) }, nil, []string{"no space left on device", "want room on its disk"}},
		{"of a newer version", func(t *testing.T) string { return filepath.Dir(spoolFile(t, t.TempDir(), "version", "2\n")) }, nil, []string{"version 2", "want a newer lsmtpd"}},
		{"of no version", func(t *testing.T) string { return filepath.Dir(spoolFile(t, t.TempDir(), "version", "garbage")) }, nil, []string{`"version" says "garbage"`, "want"}},
		{"with the journal of a newer version", func(t *testing.T) string {
			return filepath.Dir(spoolFile(t, t.TempDir(), "journal", checked(`{"lsmtpd-journal":2}`)))
		}, nil, []string{"journal is of version 2", "want a newer lsmtpd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var prefix []string
			if c.prefix != nil {
				prefix = c.prefix(t)
			}
			dir := c.make(t)
			wantNoStart(t, s.With(settings{"spool.dir": dir}), prefix, append(c.want, "spool.dir", dir)...)
		})
	}
}

// wantNoStart wants the program not to start, because of a setting, with these words in what it says.
func wantNoStart(t *testing.T, s settings, prefix []string, words ...string) {
	t.Helper()
	command := append(prefix, testbed.Build(t), "serve")
	s = settings{"smtp.listen": loopback(t), "smtp.hostname": "bridge.example"}.With(s)
	p := testbed.Run(t, testbed.Command{Path: command[0], Args: command[1:], Env: s.Env()})
	if code := p.ExitCode(t, patience); code != 2 {
		t.Errorf("the exit code is %d, want 2", code)
	}
	said := p.Stderr()
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("it does not say %q:\n%s", word, said)
		}
	}
}

func readOnlyDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { must(t, os.Chmod(dir, 0o755)) })
	return dir
}

// spoolFile writes a file and returns its path.
func spoolFile(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// checked is a line of a journal.
func checked(text string) string {
	return fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)), text)
}

// smallDisk is a disk of so many octets, which goes with the test.
func smallDisk(t *testing.T, octets int) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", octets), "lsmtpd-test", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIP: this needs the right to mount a tmpfs: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir
}

// TestSpoolInUse starts a second program on the spool of a running one.
func TestSpoolInUse(t *testing.T) {
	s := settings{"store.url": "file://" + t.TempDir()}.With(brokerAway(t)).With(spoolAt(t, "fallback"))
	d := serve(t, s)
	wantNoStart(t, s, nil, "spool.dir", s["spool.dir"], "in use by another process, which serves on it or sweeps; want a directory of its own")
	dial(t, d.smtp).send(crlf("From: a@example.org\n\nsmall\n"))
	d.waitSpooled(t, 1)
	d.stop(t)
}

// TestSpoolDiskFull fills the disk of the spool under a running program, with the broker away: mail is refused for now,
// none of what was taken before is lost, and mail is taken again when there is room.
func TestSpoolDiskFull(t *testing.T) {
	broker := own(t, testbed.Artemis(t), testbed.PrivateArtemis)
	s := &site{broker, broker.Queue(t), newDirectory(t)}
	drain(t, s, 0) // makes the queue
	must(t, broker.Stop())
	disk := smallDisk(t, 16<<20)
	dir := filepath.Join(disk, "spool")
	d := serve(t, s.settings().With(settings{"spool.dir": dir, "spool.min_free_bytes": "1MiB"}))
	d.waitSpooling(t, "connection refused")
	first, second := crlf("From: a@example.org\n\nfirst\n"), crlf("From: a@example.org\n\nsecond\n")
	dial(t, d.smtp).send(first)
	filler := fill(t, disk)
	d.WaitFor(t, "/readyz to say that the spool is full", patience, func() bool {
		r := d.readyz(t)
		return r.Status == 503 && strings.Contains(r.Spool, "the spool is full") && strings.Contains(r.Broker, "connection refused")
	})
	wantNoMail(t, d)
	must(t, os.Remove(filler))
	d.waitSpooling(t, "connection refused")
	dial(t, d.smtp).send(second)
	must(t, broker.Start())
	d.waitReady(t)
	d.waitSpooled(t, 0)
	wantAllSent(t, s, map[string]bool{digest(first): true, digest(second): true})
	d.stop(t)
}

// fill writes a file until its disk is full.
func fill(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	must(t, f.Close())
	return f.Name()
}

// TestSpoolDamaged starts the program on a spool with records that are not as they were written: these are set aside,
// counted and shown, and all others are delivered, after a restart too.
func TestSpoolDamaged(t *testing.T) {
	for _, c := range []struct {
		kind string
		away func(*testing.T, *site) settings // what keeps the records waiting
	}{
		{"prepared", func(t *testing.T, _ *site) settings {
			return settings{"spool.mode": "fallback", "broker.url": awayURL(t)}
		}},
		{"raw", func(t *testing.T, _ *site) settings {
			return settings{"spool.mode": "always", "store.url": "file://" + filepath.Join(spoolFile(t, t.TempDir(), "file", ""), "objects")}
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			s := brokerJDirectory(t)
			spooling := s.settings().With(spoolAt(t, "fallback"))
			good := spoolMails(t, spooling.With(c.away(t, s)), c.kind)
			d := serveReady(t, spooling)
			d.waitRecords(t, 0, 4)
			wantAllSent(t, s, good)
			wantFailed(t, spooling)
			d.stop(t)
			d = serveReady(t, spooling)
			d.waitRecords(t, 0, 4)
			dial(t, d.smtp).send(crlf("From: a@example.org\n\nanother\n"))
			drain(t, s, 1)
			d.stop(t)
		})
	}
}

// spoolMails has the program spool five mails and then damages three of the records, and adds a file that is none. It
// returns the digests of what is left.
func spoolMails(t *testing.T, s settings, kind string) (good map[string]bool) {
	t.Helper()
	sent := map[string]string{} // digest by name of the record
	d := serve(t, s)
	for n := range 5 {
		message := testMail(300_000 + n)
		dial(t, d.smtp).send(message)
		for _, name := range recordsOf(t, s) {
			if _, known := sent[name]; !known {
				sent[name] = digest(message)
			}
		}
	}
	d.waitSpooled(t, 5)
	d.stop(t)
	names := recordsOf(t, s)
	if len(names) != 5 || len(sent) != 5 || !strings.HasSuffix(names[0], "."+kind) {
		t.Fatalf("the spool holds %v, want five %s records", names, kind)
	}
	dir := filepath.Join(s["spool.dir"], "new")
	for i, damage := range []func(octets []byte) []byte{
		func(octets []byte) []byte { return octets[:len(octets)/2] },
		func(octets []byte) []byte { return []byte(strings.Repeat("garbage\x00\xff\n", len(octets)/10)) },
		func(octets []byte) []byte { octets[len(octets)/3] ^= 1; return octets },
	} {
		octets, err := os.ReadFile(filepath.Join(dir, names[i]))
		must(t, err)
		spoolFile(t, dir, names[i], string(damage(octets)))
		delete(sent, names[i])
	}
	spoolFile(t, dir, "a stranger", "not a record")
	good = map[string]bool{}
	for _, digest := range sent {
		good[digest] = true
	}
	return good
}

// recordsOf are the names of the records that wait, the oldest first.
func recordsOf(t *testing.T, s settings) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s["spool.dir"], "new"))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// wantFailed wants "lsmtpd spool ls" to show what was set aside, and why.
func wantFailed(t *testing.T, s settings) {
	t.Helper()
	list := listSpool(t, s)
	for _, l := range list {
		if l.State != "failed" || l.Error == "" {
			t.Errorf("lsmtpd spool ls shows %+v, want what was set aside with the reason", l)
		}
	}
	if len(list) != 4 {
		t.Errorf("lsmtpd spool ls shows %d records, want 4: %+v", len(list), list)
	}
}

// TestJournalDamaged starts the program on a spool whose journal is not as it was written: it says so, keeps the file,
// deletes nothing on its word, and delivers what is in the spool.
func TestJournalDamaged(t *testing.T) {
	broker := testbed.BrokerJ(t)
	queue := broker.Queue(t)
	for _, c := range []struct {
		name   string
		damage func(octets []byte, end int) []byte // end is that of the lines
	}{
		{"cut in half", func(octets []byte, end int) []byte { return octets[:end/2] }},
		{"cut in the first line", func(octets []byte, _ int) []byte { return octets[:10] }},
		{"empty", func([]byte, int) []byte { return nil }},
		{"garbage", func([]byte, int) []byte { return []byte(strings.Repeat("garbage\x00\xff\n", 1000)) }},
		{"written over", func(octets []byte, end int) []byte { copy(octets[end/2:], "garbage"); return octets }},
		{"lines behind a hole", func(octets []byte, end int) []byte {
			line := checked(`{"id":"x","state":"uploading","keys":["y"]}`)
			copy(octets[end+4096:], line+line)
			return octets
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &site{broker, queue, newDirectory(t)}
			spooling := s.settings().With(spoolAt(t, "fallback"))
			d := serve(t, spooling.With(settings{"broker.url": awayURL(t)}))
			message := testMail(300_000)
			dial(t, d.smtp).send(message)
			d.waitSpooled(t, 1)
			d.stop(t)
			octets, err := os.ReadFile(filepath.Join(spooling["spool.dir"], "journal"))
			must(t, err)
			spoolFile(t, spooling["spool.dir"], "journal", string(c.damage(octets, bytes.IndexByte(octets, 0))))
			d = serveReady(t, spooling)
			d.WaitLog(t, "the journal of the spool is damaged and set aside", patience)
			d.waitSpooled(t, 0)
			wantAllSent(t, s, map[string]bool{digest(message): true})
			wantStoreHolds(t, s, 1)
			aside, err := filepath.Glob(filepath.Join(spooling["spool.dir"], "journal.damaged-*"))
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside are %v, %v; want one journal", aside, err)
			}
			d.stop(t)
		})
	}
}
