//go:build !linux

package main

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("only on Linux")

func processors() (server, rest int, err error) { return 0, 0, errNotLinux }

func onProcessor(int, func() error) error { return errNotLinux }

func keepTo(int) error { return errNotLinux }

func (c *child) processorTime() (time.Duration, error) { return 0, errNotLinux }

func ownProcessorTime() (time.Duration, error) { return 0, errNotLinux }

func raiseFiles() error { return nil }
