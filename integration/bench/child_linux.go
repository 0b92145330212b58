package main

import "syscall"

// childAttributes puts a child into a process group of its own, so that an interrupt at the terminal reaches us alone,
// and has the kernel kill it when we are gone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
