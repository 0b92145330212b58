package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
)

// records runs spool ls.
func records(t *testing.T, dir string) []listed {
	t.Helper()
	code, out, text := runs(t, nil, "spool", "ls", "--json", "--spool.dir="+dir)
	if code != exitOK {
		t.Fatalf("spool ls: exit code %d\n%s", code, text)
	}
	var list []listed
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var l listed
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(long); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestSpooledWhileBrokerAway(t *testing.T) {
	t.Parallel()
	dir, place := filepath.Join(t.TempDir(), "spool"), newPlace(t)
	p := start(t, environment(t, "LSMTPD_BROKER_URL=amqp://"+place.at), "", "serve", "--admin.listen=127.0.0.1:0", "--spool.dir="+dir)
	c := dialSMTP(t, p.listens("smtp"))
	c.send("250 2.0.0 ", small)
	c.send("250 2.0.0 ", large)
	if status, broker, _ := ready(t, p); status != http.StatusOK || broker == "" {
		t.Errorf("/readyz: %d, broker %q; want 200, as the spool takes mail, and why the broker does not", status, broker)
	}
	list := records(t, dir)
	if len(list) != 2 || list[0].State != "waiting" || list[0].Kind != "prepared" || list[0].Addresses[0] != "mail" {
		t.Fatalf("spool ls: %+v, want two prepared records for mail", list)
	}
	code, out, _ := runs(t, nil, "spool", "show", list[1].ID, "--spool.dir="+dir)
	contains(t, "spool show", out, `"subject": "large"`, `"email": "b@example.com"`, "file://")
	if code != exitOK {
		t.Errorf("spool show: exit code %d", code)
	}
	node := devbroker.New(devbroker.Config{})
	place.serve(node)
	if m := published(t, node, 2); m.Email.Size == 0 {
		t.Errorf("published %+v", m)
	}
	eventually(t, "the spool is empty", func() bool { return len(records(t, dir)) == 0 })
	_, out, _ = runs(t, nil, "spool", "ls", "--spool.dir="+dir)
	contains(t, "spool ls", out, "the spool is empty")
}

// TestSpoolRequests sets a record aside, and has it exported, tried again, and another removed.
func TestSpoolRequests(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	node, at := devbroker.Start(t, devbroker.Config{})
	script := node.Script("mail")
	environ := environment(t, "LSMTPD_BROKER_URL="+at)
	p := start(t, environ, "", "serve", "--spool.dir="+dir, "--spool.mode=always")
	script.Delivery(devbroker.Every).IsRejected("amqp:not-allowed", "no")
	c := dialSMTP(t, p.listens("smtp"))
	c.send("250 2.0.0 ", large)
	c.send("250 2.0.0 ", small)
	var list []listed
	eventually(t, "both are set aside", func() bool {
		list = records(t, dir)
		return len(list) == 2 && list[0].State == "failed" && list[1].State == "failed"
	})
	contains(t, "the error of a record", list[0].Error, "amqp:not-allowed")
	again, gone := list[0].ID, list[1].ID
	out := t.TempDir()
	code, text, _ := runs(t, nil, "spool", "export", again, "--out="+out, "--spool.dir="+dir)
	contains(t, "spool export", text, filepath.Join(out, again+".json"))
	if _, err := os.Stat(filepath.Join(out, again+".json")); err != nil || code != exitOK {
		t.Errorf("spool export: exit code %d, %v", code, err)
	}
	script.Clear()
	_, text, _ = runs(t, nil, "spool", "retry", again, "--spool.dir="+dir)
	contains(t, "spool retry", text, again+".prepared is tried again within seconds")
	if m := published(t, node, 1); m.ID != again {
		t.Errorf("published %s, want %s", m.ID, again)
	}
	_, text, _ = runs(t, nil, "spool", "rm", gone, "--spool.dir="+dir)
	contains(t, "spool rm", text, gone+".prepared is removed within seconds")
	eventually(t, "the spool is empty", func() bool { return len(records(t, dir)) == 0 })
	p.signals <- syscall.SIGTERM
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	if n := len(node.Messages("mail")); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	_, text, _ = runs(t, environ, "sweep", "--json", "--spool.dir="+dir)
	if strings.Contains(text, "unsent") || list[1].Octets > list[0].Octets && !strings.Contains(text, "in-doubt") {
		t.Errorf("sweep: %s, want the objects of a record that was removed in doubt", text)
	}
}

func TestSpoolCommandsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.WriteFile(filepath.Join(dir, "new", uuid.NewString()+".prepared"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	list := records(t, dir)
	if len(list) != 1 || !strings.Contains(list[0].Error, "damaged") {
		t.Fatalf("spool ls: %+v, want a damaged record", list)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"ls"}, exitUsage, "spool.dir: missing; set it"},
		{[]string{"ls", "--spool.dir=relative"}, exitUsage, `"relative" is not an absolute path`},
		{[]string{"ls", "--spool.dir=/nonexistent"}, exitFailed, "/nonexistent is no spool directory"},
		{[]string{"show", "--spool.dir=" + dir}, exitUsage, "lsmtpd spool show: requires at least 1 arg"},
		{[]string{"show", "x", "--spool.dir=" + dir}, exitFailed, "there is no such record in the spool: x; lsmtpd spool ls lists them"},
		{[]string{"retry", "--spool.dir=" + dir}, exitUsage, "want ids, as spool ls shows them, or --all"},
		{[]string{"retry", list[0].ID, "--spool.dir=" + dir}, exitFailed, "only what is set aside has to be tried again"},
		{[]string{"export", list[0].ID, "--out=" + t.TempDir(), "--spool.dir=" + dir}, exitFailed, "the record is damaged"},
		{[]string{}, exitUsage, "one of ls, show, retry, rm, export"},
		{[]string{"list"}, exitUsage, `unknown command "list"`},
	} {
		code, _, text := runs(t, nil, append([]string{"spool"}, tt.args...)...)
		if code != tt.code {
			t.Errorf("spool %q: exit code %d, want %d", tt.args, code, tt.code)
		}
		contains(t, "spool "+strings.Join(tt.args, " "), text, tt.want)
	}
}

