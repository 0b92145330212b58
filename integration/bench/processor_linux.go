package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// errOneProcessor reports that a server and its clients would take time from each other.
var errOneProcessor = errors.New("two processors are needed: one for the server, one for all else")

// processors are the two that we use: the first for the server that is measured, the other for all else.
func processors() (server, rest int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, 0, fmt.Errorf("processors: %w", err)
	}
	var found []int
	for cpu := 0; cpu < len(set)*64 && len(found) < 2; cpu++ {
		if set.IsSet(cpu) {
			found = append(found, cpu)
		}
	}
	if len(found) < 2 {
		return 0, 0, errOneProcessor
	}
	return found[0], found[1], nil
}

// onProcessor calls f, and lets it run on one processor only; so do the processes that it starts.
func onProcessor(cpu int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("keep to processor %d: %w", cpu, err)
	}
	err := f()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// keepTo lets all of this process run on one processor only, from now on.
func keepTo(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	runtime.GOMAXPROCS(1)
	for range 2 { // a thread that began meanwhile may not have been listed
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("keep to processor %d: %w", cpu, err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err == nil {
				err = unix.SchedSetaffinity(id, &set)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("keep to processor %d: %w", cpu, err)
			}
		}
	}
	return nil
}

// processorTime is what the process has used of processors, user and system, by the clock that
// clock_getcpuclockid(3) names. The process must be running.
func (c *child) processorTime() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED of the kernel
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^c.cmd.Process.Pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", c.name, err)
	}
	return time.Duration(t.Nano()), nil
}

// ownProcessorTime is what this process has used of processors, user and system, in all its threads.
func ownProcessorTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// raiseFiles lets this process have as many files open as it may.
func raiseFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("open files: %w", err)
	}
	return nil
}
