//go:build integration

package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// patience bounds each wait for something that has to happen by itself.
const patience = 90 * time.Second

type settings = testbed.Settings

// instance is an lsmtpd that lives many lives, at the same ports and with the same spool.
type instance struct {
	program     string
	settings    settings
	smtp, admin string // HOST:PORT
	log         string // file
	config      string // file with the routes
	spool       string // directory, "" for none

	*testbed.Process // the newest
}

// newInstance prepares an lsmtpd that sends the mail of each domain to one of the addresses.
func newInstance(t *testing.T, addresses []string, s settings) *instance {
	t.Helper()
	dir := t.TempDir()
	port := func() string { return fmt.Sprintf("127.0.0.1:%d", testbed.FreePort(t)) }
	i := &instance{
		program: testbed.Build(t), smtp: port(), admin: port(),
		log: filepath.Join(dir, "log"), config: filepath.Join(dir, "lsmtpd.yaml"), spool: s["spool.dir"],
	}
	must(t, writeRoutes(i.config, addresses))
	i.settings = settings{
		"smtp.listen": i.smtp, "smtp.hostname": "bridge.example", "admin.listen": i.admin, "smtp.max_connections_per_ip": "1000",
		"broker.address": addresses[0], "broker.settle_timeout": "5s", "store.part_bytes": strconv.Itoa(partBytes),
		"shutdown_timeout": "10s",
	}.With(s)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of lsmtpd is %d octets; its warnings ended:\n%s", fileSize(i.log), i.lastWarnings(40))
			keepLog(t, i.log)
		}
	})
	return i
}

// writeRoutes writes a configuration file that sends each domain to one of the addresses.
func writeRoutes(name string, addresses []string) error {
	var b strings.Builder
	b.WriteString("routes:\n")
	for n, domain := range domains {
		fmt.Fprintf(&b, "  - {match: %q, address: %q}\n", "*@"+domain, addresses[n%len(addresses)])
	}
	return os.WriteFile(name, []byte(b.String()), 0o600)
}

// keepLog copies a log to where logs are kept, if they are.
func keepLog(t *testing.T, log string) {
	dir := os.Getenv("LSMTPD_TESTBED_LOGS")
	octets, err := os.ReadFile(log)
	if dir == "" || err != nil {
		return
	}
	name := strings.ReplaceAll(t.Name(), "/", ".") + "." + filepath.Base(filepath.Dir(log)) + ".log"
	if err := os.WriteFile(filepath.Join(dir, name), octets, 0o600); err != nil {
		t.Log(err)
	}
}

