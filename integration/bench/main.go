package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a limit was exceeded, a mail not accepted, or nothing could be measured
	exitUsage  = 2
)

const usage = `usage: bench memory|speed|engine|connections|hostile [flags]

memory       peak resident memory of lsmtpd under the loads of the memory promise
speed        octets and small mails a second, as ratios to a ceiling and to another lsmtpd
engine       the SMTP engine alone, as ratios to go-smtp's server
connections  memory of idle connections, and mail beside them
hostile      processor time of reading hostile messages, as ratios to a plain copy with SHA-256
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, out, diag io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"memory": memory, "speed": speed, "engine": engine, "connections": connections, "hostile": hostileMail,
		"server": server, // for ourselves
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(diag, usage)
		return exitUsage
	}
	err := commands[args[0]](ctx, args[1:], out, diag)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(diag, "bench: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(diag, "bench: %v\n", err)
	return exitFailed
}

// usageError is an error in the command line.
type usageError struct{ error }

// Unwrap returns the error itself.
func (e usageError) Unwrap() error { return e.error }

// parse parses flags that are followed by no arguments.
func parse(flags *flag.FlagSet, args []string, diag io.Writer) error {
	flags.SetOutput(diag)
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("%s: unknown argument %q; want flags only", flags.Name(), flags.Arg(0))}
	}
	return nil
}
