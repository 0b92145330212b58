package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// What "speed" sends.
const (
	speedOctets      = 200 * mb // of the attachment
	speedRounds      = 3        // of everything; the median is printed
	smallOctets      = 2 << 10
	smallConnections = 16
	smallMails       = 1000 // on each connection, in each round
)

// speedOptions are the flags of "speed".
type speedOptions struct {
	lsmtpd, before string // paths of programs
	store          string
	spread         bool
	rounds         int
}

func (o *speedOptions) parse(args []string, diag io.Writer) error {
	flags := flag.NewFlagSet("speed", flag.ContinueOnError)
	flags.StringVar(&o.lsmtpd, "lsmtpd", "", "program to measure (default: built from this checkout)")
	flags.StringVar(&o.before, "before", "", "program to compare it with")
	flags.StringVar(&o.store, "store", "null", "null, an S3 server that throws everything away, or dir")
	flags.BoolVar(&o.spread, "spread", false, "let all processes use all processors, instead of lsmtpd one and all else another")
	flags.IntVar(&o.rounds, "rounds", speedRounds, "how often everything is measured; the median is printed")
	if err := parse(flags, args, diag); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{"null", "dir"}, o.store):
		return usageError{fmt.Errorf("--store: %q is none of null, dir", o.store)}
	case o.rounds < 1:
		return usageError{fmt.Errorf("--rounds: %d is not above 0", o.rounds)}
	}
	return nil
}

