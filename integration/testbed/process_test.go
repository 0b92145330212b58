package testbed

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is for what happens at once unless something is broken.
const patience = 30 * time.Second

func runChild(t *testing.T, mode string, env ...string) *Process {
	t.Helper()
	return Run(t, Command{Path: os.Args[0], Env: append(env, childMode+"="+mode)})
}

func TestProcessEndsOnSIGTERM(t *testing.T) {
	p := runChild(t, "ends on SIGTERM")
	match := p.WaitLog(t, `ready, pid=(\d+)`, patience)
	if want := strconv.Itoa(p.Pid()); match[1] != want {
		t.Errorf("pid in the log: got %s, want %s", match[1], want)
	}
	if err := p.Stop(patience); err != nil {
		t.Fatal(err)
	}
	if got := p.ExitCode(t, patience); got != 0 {
		t.Errorf("exit code: got %d, want 0", got)
	}
	if got, want := p.Stdout(), "standard output of ends on SIGTERM\n"; got != want {
		t.Errorf("standard output: got %q, want %q", got, want)
	}
	if err := p.Stop(patience); err != nil {
		t.Errorf("stop it again: %v", err)
	}
}

func TestProcessThatIgnoresSIGTERMIsKilled(t *testing.T) {
	p := runChild(t, "ignores SIGTERM")
	p.WaitLog(t, "ready", patience)
	if err := p.Stop(10 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("stop: got %v, want an error that says it was killed", err)
	}
	if p.Running() {
		t.Error("it still runs")
	}
	if got := p.ExitCode(t, patience); got != -1 {
		t.Errorf("exit code: got %d, want -1", got)
	}
}

func TestProcessExitCode(t *testing.T) {
	if got := runChild(t, "fails").ExitCode(t, patience); got != 3 {
		t.Errorf("exit code: got %d, want 3", got)
	}
}

func TestProcessEnvironment(t *testing.T) {
	t.Setenv("LSMTPD_X", "of the developer")
	t.Setenv("OTHER", "of the developer")
	p := runChild(t, "environment")
	if got, want := p.WaitLog(t, "LSMTPD_X=.*", patience)[0], `LSMTPD_X="" OTHER="of the developer"`; got != want {
		t.Errorf("without a setting: got %s, want %s", got, want)
	}
	p = runChild(t, "environment", "LSMTPD_X=of the test")
	if got, want := p.WaitLog(t, "LSMTPD_X=.*", patience)[0], `LSMTPD_X="of the test" OTHER="of the developer"`; got != want {
		t.Errorf("with a setting: got %s, want %s", got, want)
	}
}

func TestProcessPeakRSS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("read from /proc")
	}
	p := runChild(t, "ends on SIGTERM")
	p.WaitLog(t, "ready", patience)
	got, err := p.PeakRSS()
	if err != nil {
		t.Fatal(err)
	}
	if got < 1<<20 || got > 1<<30 {
		t.Errorf("peak memory of a small Go program: got %d octets", got)
	}
	p.Kill()
	if _, err := p.PeakRSS(); err == nil {
		t.Error("peak memory of an ended process: got no error")
	}
}

func TestRunEndsProcessWithTest(t *testing.T) {
	var p *Process
	t.Run("inner", func(t *testing.T) {
		p = runChild(t, "ignores SIGTERM")
		p.WaitLog(t, "ready", patience)
	})
	if p.Running() {
		t.Errorf("pid %d outlived its test", p.Pid())
	}
}

// A killed test binary must not leave servers behind: the middle process plays it.
func TestKilledParentTakesChildAlong(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the parent-death signal is Linux's")
	}
	p := runChild(t, "has a child")
	pid, err := strconv.Atoi(p.WaitLog(t, `child=(\d+)`, patience)[1])
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatalf("the child %d does not run", pid)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil { // to it alone; the child has a group of its own
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("the child %d outlived its killed parent", pid)
		}
		<-tick.C
	}
}

// alive reports whether a process runs; one that only waits to be reaped by its parent does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestTail(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		max      int
		want     string
	}{
		{"short", "one\ntwo\n", 8, "one\ntwo\n"},
		{"whole lines", "one\ntwo\nthree\n", 9, "…\nthree\n"},
		{"one long line", "abcdefgh", 3, "…\nfgh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tail(tt.in, tt.max); got != tt.want {
				t.Errorf("tail(%q, %d): got %q, want %q", tt.in, tt.max, got, tt.want)
			}
		})
	}
}
