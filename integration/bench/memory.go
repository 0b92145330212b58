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
	chunks     bool // sent by BDAT
}

var longField = "X-Long: " + strings.Repeat("f", 890) + "\r\n"

// scenarios are the loads of the memory promise.
func scenarios() []scenario {
	return []scenario{
		{name: "attachment", what: "one mail with a 500 MB attachment", mails: 1, limit: 64 * mib, size: 500 * mb, message: attachmentMessage},
		{name: "attachments", what: "8 at once of 100 MB", mails: 8, limit: 128 * mib, size: 100 * mb, message: attachmentMessage},
		{name: "parts", what: "64 at once of 100,000 parts", mails: 64, limit: 256 * mib, size: 100_000, message: partsMessage},
		{name: "header", what: "64 at once of 50 MB of header, fields of 900 octets", mails: 64, limit: 256 * mib, size: 50 * mb,
			message: func(n int64) message { return headerMessage(n, longField) }},
		{name: "header-tiny", what: "64 at once of 50 MB of header, fields of 6 octets", mails: 64, limit: 256 * mib, size: 50 * mb,
			message: func(n int64) message { return headerMessage(n, "a: b\r\n") }},
		{name: "header-folded", what: "64 at once of 50 MB of header, one folded field", mails: 64, limit: 256 * mib, size: 50 * mb, message: foldedMessage},
		{name: "nesting", what: "64 at once of 1,000 levels", mails: 64, limit: 256 * mib, size: 1000, message: nestedMessage},
	}
}

// hugeLimit is smtp.max_message_bytes for huge mail.
const hugeLimit = "6GiB"

// hugeScenarios are mails of 5 GB on the wire, declared by SIZE, and a small one to compare them with.
func hugeScenarios() []scenario {
	const attached = 5000 * mb / (lineOctets/3*4 + 2) * lineOctets
	text := func(n int64) message { return smallMessage(int(n)) }
	return []scenario{
		{name: "small", what: "one mail of 2 KB", mails: 1, limit: 64 * mib, size: smallOctets, message: text},
		{name: "huge", what: "one mail of 5 GB by DATA", mails: 1, limit: 64 * mib, size: attached, message: attachmentMessage},
		{name: "huge-bdat", what: "one mail of 5 GB by BDAT", mails: 1, limit: 64 * mib, size: attached, message: attachmentMessage, chunks: true},
	}
}

func names(list []scenario) []string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.name
	}
	return names
}

// memoryOptions are the flags of "memory".
type memoryOptions struct {
	scenario, store string
	scale           float64
	huge            bool
	lsmtpd, minio   string // paths of programs; empty: built, found
	s3              store
}

func (o *memoryOptions) parse(args []string, diag io.Writer) error {
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	flags.BoolVar(&o.huge, "huge", false, "run mails of 5 GB instead, with a store that throws everything away")
	flags.StringVar(&o.scenario, "scenario", "", "run this one only: "+strings.Join(names(scenarios()), ", ")+"; with --huge "+strings.Join(names(hugeScenarios()), ", "))
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
	case o.scenario != "" && !slices.Contains(names(o.scenarios()), o.scenario):
		return usageError{fmt.Errorf("--scenario: %q is none of %s", o.scenario, strings.Join(names(o.scenarios()), ", "))}
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
	if o.huge {
		return []string{"null"}, nil
	}
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
		for _, sc := range o.scenarios() {
			if o.scenario != "" && o.scenario != sc.name {
				continue
			}
			fmt.Fprintf(diag, "%s, %s ...\n", sc.what, kind)
			m := sc.message(max(1, int64(math.Round(float64(sc.size)*o.scale))))
			r, err := o.measure(ctx, filepath.Join(dir, kind+"-"+sc.name), kind, sc, m)
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

// scenarios are those to choose from.
func (o *memoryOptions) scenarios() []scenario {
	if o.huge {
		return hugeScenarios()
	}
	return scenarios()
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
func (o *memoryOptions) measure(ctx context.Context, dir, kind string, sc scenario, m message) (r result, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, endStore, err := o.startStore(ctx, dir, kind)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, endStore()) }()
	var more []string
	if o.huge {
		more = []string{"LSMTPD_SMTP_MAX_MESSAGE_BYTES=" + hugeLimit}
	}
	b, err := startBench(ctx, o.lsmtpd, s, sc.mails, more...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	ctx, cancel := context.WithTimeout(ctx, scenarioTimeout)
	defer cancel()
	size := m.size()
	r.sent = int64(sc.mails) * size
	r.took, err = together(ctx, b.smtp, sc.mails, func(c *client) (err error) {
		if sc.chunks {
			_, err = c.sendChunks(m, size)
		} else {
			_, err = c.send(m, size)
		}
		return err
	})
	if err == nil {
		err = b.took(ctx, sc.mails)
	}
	if err != nil {
		err = fmt.Errorf("%w\nthe log of lsmtpd ends\n%s", err, b.lsmtpd.log)
	}
	peak, peakErr := b.lsmtpd.peak()
	r.peak = peak
	return r, errors.Join(err, peakErr)
}

// startStore starts the store of a kind, with what it keeps below dir. The caller calls end.
func (o *memoryOptions) startStore(ctx context.Context, dir, kind string) (s store, end func() error, err error) {
	nothing := func() error { return nil }
	switch {
	case kind == "null":
		_, s, end, err = startNullS3()
		return s, end, err
	case kind == "s3" && o.s3.url != "":
		return o.s3, nothing, nil
	case kind == "s3":
		server, s, err := startMinIO(ctx, o.minio, dir)
		if err != nil {
			return store{}, nil, err
		}
		return s, server.stop, nil
	}
	return directoryStore(dir), nothing, nil
}
