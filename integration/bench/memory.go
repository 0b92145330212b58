package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	mib = 1 << 20
	mb  = 1_000_000
)

// scenarioTimeout bounds the sending of one scenario.
const scenarioTimeout = 5 * time.Minute

// scenario is a load and the peak resident memory promised under it.
type scenario struct {
	name, what string
	mails      int   // at once, each on a connection of its own
	limit      int64 // octets
	size       int64 // of what the message is made with, before it is scaled
	message    func(size int64) message
}

var longField = "X-Long: " + strings.Repeat("f", 890) + "\r\n"

// scenarios are the loads of the memory promise.
func scenarios() []scenario {
	return []scenario{
		{"attachment", "one mail with a 500 MB attachment", 1, 64 * mib, 500 * mb, attachmentMessage},
		{"attachments", "8 at once of 100 MB", 8, 128 * mib, 100 * mb, attachmentMessage},
		{"parts", "64 at once of 100,000 parts", 64, 256 * mib, 100_000, partsMessage},
		{"header", "64 at once of 50 MB of header, fields of 900 octets", 64, 256 * mib, 50 * mb,
			func(n int64) message { return headerMessage(n, longField) }},
		{"header-tiny", "64 at once of 50 MB of header, fields of 6 octets", 64, 256 * mib, 50 * mb,
			func(n int64) message { return headerMessage(n, "a: b\r\n") }},
		{"header-folded", "64 at once of 50 MB of header, one folded field", 64, 256 * mib, 50 * mb, foldedMessage},
		{"nesting", "64 at once of 1,000 levels", 64, 256 * mib, 1000, nestedMessage},
	}
}

// memoryOptions are the flags of "memory".
type memoryOptions struct {
	scenario, store string
	scale           float64
	lsmtpd, minio   string // paths of programs; empty: built, found
	s3              store
}

func (o *memoryOptions) parse(args []string, diag io.Writer) error {
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	flags.StringVar(&o.scenario, "scenario", "", "run this one only: "+strings.Join(names, ", "))
	flags.StringVar(&o.store, "store", "both", "dir, s3 or both")
	flags.Float64Var(&o.scale, "scale", 1, "make messages so many times as large, for a smoke run; then limits are not checked")
	flags.StringVar(&o.lsmtpd, "lsmtpd", "", "program to measure (default: built from this checkout)")
	flags.StringVar(&o.minio, "minio", "", "MinIO to start as the S3 server (default: from the test bed's cache, or PATH)")
	flags.StringVar(&o.s3.url, "s3", "", "use this S3 server instead: s3://BUCKET/PREFIX?endpoint=URL&region=REGION")
	flags.StringVar(&o.s3.accessKey, "access-key", "", "its access key")
	flags.StringVar(&o.s3.secretKey, "secret-key", "", "its secret key")
	if err := parse(flags, args, diag); err != nil {
		return err
	}
	switch {
	case o.scenario != "" && !slices.Contains(names, o.scenario):
		return usageError{fmt.Errorf("--scenario: %q is none of %s", o.scenario, strings.Join(names, ", "))}
	case !slices.Contains([]string{"dir", "s3", "both"}, o.store):
		return usageError{fmt.Errorf("--store: %q is none of dir, s3, both", o.store)}
	case !(o.scale > 0 && o.scale <= 1):
		return usageError{fmt.Errorf("--scale: %v is not above 0 and at most 1", o.scale)}
	}
	return nil
}

// memory runs the scenarios and prints a line for each.
func memory(ctx context.Context, args []string, out, diag io.Writer) (err error) {
	var o memoryOptions
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
	stores, err := o.stores(out)
	if err != nil {
		return err
	}
	if o.scale != 1 {
		fmt.Fprintf(out, "Smoke run: messages are %v times as large as promised for, so limits are not checked.\n", o.scale)
	}
	return o.run(ctx, dir, stores, out, diag)
}

// stores are those to measure with. It says so when one has to be left out.
func (o *memoryOptions) stores(out io.Writer) ([]string, error) {
	if o.store == "dir" {
		return []string{"dir"}, nil
	}
	var err error
	if o.s3.url == "" && o.minio == "" {
		o.minio, err = findMinIO()
	}
	switch {
	case o.store == "s3":
		return []string{"s3"}, err
	case err != nil:
		fmt.Fprintf(out, "SKIP: nothing is measured with S3: %v\n", err)
		return []string{"dir"}, nil
	}
	return []string{"dir", "s3"}, nil
}

// run runs the scenarios with each store and prints a line for each, and then all of them as a table.
func (o *memoryOptions) run(ctx context.Context, dir string, stores []string, out, diag io.Writer) error {
	var failed int
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "scenario\tstore\tmails\tMB sent\ts\tpeak MiB\tlimit MiB\tratio\t\t\n")
	begun := time.Now()
	for _, kind := range stores {
		for _, sc := range scenarios() {
			if o.scenario != "" && o.scenario != sc.name {
				continue
			}
			fmt.Fprintf(diag, "%s, %s ...\n", sc.what, kind)
			m := sc.message(max(1, int64(math.Round(float64(sc.size)*o.scale))))
			r, err := o.measure(ctx, filepath.Join(dir, kind+"-"+sc.name), kind, sc.mails, m)
			if ctx.Err() != nil {
				return errors.Join(context.Cause(ctx), table.Flush())
			}
			verdict := o.verdict(r.peak, sc.limit)
			if err != nil {
				verdict = "FAILED"
				fmt.Fprintf(diag, "%s, %s: %v\n", sc.name, kind, err)
			}
			if verdict == "FAILED" || verdict == "EXCEEDED" {
				failed++
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t%.1f\t%.1f\t%d\t%.2f\t%s\t\n", sc.name, kind, sc.mails, float64(r.sent)/mb, r.took.Seconds(),
				float64(r.peak)/mib, sc.limit/mib, float64(r.peak)/float64(sc.limit), verdict)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s in all; peak is VmHWM of lsmtpd, default settings.\n", time.Since(begun).Round(time.Second))
	if failed > 0 {
		return fmt.Errorf("%d of the lines above are not as promised", failed)
	}
	return nil
}

func (o *memoryOptions) verdict(peak, limit int64) string {
	switch {
	case o.scale != 1:
		return "smoke"
	case peak > limit:
		return "EXCEEDED"
	}
	return "ok"
}

// result is what one scenario cost.
type result struct {
	sent int64 // octets
	took time.Duration
	peak int64 // octets; zero when unknown
}

// measure runs a fresh lsmtpd, with a fresh store below dir, sends it the mails at once and reads its peak memory.
func (o *memoryOptions) measure(ctx context.Context, dir, kind string, mails int, m message) (r result, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := directoryStore(dir)
	switch {
	case kind == "s3" && o.s3.url != "":
		s = o.s3
	case kind == "s3":
		server, minio, startErr := startMinIO(ctx, o.minio, dir)
		if startErr != nil {
			return r, startErr
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		s = minio
	}
	b, err := startBench(ctx, o.lsmtpd, s, mails)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	ctx, cancel := context.WithTimeout(ctx, scenarioTimeout)
	defer cancel()
	r.sent = int64(mails) * m.size()
	r.took, err = sendAll(ctx, b.smtp, mails, 1, m)
	if err == nil {
		err = b.took(ctx, mails)
	}
	if err != nil {
		err = fmt.Errorf("%w\nthe log of lsmtpd ends\n%s", err, b.lsmtpd.log)
	}
	peak, peakErr := b.lsmtpd.peak()
	r.peak = peak
	return r, errors.Join(err, peakErr)
}
