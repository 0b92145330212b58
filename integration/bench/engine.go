package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// load is what clients say to a server.
type load struct {
	name        string
	target      float64 // how many times go-smtp's speed is promised
	connections int
	script      script  // on each of them
	amount      float64 // MB of large mails, or number of small ones, on all of them
	unit        string  // a second
}

const (
	engineOctets = 200 * mb // of a large mail
	engineMails  = 16_384   // small ones, in each round
	engineRounds = 5
)

// engineLoads are the loads of "engine", with large mails of so many octets, or up to a block more.
func engineLoads(octets int64) []load {
	blocks := int(max(1, (octets+blockOctets-1)/blockOctets))
	large := float64(blocks) * blockOctets / mb
	small := append([]byte(header), textBlock()[:smallOctets-len(header)-2]...)
	small = append(small, '\r', '\n')
	lines, text := base64Block(), textBlock()
	return []load{
		{"DATA, base64", 10, 1, largeData(lines, blocks), large, "MB/s"},
		{"DATA, short lines", 10, 1, largeData(text, blocks), large, "MB/s"},
		{"BDAT, chunks of 1 MiB", 1, 1, largeChunks(lines, blocks, 1<<20), large, "MB/s"},
		{"BDAT, chunks of 64 KiB", 1, 1, largeChunks(lines, blocks, 64<<10), large, "MB/s"},
		{"2 KB by DATA", 1.5, 1, smallData(small, engineMails), engineMails, "mails/s"},
		{"2 KB by DATA", 1.5, 16, smallData(small, engineMails/16), engineMails, "mails/s"},
		{"2 KB by BDAT", 1.5, 1, smallChunks(small, engineMails), engineMails, "mails/s"},
		{"2 KB by BDAT", 1.5, 16, smallChunks(small, engineMails/16), engineMails, "mails/s"},
	}
}

// engineOptions are the flags of "engine".
type engineOptions struct {
	octets  int64
	rounds  int
	only    string
	profile string
}

// engine compares bridge/smtpd with go-smtp's server and prints the ratios. It asserts nothing.
func engine(ctx context.Context, args []string, out, diag io.Writer) error {
	var o engineOptions
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.Int64Var(&o.octets, "octets", engineOctets, "size of the large mail")
	flags.IntVar(&o.rounds, "rounds", engineRounds, "how often each load is measured; the median is printed")
	flags.StringVar(&o.only, "only", "", "only loads whose name contains this")
	flags.StringVar(&o.profile, "profile", "", "write profiles of the servers' processor time into this folder")
	if err := parse(flags, args, diag); err != nil {
		return err
	}
	if o.octets < 1 || o.rounds < 1 {
		return usageError{errors.New("engine: --octets and --rounds must be above 0")}
	}
	serverCPU, clientCPU, err := processors()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "load\tconnections\tunit\tceiling\tgo-smtp\tlsmtpd\tratio\tpromised\tµs ceiling\tµs go-smtp\tµs lsmtpd\tratio\t\n")
	if err := keepTo(clientCPU); err != nil {
		return err
	}
	for i, l := range engineLoads(o.octets) {
		if !strings.Contains(l.name, o.only) {
			continue
		}
		fmt.Fprintf(diag, "%s on %d, %d times ...\n", l.name, l.connections, o.rounds)
		m, err := o.measure(ctx, serverCPU, i, l)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", l.name, err), table.Flush())
		}
		ceiling, theirs, ours := m["sink"], m["go-smtp"], m["lsmtpd"]
		fmt.Fprintf(table, "%s\t%d\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t\n", l.name, l.connections, l.unit, ceiling.rate(), theirs.rate(), ours.rate(),
			ours.rate()/theirs.rate(), l.target, ceiling.cost(), theirs.cost(), ours.cost(), theirs.cost()/ours.cost())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, `Medians of %d rounds, in turn, each server alone on a processor and its clients on another. The ceiling is a reader that
looks at nothing and gives the same replies. µs: processor time of the server, user and system, for 1 MB or for one mail.
`, o.rounds)
	return nil
}

// measurement is what several rounds of a load gave.
type measurement struct{ rates, costs []float64 }

func (m *measurement) rate() float64 { return median(m.rates) }

// cost is in µs of processor time.
func (m *measurement) cost() float64 { return median(m.costs) }

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// measure sends a load to each kind of server in turn.
func (o *engineOptions) measure(ctx context.Context, cpu, number int, l load) (m map[string]*measurement, err error) {
	kinds := []string{"sink", "go-smtp", "lsmtpd"}
	servers := map[string]*serverChild{}
	m = map[string]*measurement{}
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, kind := range kinds {
		args := []string{"--kind", kind, "--load", fmt.Sprint(number), "--octets", fmt.Sprint(o.octets)}
		if o.profile != "" {
			args = append(args, "--profile", filepath.Join(o.profile, fmt.Sprintf("%d-%s.pprof", number+1, kind)))
		}
		m[kind] = &measurement{}
		err := onProcessor(cpu, func() (err error) {
			servers[kind], err = startServer(ctx, kind, args...)
			return err
		})
		if err != nil {
			delete(servers, kind)
			return m, err
		}
	}
	for range o.rounds {
		for _, kind := range kinds {
			s := servers[kind]
			err := m[kind].add(s.child, l.amount, func() (time.Duration, error) { return saySeveral(ctx, s.addr, l.connections, l.script) })
			if err != nil {
				return m, fmt.Errorf("%s: %w; its log ends\n%s", kind, err, s.log)
			}
		}
	}
	return m, nil
}

// add measures one round, which takes the time that send returns for an amount.
func (m *measurement) add(server *child, amount float64, send func() (time.Duration, error)) error {
	before, err := server.processorTime()
	if err != nil {
		return err
	}
	took, err := send()
	if err != nil {
		return err
	}
	after, err := server.processorTime()
	m.rates = append(m.rates, amount/took.Seconds())
	m.costs = append(m.costs, float64(after-before)/float64(time.Microsecond)/amount)
	return err
}