func fileSize(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (i *instance) lastWarnings(n int) string {
	f, err := os.Open(i.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.Contains(s.Text(), "level=INFO") {
			continue
		}
		if lines = append(lines, s.Text()); len(lines) > n {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}

// command is a command line of the program with the settings of the instance, some of them others.
func (i *instance) command(s settings, args ...string) testbed.Command {
	all := settings{"config": i.config}.With(i.settings).With(s)
	return testbed.Command{Path: i.program, Args: args, Env: all.Env(), Log: i.log}
}

// start starts the instance, with some other settings in this life, and waits until it lives.
func (i *instance) start(t *testing.T, s settings) {
	t.Helper()
	i.launch(t, i.command(s, "serve"))
}

func (i *instance) launch(t *testing.T, c testbed.Command) {
	t.Helper()
	i.Process = testbed.Run(t, c)
	i.WaitFor(t, "/healthz to answer 200", patience, func() bool { return i.get("/healthz", nil) == nil })
}

// startArmed starts the instance so that it dies at the nth time that it comes to a step. It may do so at once.
func (i *instance) startArmed(t *testing.T, s settings, step string, nth int) {
	t.Helper()
	c := i.command(s, "serve")
	c.Env = append(c.Env, fmt.Sprintf("LSMTPD_FAILPOINT=%s:%d", step, nth))
	i.Process = testbed.Run(t, c)
	eventually(t, "/healthz to answer 200", patience, func() bool { return !i.Running() || i.get("/healthz", nil) == nil })
}

// waitReady waits until broker and store are well.
func (i *instance) waitReady(t *testing.T) {
	t.Helper()
	i.WaitFor(t, "/readyz to have nothing to complain of", patience, func() bool {
		var r struct {
			Ready         bool
			Broker, Store string
		}
		return i.get("/readyz", &r) == nil && r.Ready && r.Broker == "" && r.Store == ""
	})
}

// stop ends the instance by SIGTERM; that has to be an orderly end.
func (i *instance) stop(t *testing.T) {
	t.Helper()
	must(t, i.Signal(syscall.SIGTERM))
	if code := i.ExitCode(t, patience); code != 0 {
		t.Errorf("the exit code after SIGTERM is %d, want 0", code)
	}
}

var adminClient = http.Client{Timeout: 10 * time.Second}

// get asks the admin listener and reads its JSON into v, unless that is nil.
func (i *instance) get(path string, v any) error {
	response, err := adminClient.Get("http://" + i.admin + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if v != nil {
		return json.NewDecoder(response.Body).Decode(v)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return nil
}

// metric is the value of a metric, with its labels as the text form writes them; false where it cannot be had.
func (i *instance) metric(name string) (float64, bool) {
	response, err := adminClient.Get("http://" + i.admin + "/metrics")
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	for s := bufio.NewScanner(response.Body); s.Scan(); {
		if value, found := strings.CutPrefix(s.Text(), name+" "); found {
			v, err := strconv.ParseFloat(value, 64)
			return v, err == nil
		}
	}
	return 0, false
}

// waiting is how many records the spool holds that wait, from its files.
func (i *instance) waiting() int {
	if i.spool == "" {
		return 0
	}
	d, err := os.Open(filepath.Join(i.spool, "new"))
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // some are taken away meanwhile
	return len(names)
}

// waitEmpty waits until everything in the spool is delivered, as long as there becomes less of it.
func (i *instance) waitEmpty(t *testing.T) {
	t.Helper()
	for left := i.waiting(); left > 0; left = i.waiting() {
		i.WaitFor(t, fmt.Sprintf("less than %d records in the spool", left), patience, func() bool { return i.waiting() < left })
	}
}

// logDoubt matches what lsmtpd says of a delivery that it does not know the outcome of.
var logDoubt = regexp.MustCompile(`msg="delivery in doubt" transaction=(\S+) `)

// inDoubt are the keys of what the instance lists as in doubt. Without a spool the log is the list, of transactions.
func (i *instance) inDoubt(t *testing.T) (listed map[string]bool, wrong []string) {
	t.Helper()
	listed = map[string]bool{}
	if i.spool == "" {
		log, err := os.ReadFile(i.log)
		must(t, err)
		for _, m := range logDoubt.FindAllSubmatch(log, -1) {
			listed[string(m[1])] = true
		}
		return listed, nil
	}
	transactions := map[string]bool{}
	for _, s := range i.sweep(t) {
		if s.Kind == "in-doubt" {
			listed[s.Key], transactions[s.TransactionID] = true, true
		} else {
			wrong = append(wrong, fmt.Sprintf("%s %s", s.Kind, s.Key))
		}
	}
	// The end of an intent is written with the next line that somebody waits for: the file may list more than live.
	if n, ok := i.metric("lsmtpd_intents"); !ok || int(n) > len(transactions) {
		wrong = append(wrong, fmt.Sprintf("%v intents (known: %v), %d of them in doubt", n, ok, len(transactions)))
	}
	return listed, wrong
}

// swept is a line of "lsmtpd sweep --json".
type swept struct {
	Kind, TransactionID, Key string
	Deleted                  bool
}

// sweep runs "lsmtpd sweep" beside the instance, or without it.
func (i *instance) sweep(t *testing.T, args ...string) (list []swept) {
	t.Helper()
	c := i.command(nil, append([]string{"sweep", "--json"}, args...)...)
	c.Log = filepath.Join(t.TempDir(), "sweep")
	p := testbed.Run(t, c)
	if code := p.ExitCode(t, patience); code != 0 {
		t.Errorf("lsmtpd sweep: exit code %d: %s", code, p.Stdout())
	}
	for line := range strings.Lines(p.Stdout()) {
		if !strings.HasPrefix(line, "{") {
			continue // for people
		}
		var s swept
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Errorf("lsmtpd sweep printed %.200q: %v", line, err)
			continue
		}
		list = append(list, s)
	}
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until condition is true.
func eventually(t *testing.T, what string, within time.Duration, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", within, what)
		}
		<-tick.C
	}
}