// speed measures lsmtpd beside a ceiling, and beside another one, and prints the ratios.
func speed(ctx context.Context, args []string, out, diag io.Writer) (err error) {
	var o speedOptions
	if err := o.parse(args, diag); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lsmtpd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.lsmtpd == "" {
		if o.lsmtpd, err = build(ctx, dir, diag); err != nil {
			return err
		}
	}
	place, err := o.place()
	if err != nil {
		return err
	}
	subjects, err := o.start(ctx, dir, place)
	defer func() {
		for _, s := range subjects {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return err
	}
	var c ceilings
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.start(ctx, place); err != nil {
		return err
	}

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "load\tprogram\tunit\tceiling\tspeed\tratio\tµs\tspeed now/before\tµs before/now\t\n")
	for _, l := range speedLoads(&c) {
		if err := o.compare(ctx, l, subjects, table, diag); err != nil {
			return errors.Join(err, table.Flush())
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, `Medians of %d rounds, in turn. Programs: default settings, store %q, a node in the memory of this command. %s
The ceiling of the large mail: the same octets over loopback TCP into a reader that hashes them with SHA-256; that of
small mail: go-smtp's server, which throws them away. µs: processor time of the program for 1 MB or for one mail.
`, o.rounds, o.store, map[bool]string{true: "All share the processors.", false: "Each has a processor, the rest another."}[o.spread])
	return nil
}

// place lets us run on one processor, and returns what lets the programs that it starts run on another.
func (o *speedOptions) place() (func(func() error) error, error) {
	if o.spread {
		return func(f func() error) error { return f() }, nil
	}
	subject, rest, err := processors()
	if err == nil {
		err = keepTo(rest)
	}
	return func(f func() error) error { return onProcessor(subject, f) }, err
}

// subject is an lsmtpd that is measured.
type subject struct {
	*bench
	name string
	end  func() error // of its store
}

// stop ends it, then its store.
func (s subject) stop() error { return errors.Join(s.bench.stop(), s.end()) }

// start starts the programs, those to compare with first. It returns those that it has started with an error, too.
func (o *speedOptions) start(ctx context.Context, dir string, place func(func() error) error) (subjects []subject, err error) {
	for _, p := range []struct{ name, path string }{{"before", o.before}, {"lsmtpd", o.lsmtpd}} {
		if p.path == "" {
			continue
		}
		s := subject{name: p.name, end: func() error { return nil }}
		var st store
		if o.store == "null" {
			_, st, s.end, err = startNullS3()
		} else {
			st = directoryStore(filepath.Join(dir, p.name))
		}
		if err != nil {
			return subjects, err
		}
		err := place(func() (err error) {
			s.bench, err = startBench(ctx, p.path, st, smallConnections)
			return err
		})
		if err != nil {
			return subjects, errors.Join(err, s.end())
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

// ceilings are what lsmtpd is compared with.
type ceilings struct{ hash, smtp *serverChild }

// start starts them.
func (c *ceilings) start(ctx context.Context, place func(func() error) error) error {
	return place(func() (err error) {
		if c.hash, err = startServer(ctx, "hash", "--kind", "hash"); err != nil {
			return err
		}
		c.smtp, err = startServer(ctx, "go-smtp", "--kind", "go-smtp")
		return err
	})
}

// stop ends those that were started.
func (c *ceilings) stop() (err error) {
	for _, s := range []*serverChild{c.hash, c.smtp} {
		if s != nil {
			err = errors.Join(err, s.stop())
		}
	}
	return err
}

// speedLoad is a load of "speed".
type speedLoad struct {
	name, unit  string
	amount      float64 // in units
	connections int
	mails       int // on each of them
	message     message
	ceiling     func(context.Context) (time.Duration, error)
}

// speedLoads are the loads of "speed".
func speedLoads(c *ceilings) []speedLoad {
	large, small := attachmentMessage(speedOctets), smallMessage(smallOctets)
	return []speedLoad{
		{fmt.Sprintf("%d MB attachment", speedOctets/mb), "wire MB/s", float64(large.size()) / mb, 1, 1, large,
			func(ctx context.Context) (time.Duration, error) { return hashOverTCP(ctx, c.hash.addr, large) }},
		{fmt.Sprintf("2 KB mails, %d connections", smallConnections), "mails/s", smallConnections * smallMails, smallConnections, smallMails, small,
			func(ctx context.Context) (time.Duration, error) {
				return sendAll(ctx, c.smtp.addr, smallConnections, smallMails, small)
			}},
	}
}

// compare measures a load with the ceiling and all programs in turn, and prints a line for each program.
func (o *speedOptions) compare(ctx context.Context, l speedLoad, subjects []subject, table, diag io.Writer) error {
	fmt.Fprintf(diag, "%s, %d times ...\n", l.name, o.rounds)
	var ceiling measurement
	ours := make([]measurement, len(subjects))
	for range o.rounds {
		took, err := l.ceiling(ctx)
		if err != nil {
			return fmt.Errorf("%s: ceiling: %w", l.name, err)
		}
		ceiling.rates = append(ceiling.rates, l.amount/took.Seconds())
		for i, s := range subjects {
			if err := ours[i].addBench(ctx, s.bench, l); err != nil {
				return fmt.Errorf("%s: %s: %w\nits log ends\n%s", l.name, s.name, err, s.lsmtpd.log)
			}
		}
	}
	for i, s := range subjects {
		m := ours[i]
		versus := "\t"
		if before := ours[0]; i > 0 {
			versus = fmt.Sprintf("%.2f\t%.2f", m.rate()/before.rate(), before.cost()/m.cost())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.0f\t%.0f\t%.2f\t%.1f\t%s\t\n", l.name, s.name, l.unit, ceiling.rate(), m.rate(), m.rate()/ceiling.rate(), m.cost(), versus)
	}
	return nil
}

// addBench measures one round.
func (m *measurement) addBench(ctx context.Context, b *bench, l speedLoad) error {
	return m.add(b.lsmtpd, l.amount, func() (time.Duration, error) {
		took, err := sendAll(ctx, b.smtp, l.connections, l.mails, l.message)
		if err == nil {
			err = b.took(ctx, l.connections*l.mails)
		}
		return took, err
	})
}

// hashOverTCP writes the message to a server that hashes it, and returns the time to its answer.
func hashOverTCP(ctx context.Context, addr string, m message) (time.Duration, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	begun := time.Now()
	w := bufio.NewWriterSize(conn, writeBuffer)
	m(w)
	err = errors.Join(w.Flush(), conn.(*net.TCPConn).CloseWrite())
	if _, readErr := io.ReadFull(conn, make([]byte, sha256.Size)); readErr != nil {
		err = errors.Join(err, readErr)
	}
	return time.Since(begun), err
}
