//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// patience bounds each wait for something that the program does on its own.
const patience = 30 * time.Second

type settings = testbed.Settings

// daemon is a running "lsmtpd serve".
type daemon struct {
	*testbed.Process
	smtp, admin string // HOST:PORT
}

// serve starts the program and waits until it is alive, whatever its broker and store are.
func serve(t *testing.T, s settings) *daemon {
	t.Helper()
	return serveBy(t, s, testbed.Build(t), "serve")
}

// serveBy is serve by another command line.
func serveBy(t *testing.T, s settings, command ...string) *daemon {
	t.Helper()
	d := &daemon{smtp: loopback(t), admin: loopback(t)}
	s = settings{"smtp.listen": d.smtp, "smtp.hostname": "bridge.example", "admin.listen": d.admin}.With(s)
	d.Process = testbed.Run(t, testbed.Command{Path: command[0], Args: command[1:], Env: s.Env()})
	d.WaitFor(t, "/healthz to answer 200", patience, func() bool {
		status, _ := d.get("/healthz", nil)
		return status == http.StatusOK
	})
	return d
}

// serveReady starts the program and waits until broker and store are well.
func serveReady(t *testing.T, s settings) *daemon {
	t.Helper()
	d := serve(t, s)
	d.waitReady(t)
	return d
}

func loopback(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testbed.FreePort(t))
}

// readiness is the answer of /readyz.
type readiness struct {
	Status               int `json:"-"`
	Ready                bool
	Broker, Store, Spool string
}

func (d *daemon) readyz(t *testing.T) readiness {
	t.Helper()
	var r readiness
	status, err := d.get("/readyz", &r)
	if err != nil {
		t.Fatalf("/readyz: %v", err)
	}
	r.Status = status
	return r
}

func (d *daemon) waitReady(t *testing.T) {
	t.Helper()
	d.WaitFor(t, "/readyz to have nothing to complain of", patience, func() bool {
		return d.readyz(t) == readiness{Status: http.StatusOK, Ready: true}
	})
}

// get asks the admin listener and reads its answer into v, unless that is nil.
func (d *daemon) get(path string, v any) (status int, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + d.admin + path)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if v != nil {
		err = json.NewDecoder(response.Body).Decode(v)
	}
	return response.StatusCode, err
}

// metric is the value of a metric, given with its labels as /metrics shows them; 0 where it is not there.
func (d *daemon) metric(t *testing.T, name string) float64 {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + d.admin + "/metrics")
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(t, err)
			return v
		}
	}
	return 0
}

// transactions is how many transactions have ended so far: each writes one line.
func (d *daemon) transactions() int { return strings.Count(d.Stderr(), " msg=transaction ") }

// stop ends the program by SIGTERM; that has to be an orderly end.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.wantOrderlyEnd(t)
}

func (d *daemon) wantOrderlyEnd(t *testing.T) {
	t.Helper()
	if code := d.ExitCode(t, patience); code != 0 {
		t.Errorf("the exit code after SIGTERM is %d, want 0; the log:\n%s", code, d.Stderr())
	}
}

// peakRSS fails the test where the program has used more memory than it may, and logs how much it was.
func (d *daemon) peakRSS(t *testing.T, limit int64) {
	t.Helper()
	peak, err := d.PeakRSS()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak resident set of lsmtpd: %.1f MiB", float64(peak)/(1<<20))
	if peak >= limit {
		t.Errorf("the peak resident set is %d octets, want less than %d", peak, limit)
	}
}