func TestSpoolRefused(t *testing.T) {
	newer, held := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "version"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(spool.Config{Dir: held, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	refused(t, []badConfig{
		{"always without a directory", "", nil, []string{"--spool.mode=always"}, []string{"spool.dir: missing", "spool.mode always needs it"}},
		{"unknown mode", "", nil, []string{"--spool.mode=sometimes"}, []string{`spool.mode: "sometimes" is unknown; want one of off, fallback, always`}},
		{"relative", "", nil, []string{"--spool.dir=spool"}, []string{"spool.dir: ", "is not an absolute path; want one like /var/lib/lsmtpd/spool"}},
		{"a file", "", nil, []string{"--spool.dir=" + write(t, "spool", "")}, []string{"spool.dir: ", "is a file; want a directory"}},
		{"below a file", "", nil, []string{"--spool.dir=" + filepath.Join(write(t, "spool", ""), "spool")}, []string{"spool.dir: ", "not a directory; want a directory that lsmtpd may write to"}},
		{"newer", "", nil, []string{"--spool.dir=" + newer}, []string{"spool.dir: ", "it is of version 7, this program knows up to 1; want a newer lsmtpd"}},
		{"longer than settle_timeout", "", nil, []string{"--spool.after=2m"}, []string{"spool.after: 2m0s is more than broker.settle_timeout, 1m0s; raise the one or lower the other"}},
	})
	code, _, text := runs(t, environment(t), "serve", "--spool.dir="+held)
	contains(t, "serve on a directory that is in use", text, "spool.dir: ", held, "in use by another process, which serves on it or sweeps; want a directory of its own for each lsmtpd")
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}

// TestSweep: what intents prove unsent goes, what is in doubt stays, and so does all that no intent names.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), t.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	store := objectstore.NewDir(root)
	put := func(id string) string {
		key := "2026/11/24/" + id + "/2"
		if _, err := store.Put(t.Context(), key, bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		return key
	}
	id := func() string { return uuid.Must(uuid.NewV7()).String() }
	unsent, doubt, foreign := id(), id(), id()
	for _, one := range []string{unsent, doubt} {
		if err := s.Uploading(one, put(one)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Publishing(doubt); err != nil {
		t.Fatal(err)
	}
	put(foreign)
	part := filepath.Join(root, "2026/11/24", foreign, "3.part")
	old := time.Now().Add(-72 * time.Hour)
	for _, path := range []string{part, filepath.Join(root, "other.part")} {
		if err := os.WriteFile(path, []byte("y"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	files := func() string {
		var names []string
		for _, f := range []string{unsent + "/2", doubt + "/2", foreign + "/2", foreign + "/3.part", "../../../other.part"} {
			if _, err := os.Stat(filepath.Join(root, "2026/11/24", f)); err == nil {
				names = append(names, strings.NewReplacer(unsent, "unsent", doubt, "doubt", foreign, "foreign").Replace(f))
			}
		}
		return strings.Join(names, " ")
	}
	sweep := func(args ...string) string {
		t.Helper()
		code, out, text := runs(t, nil, append([]string{"sweep", "--store.url=file://" + root, "--spool.dir=" + dir}, args...)...)
		if code != exitOK {
			t.Fatalf("sweep: exit code %d\n%s", code, text)
		}
		return out
	}
	const all = "unsent/2 doubt/2 foreign/2 foreign/3.part ../../../other.part"
	contains(t, "sweep beside an owner", sweep("--delete", "--older-than=100h"), "0 unsent, 0 old uploads, 1 in doubt")
	if got := files(); got != all {
		t.Errorf("beside an owner: %s, want %s", got, all)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	contains(t, "dry run", sweep(), unsent+"/2\n", doubt+"/2\n", foreign+"/3\n", "1 unsent, 1 old uploads, 1 in doubt", "--delete removes")
	if got := files(); got != all {
		t.Errorf("after a dry run: %s, want %s", got, all)
	}
	contains(t, "sweep", sweep("--delete"), unsent+"/2  deleted\n", foreign+"/3  deleted\n", "1 unsent, 1 old uploads, 1 in doubt")
	if got, want := files(), "doubt/2 foreign/2 ../../../other.part"; got != want {
		t.Errorf("afterwards: %s, want %s", got, want)
	}
	contains(t, "once more", sweep("--delete"), "0 unsent, 0 old uploads, 1 in doubt")
	code, _, text := runs(t, nil, "sweep", "--store.url=file://"+root, "--older-than=10m")
	contains(t, "too young", text, "--older-than: 10m0s is too short")
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}
