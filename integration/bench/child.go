package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a child may take to end after SIGTERM before it is killed.
const stopTimeout = 20 * time.Second

// logTail is how much of a child's log is kept, in octets.
const logTail = 4 << 10

// child is a process of ours. It dies with us, where the system can see to that.
type child struct {
	name  string
	cmd   *exec.Cmd
	log   *tailLog
	ended chan struct{} // closed when it has ended
}

// start starts a program. env is added to our environment without its LSMTPD_ variables, so that settings meant for
// another lsmtpd do not reach this one.
func start(name, path string, args, env []string) (*child, error) {
	cmd := exec.Command(path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LSMTPD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = childAttributes()
	c := &child{name: name, cmd: cmd, log: &tailLog{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c.log, c.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process, for which stop waits
		defer close(c.ended)
		_ = cmd.Wait() // its state says how it ended
	}()
	return c, nil
}

// stop ends the process by SIGTERM, or after stopTimeout by SIGKILL, and waits for its end.
func (c *child) stop() error {
	select {
	case <-c.ended:
		return c.died()
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may just have ended
	select {
	case <-c.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = c.cmd.Process.Kill()
		<-c.ended
		return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", c.name, stopTimeout)
	}
}

// died is the error of a process that ended by itself.
func (c *child) died() error {
	return fmt.Errorf("%s ended by itself: %s; its log ends\n%s", c.name, c.cmd.ProcessState, c.log)
}

// until calls condition again and again until it is true. It fails when ctx or the process ends before.
func (c *child) until(ctx context.Context, what string, condition func() bool) error {
	const interval = 20 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-c.ended:
			return c.died()
		case <-ctx.Done():
			return fmt.Errorf("wait until %s %s: %w; its log ends\n%s", c.name, what, context.Cause(ctx), c.log)
		}
	}
	return nil
}

// peak is the largest resident set that the process has had, in octets. The process must be running.
func (c *child) peak() (int64, error) { return c.status("VmHWM:") }

// resident is the resident set of the process, in octets. The process must be running.
func (c *child) resident() (int64, error) { return c.status("VmRSS:") }

func (c *child) status(field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", c.name, err)
	}
	octets, err := parseStatus(status, field)
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", c.name, err)
	}
	return octets, nil
}

// parseStatus reads a size in proc_pid_status(5), in octets. A process that has ended has none.
func parseStatus(status []byte, field string) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == field && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in kB in its status", field)
}

// tailLog keeps the beginning and the end of what a process writes. It is safe for concurrent use.
type tailLog struct {
	mu   sync.Mutex
	head []byte
	tail []byte
}

// Write never fails.
func (l *tailLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := logTail - len(l.head); room > 0 {
		l.head = append(l.head, p[:min(room, len(p))]...)
	}
	l.tail = append(l.tail, p...)
	if over := len(l.tail) - logTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	return len(p), nil
}

// String is the end of the log.
func (l *tailLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}

// beginning is the first logTail octets of the log.
func (l *tailLog) beginning() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.head)
}
