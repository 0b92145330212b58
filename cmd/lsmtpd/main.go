// Command lsmtpd receives mail over SMTP, puts its attachments into an object
// store while they arrive, and publishes the rest over AMQP 1.0.
//
// This package only translates the outside world: flags, environment, the
// configuration file, signals, exit codes; one file a subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes. A configuration that is wrong here exits with 2, before anything
// listens; what servers answer, and all other failures, with 1.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], &console{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}))
}

// console is where a command reads and writes, and what it sees of the environment.
type console struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
	signals  chan os.Signal // nil: the process's own
}

// usageError is an error of the caller: a flag, a setting, an argument.
type usageError struct{ error }

// Unwrap returns the error itself.
func (e usageError) Unwrap() error { return e.error }

// run executes the command line and returns the exit code.
func run(args []string, c *console) int {
	ctx, force, stop := c.contexts()
	defer stop()
	root := newRoot(c, force)
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(c.err, "lsmtpd: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(c.err, "lsmtpd: %v\n", err)
	return exitFailed
}

// contexts returns a context that ends with the first SIGINT or SIGTERM, and one that ends with the second.
func (c *console) contexts() (ctx, force context.Context, stop func()) {
	signals := c.signals
	if signals == nil {
		signals = make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	}
	ctx, first := context.WithCancel(context.Background())
	force, second := context.WithCancel(context.Background())
	watched, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for _, cancel := range []context.CancelFunc{first, second} {
			select {
			case <-signals:
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, force, func() {
		signal.Stop(signals)
		close(done)
		<-watched
		first()
		second()
	}
}

func newRoot(c *console, force context.Context) *cobra.Command {
	root := &cobra.Command{
		Use:           "lsmtpd",
		Short:         "Receive mail over SMTP, store its attachments, publish it over AMQP 1.0",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usageError{errors.New("which command? lsmtpd demo shows all of it")})
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	for _, sub := range []*cobra.Command{
		newServe(c, force), newDemo(c, force), newSend(c), newTail(c), newFetch(c), newCheck(c), newSpool(c), newSweep(c), newVersion(c),
	} {
		args := sub.Args
		sub.Args = func(cmd *cobra.Command, list []string) error {
			if args == nil {
				args = noArguments
			}
			return args(cmd, list)
		}
		root.AddCommand(sub)
	}
	return root
}

// knownCommand refuses what is no command, and suggests the one that was probably meant.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range root.Commands() {
		names = append(names, sub.Name())
	}
	hint := "lsmtpd --help lists them"
	if similar := nearest(args[0], names); similar != "" {
		hint = "did you mean " + similar + "?"
	}
	return usageError{fmt.Errorf("unknown command %q; %s", args[0], hint)}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s takes no arguments, only flags; %s --help lists them", cmd.CommandPath(), cmd.CommandPath())}
}

// flagError adds to an error about a flag what would be right.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedName() == "" {
		return usageError{fmt.Errorf("%w; %s --help lists the flags", err, cmd.CommandPath())}
	}
	name := unknown.GetSpecifiedName()
	for _, k := range defaults().keys() {
		if k.secret && k.name == name {
			return usageError{fmt.Errorf("--%s: a secret is never a flag, others could see it; set %s, or %s_FILE to the name of a file that holds it", name, k.env(), k.env())}
		}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	hint := cmd.CommandPath() + " --help lists the flags"
	if similar := nearest(name, names); similar != "" {
		hint = "did you mean --" + similar + "?"
	}
	return usageError{fmt.Errorf("%w; %s", err, hint)}
}
