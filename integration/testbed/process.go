package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pollInterval is the time between two looks at a condition that another process brings about.
const pollInterval = 20 * time.Millisecond

// Command says what to run.
type Command struct {
	// Path is the program, looked up in PATH unless it contains a slash.
	Path string
	Args []string
	// Env is added to the environment of the test, without the variables of that which begin with LSMTPD_: a setting
	// meant for the test, or for the developer's own daemon, must not reach the program under test.
	Env []string
	// Dir is the working directory; empty means that of the test.
	Dir string
	// Stdin is a file to read as standard input; empty means none.
	Stdin string
	// Log is a file that all output is appended to. Empty means files of the process's own, which Run shows the end of
	// when the test fails.
	Log string
}

// Process is a running or ended child process. Its methods are safe for concurrent use.
type Process struct {
	name           string
	pid            int
	stdout, stderr string        // the files that keep its output
	done           chan struct{} // closed when the process has ended and was waited for
	state          *os.ProcessState
}

// Run starts a process for the length of a test. At the end of the test it is killed, with its process group, if it
// still runs; if the test failed, the end of its output is logged. Its output is kept in files, so that it is never
// held up by a slow reader.
func Run(t testing.TB, c Command) *Process {
	t.Helper()
	stdout, stderr := c.Log, c.Log
	if c.Log == "" {
		dir := t.TempDir()
		stdout, stderr = filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
	}
	p, err := start(c, stdout, stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() && c.Log == "" {
			t.Logf("%s (pid %d): %v, its output ended:\n%s", p.name, p.pid, p.state, tail(p.Stdout()+p.Stderr(), 4096))
		}
	})
	return p
}

// start runs c with its output appended to two files, which may be one and the same.
func start(c Command, stdout, stderr string) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(foreignEnv(), c.Env...)
	cmd.SysProcAttr = childAttributes()
	if c.Stdin != "" {
		in, err := os.Open(c.Stdin)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", c.Path, err)
		}
		defer in.Close() // the child has its own descriptor
		cmd.Stdin = in
	}
	for path, w := range map[string]*io.Writer{stdout: &cmd.Stdout, stderr: &cmd.Stderr} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", c.Path, err)
		}
		defer f.Close() // the child has its own descriptor
		*w = f
	}
	if stdout == stderr {
		cmd.Stdout = cmd.Stderr
	}
	p := &Process{name: filepath.Base(c.Path), stdout: stdout, stderr: stderr, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.attend(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

// attend starts the process and waits for its end. It keeps the operating system thread to itself, because Linux
// delivers the parent-death signal when the thread that forked ends, which need not be the end of the program.
func (p *Process) attend(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil
	// The outcome is in the state, and an error of Wait says nothing beyond it: the output goes to files.
	_ = cmd.Wait()
	p.state = cmd.ProcessState
	killGroup(p.pid) // what it left behind
	close(p.done)
}

// foreignEnv is the environment of the test without the variables that are ours.
func foreignEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "LSMTPD_") {
			env = append(env, kv)
		}
	}
	return env
}

// Pid returns the process id, also after the end.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode waits for the end of the process and returns its exit code, -1 if a signal ended it. It fails the test
// when the process still runs after timeout.
func (p *Process) ExitCode(t testing.TB, timeout time.Duration) int {
	t.Helper()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.state.ExitCode()
	case <-timer.C:
		t.Fatalf("%s (pid %d) has not ended within %v", p.name, p.pid, timeout)
		return 0
	}
}

// Signal sends sig to the process alone, not to its group.
func (p *Process) Signal(sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok || !p.Running() {
		return fmt.Errorf("signal %s: %w", p.name, os.ErrProcessDone)
	}
	if err := syscall.Kill(p.pid, s); err != nil {
		return fmt.Errorf("send %v to %s (pid %d): %w", s, p.name, p.pid, err)
	}
	return nil
}

// Stop sends SIGTERM and waits for the end; after timeout it kills the process and returns an error. Stopping a
// process that has ended does nothing.
func (p *Process) Stop(timeout time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && p.Running() {
		return err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s (pid %d) did not end within %v of SIGTERM and was killed", p.name, p.pid, timeout)
	}
}

// Kill sends SIGKILL to the process and its group and returns when the process has ended.
func (p *Process) Kill() {
	if p.Running() {
		killGroup(p.pid)
	}
	<-p.done
}

// Stdout returns what the process has written to its standard output so far.
func (p *Process) Stdout() string { return contents(p.stdout) }

// Stderr returns what the process has written to its standard error so far.
func (p *Process) Stderr() string { return contents(p.stderr) }

func contents(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return string(b)
}

// WaitLog waits until the regular expression matches the standard output or the standard error and returns the
// match with its submatches. It fails the test when timeout passes or the process ends without it.
func (p *Process) WaitLog(t testing.TB, expr string, timeout time.Duration) []string {
	t.Helper()
	re := regexp.MustCompile(expr)
	var match []string
	p.WaitFor(t, "output like "+expr, timeout, func() bool {
		if match = re.FindStringSubmatch(p.Stderr()); match == nil {
			match = re.FindStringSubmatch(p.Stdout())
		}
		return match != nil
	})
	return match
}

// WaitFor waits until condition, called again and again, is true. It fails the test when timeout passes or the
// process ends without that; what names the condition in the failure.
func (p *Process) WaitFor(t testing.TB, what string, timeout time.Duration, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := p.poll(ctx, func() error {
		if condition() {
			return nil
		}
		return errors.New("not seen")
	})
	if err != nil {
		t.Fatalf("%s (pid %d): waiting for %s: %v; its output ended:\n%s",
			p.name, p.pid, what, err, tail(p.Stdout()+p.Stderr(), 4096))
	}
}

// poll calls probe until it returns nil, the process ends, or ctx is done.
func (p *Process) poll(ctx context.Context, probe func() error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		running := p.Running() // asked first: what it wrote before it ended still counts
		err := probe()
		switch {
		case err == nil:
			return nil
		case !running:
			return fmt.Errorf("it ended (%v); last: %w", p.state, err)
		}
		select {
		case <-tick.C:
		case <-p.done:
		case <-ctx.Done():
			return fmt.Errorf("not within the time allowed; last: %w", err)
		}
	}
}

// PeakRSS returns the largest resident set the process has had so far, in octets (VmHWM of proc_pid_status(5), so on
// Linux only). It fails for a process that has ended: ask before.
func (p *Process) PeakRSS() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0, fmt.Errorf("peak memory of %s: %w", p.name, err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(string(bytes.TrimSpace(rest)), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("peak memory of %s: %w", p.name, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("peak memory of %s: the process has ended", p.name)
}

// tail returns the last n octets of s, from the beginning of a line where there is one.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if _, rest, ok := strings.Cut(s, "\n"); ok && rest != "" {
		s = rest
	}
	return "…\n" + s
}

// killGroup ends the process group pid. That nothing is left to kill is no error.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
