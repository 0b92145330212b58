package testbed

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// TestMain lets the test binary play the processes of its own tests: childMode in the environment says which.
func TestMain(m *testing.M) {
	if mode, ok := os.LookupEnv(childMode); ok {
		child(mode)
		return
	}
	if os.Getenv(leaveMode) != "" {
		Main(m, MinIOServer)
	}
	Main(m)
}

const (
	// childMode is how the test binary as a process of its own tests behaves.
	childMode = "TESTBED_CHILD"
	// leaveMode is how a test binary that has servers running ends.
	leaveMode = "TESTBED_LEAVE"
)

func child(mode string) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("standard output of", mode)
	fmt.Fprintf(os.Stderr, "ready, pid=%d\n", os.Getpid())
	switch mode {
	case "fails":
		os.Exit(3)
	case "ends on SIGTERM":
		<-term
		os.Exit(0)
	case "ignores SIGTERM":
		select {}
	case "environment":
		fmt.Printf("LSMTPD_X=%q OTHER=%q\n", os.Getenv("LSMTPD_X"), os.Getenv("OTHER"))
		os.Exit(0)
	case "has a child":
		p, err := start(Command{Path: os.Args[0], Env: []string{childMode + "=ignores SIGTERM"}}, os.DevNull, os.DevNull)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("child=%d\n", p.Pid())
		<-p.Done()
	}
}
