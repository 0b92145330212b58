//go:build !linux

package main

import "syscall"

// childAttributes leaves a child as it is.
func childAttributes() *syscall.SysProcAttr { return nil }
