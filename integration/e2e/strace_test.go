//go:build integration

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lsmtpd/integration/testbed"
)

// TestOrderOfSystemCalls watches the program, and wants everything that a 250 promises to be on disk before it is sent,
// and all that a message refers to before that is. What power cuts make of it is shown in package spool.
func TestOrderOfSystemCalls(t *testing.T) {
	prefix := strace(t)
	t.Run("spooled as prepared", func(t *testing.T) {
		m, tr, log := traceMail(t, prefix, false, settings{"spool.mode": "fallback"}.With(brokerAway(t)))
		record := find(t, log, ` msg="delivery spooled" .*delivery=(\S+)`) + ".prepared"
		wantOrder(t, tr, m.spooled(tr, record), len(m.keys))
	})
	t.Run("spooled as it came", func(t *testing.T) {
		m, tr, _ := traceMail(t, prefix, false, settings{"spool.mode": "always"}.With(brokerAway(t)))
		m.keys = nil // of the replay, which the client did not wait for
		wantOrder(t, tr, m.spooled(tr, m.transaction+".raw"), 1)
	})
	t.Run("published at once", func(t *testing.T) {
		broker := testbed.BrokerJ(t)
		s := &site{broker: broker, queue: broker.Queue(t)}
		m, tr, log := traceMail(t, prefix, true, settings{"spool.mode": "fallback", "broker.url": broker.URL, "broker.address": broker.Address(s.queue)})
		m.delivery = find(t, log, ` msg=transaction .*deliveries=\[(\S+)\]`)
		wantOrder(t, tr, m.published(tr), len(m.keys))
		drain(t, s, 1)
	})
}

// wantOrder fails the test with the error of a check, and where the check had nothing to look at.
func wantOrder(t *testing.T, tr trace, err error, looked int) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	if looked == 0 {
		t.Error("the mail has no objects")
	}
	if t.Failed() {
		for _, c := range tr {
			t.Logf("%d-%d %.200s", c.began+1, c.ended+1, c.text)
		}
	}
}

// brokerAway are the settings of a broker that is not there.
func brokerAway(t *testing.T) settings {
	t.Helper()
	return settings{"broker.url": awayURL(t), "broker.address": "in"}
}

func awayURL(t *testing.T) string { t.Helper(); return "amqp://" + loopback(t) }

// strace is the beginning of a command line that writes the system calls of a program to the file that comes next.
func strace(t *testing.T) []string {
	t.Helper()
	command := []string{"strace", "-f", "-tt", "-y", "-s", "4096",
		"-e", "trace=openat,fsync,fdatasync,write,writev,pwrite64,sendto,sendmsg,rename,renameat,renameat2", "-o"}
	probe := append(command[:len(command):len(command)], filepath.Join(t.TempDir(), "probe"), "true")
	if out, err := exec.Command(probe[0], probe[1:]...).CombinedOutput(); err != nil {
		t.Skipf("SKIP: this needs strace, and the right to trace: %v\n%s", err, out)
	}
	return command
}

// traceMail traces the program while it takes a mail with a large attachment, live or with its broker away. It returns
// what there is to know of the mail, the trace and the log.
func traceMail(t *testing.T, strace []string, live bool, s settings) (traced, trace, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir()) // as strace shows it
	must(t, err)
	file, m := filepath.Join(dir, "trace"), traced{spool: filepath.Join(dir, "spool"), store: filepath.Join(dir, "objects")}
	s = settings{"store.url": "file://" + m.store, "spool.dir": m.spool, "spool.min_free_bytes": "0", "spool.after": "30s"}.With(s)
	d := serveBy(t, s, append(append(strace[:len(strace):len(strace)], file, testbed.Build(t)), "serve")...)
	if live {
		d.waitReady(t)
	}
	client := dial(t, d.smtp)
	client.begin("<a@example.org>", "in@example.com")
	reply := client.data(testMail(300_000))
	client.want("250 2.0.0 queued as ", reply)
	m.transaction = strings.Fields(reply)[4]
	m.keys = keysOf(t, m.store, m.transaction)
	endTraced(t, d, file)
	text, err := os.ReadFile(file)
	must(t, err)
	tr, err := parseTrace(string(text))
	must(t, err)
	return m, tr, d.Stderr()
}

// keysOf are those of the objects of a transaction in a directory store.
func keysOf(t *testing.T, root, transaction string) []string {
	t.Helper()
	var keys []string
	finished, _ := directory{root}.list(t)
	for _, name := range finished {
		key, err := filepath.Rel(root, name)
		must(t, err)
		if strings.Contains(key, transaction) {
			keys = append(keys, filepath.ToSlash(key))
		}
	}
	return keys
}

// endTraced ends the program in order: strace keeps SIGTERM to itself, so it goes to the first process of the trace.
func endTraced(t *testing.T, d *daemon, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	pid, err := strconv.Atoi(find(t, string(text), `^(\d+) `))
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGTERM))
	d.wantOrderlyEnd(t)
}

// find is what the group of an expression matches in a text.
func find(t *testing.T, text, expr string) string {
	t.Helper()
	m := regexp.MustCompile(expr).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("there is nothing like %s in:\n%.4000s", expr, text)
	}
	return m[1]
}
