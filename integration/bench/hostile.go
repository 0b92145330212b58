package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"lsmtpd/extract"
	"lsmtpd/extract/hostile"
	"lsmtpd/schema"
)

// hostileOptions are the flags of "hostile".
type hostileOptions struct {
	octets  int64
	rounds  int
	atLeast time.Duration
	only    string
	limits  string
	profile string
}

func (o *hostileOptions) parse(args []string, diag io.Writer) error {
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.Int64Var(&o.octets, "octets", 32*mib, "size of a message, where its kind allows")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each message is measured; the least is printed")
	flags.DurationVar(&o.atLeast, "at-least", 30*time.Millisecond, "processor time to spend in a round; messages are read again until it is")
	flags.StringVar(&o.only, "only", "", "only messages whose name contains this")
	flags.StringVar(&o.limits, "limits", "", "only these limits: default or raised")
	flags.StringVar(&o.profile, "profile", "", "folder for a processor profile of each reading that costs too much")
	if err := parse(flags, args, diag); err != nil {
		return err
	}
	switch {
	case o.octets < 1_000_000:
		return usageError{fmt.Errorf("--octets: %d is less than a million", o.octets)}
	case o.rounds < 1:
		return usageError{fmt.Errorf("--rounds: %d is not above 0", o.rounds)}
	case o.limits != "" && o.limits != "default" && o.limits != "raised":
		return usageError{fmt.Errorf("--limits: %q is none of default, raised", o.limits)}
	}
	return nil
}

// hostileLimits are limits and what reading within them may cost.
type hostileLimits struct {
	name    string
	limits  extract.Limits
	inline  int64   // octets kept of all parts together
	header  int64   // octets of a header that is hostile: as many as the limits keep, or more
	allowed float64 // times a plain copy with SHA-256
}

func allHostileLimits() []hostileLimits {
	const most = math.MaxInt32
	return []hostileLimits{
		{"default", extract.Limits{}, 256 << 10, 1 << 20, 10},
		{"raised", extract.Limits{MaxHeaderBytes: most, MaxParts: most, MaxDepth: most}, most, 8 << 20, 30},
	}
}

// hostileCost is what a message cost.
type hostileCost struct {
	octets     int64
	copy, read time.Duration // of processors, once
}

func (c hostileCost) ratio() float64 { return float64(c.read) / float64(c.copy) }

// hostileMail reads hostile messages as lsmtpd does, and prints what it costs
// as a ratio to a plain copy of the same octets with SHA-256.
func hostileMail(ctx context.Context, args []string, out, diag io.Writer) error {
	var o hostileOptions
	if err := o.parse(args, diag); err != nil {
		return err
	}
	// Not a tabwriter: it takes minutes, and each line is news.
	const line = "%8s %10s %11s %11s %7s %7s  %s\n"
	fmt.Fprintf(out, line, "limits", "octets", "copy µs/MB", "read µs/MB", "ratio", "allowed", "message")
	measured, exceeded := 0, 0
	for _, m := range hostile.Messages() {
		for _, l := range allHostileLimits() {
			if !strings.Contains(m.Name, o.only) || o.limits != "" && o.limits != l.name {
				continue
			}
			fmt.Fprintf(diag, "%s, limits %s ...\n", m.Name, l.name)
			cost, err := o.measure(ctx, m, l)
			if err == nil && cost.ratio() > l.allowed {
				err = o.measureAgain(ctx, m, l, &cost)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			measured++
			name := m.Name
			if cost.ratio() > l.allowed {
				exceeded++
				name += "  EXCEEDED"
				if err := o.keepProfile(m, l); err != nil {
					return err
				}
			}
			perMB := float64(time.Microsecond) * float64(cost.octets) / mb
			fmt.Fprintf(out, line, l.name, fmt.Sprint(cost.octets), fmt.Sprintf("%.0f", float64(cost.copy)/perMB), fmt.Sprintf("%.0f", float64(cost.read)/perMB),
				fmt.Sprintf("%.1f", cost.ratio()), fmt.Sprintf("%.0f", l.allowed), name)
		}
	}
	fmt.Fprintf(out, `Processor time, user and system, of all threads and so with what the collector needs; the least of %d rounds,
and of three times as many more where that was too much: what else runs on the machine only adds to it.
Copy: the same octets from the same source, with SHA-256. Read: header, description, all parts with their bodies and sniffed types, structure,
body lists, report, texts and preview of what is kept in the envelope, problems. JSON is not written. Limits default: those of lsmtpd; raised: none.
`, o.rounds)
	switch {
	case measured == 0:
		return usageError{fmt.Errorf("--only: no message has %q in its name", o.only)}
	case exceeded > 0:
		return fmt.Errorf("%d of %d messages cost more than allowed", exceeded, measured)
	}
	return nil
}

// source makes the message.
func (o *hostileOptions) source(m hostile.Message, l hostileLimits) func() io.Reader {
	if m.Header {
		return m.Source(l.header)
	}
	return m.Source(o.octets)
}

// measureAgain measures a message that cost too much for longer.
func (o *hostileOptions) measureAgain(ctx context.Context, m hostile.Message, l hostileLimits, cost *hostileCost) error {
	longer := *o
	longer.rounds *= 3
	again, err := longer.measure(ctx, m, l)
	cost.copy, cost.read = min(cost.copy, again.copy), min(cost.read, again.read)
	return err
}

// measure measures a message, copied and read in turn.
func (o *hostileOptions) measure(ctx context.Context, m hostile.Message, l hostileLimits) (hostileCost, error) {
	cost := hostileCost{copy: math.MaxInt64, read: math.MaxInt64}
	source, buffer, mailbox := o.source(m, l), make([]byte, readBuffer), newMailbox(l)
	for range o.rounds {
		took, err := o.processorTimeOf(ctx, func() (err error) {
			cost.octets, err = hashed(source(), buffer)
			return err
		})
		if err != nil {
			return cost, err
		}
		cost.copy = min(cost.copy, took)
		if took, err = o.processorTimeOf(ctx, func() error { return mailbox.read(source()) }); err != nil {
			return cost, err
		}
		cost.read = min(cost.read, took)
	}
	return cost, nil
}

// processorTimeOf calls f until that took long enough, and returns what a call took of processors.
func (o *hostileOptions) processorTimeOf(ctx context.Context, f func() error) (time.Duration, error) {
	runtime.GC() // f pays for its own garbage
	before, err := ownProcessorTime()
	for calls := time.Duration(1); err == nil; calls++ {
		if err = ctx.Err(); err == nil {
			err = f()
		}
		if err != nil {
			break
		}
		var after time.Duration
		if after, err = ownProcessorTime(); err == nil && after-before >= o.atLeast {
			return (after - before) / calls, nil
		}
	}
	return 0, err
}

// keepProfile reads the message once more, with a profile.
func (o *hostileOptions) keepProfile(m hostile.Message, l hostileLimits) (err error) {
	if o.profile == "" {
		return nil
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ,:/", r) {
			return '-'
		}
		return r
	}, m.Name)
	f, err := os.Create(filepath.Join(o.profile, l.name+"-"+name+".pprof"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	source, mailbox := o.source(m, l), newMailbox(l)
	for begun := time.Now(); err == nil && time.Since(begun) < time.Second; {
		err = mailbox.read(source())
	}
	return err
}

// hashed is the plain copy.
func hashed(src io.Reader, buffer []byte) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{sha256.New()}, src, buffer)
}

// mailbox reads messages as package bridge does, without a store, digests or budgets.
type mailbox struct {
	limits extract.Limits
	inline int64 // octets it may keep of a message
	head   []byte
	rest   []byte

	reports map[string][]byte // of a message, the parts that say what it reports
}

// offloadThreshold is the default of lsmtpd's message.offload_threshold.
const offloadThreshold = 64 << 10

func newMailbox(l hostileLimits) *mailbox {
	return &mailbox{limits: l.limits, inline: l.inline, head: make([]byte, offloadThreshold+1), rest: make([]byte, readBuffer)}
}

// mailboxText is the text of a part, or its beginning.
type mailboxText struct {
	part   *extract.Part
	octets []byte
	whole  bool
}

func (m *mailbox) read(src io.Reader) error {
	r := extract.NewReader(src, m.limits)
	defer r.Close()
	h, err := r.Header()
	if err != nil {
		return err
	}
	var e schema.Email
	h.Describe(&e)
	if h.Rest != nil {
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{h.Rest}, m.rest); err != nil {
			return err
		}
	}
	texts, err := m.readParts(r)
	if err != nil {
		return err
	}
	e.BodyStructure = r.Structure()
	e.Report = r.Report(func(partID string) []byte { return m.reports[partID] })
	e.SortBody()
	for _, t := range texts {
		value := t.part.Text(t.octets, t.whole)
		if e.Preview == "" {
			e.Preview = extract.Preview(value.Value, t.part.Type == "text/html")
		}
	}
	r.Problems()
	return nil
}

// readParts reads all parts, and keeps what the envelope keeps of them.
func (m *mailbox) readParts(r *extract.Reader) (texts []mailboxText, err error) {
	left := m.inline
	m.reports = map[string][]byte{}
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return texts, nil
		}
		if err != nil {
			return nil, err
		}
		n, err := io.ReadFull(p.Body, m.head)
		whole := err != nil
		if whole && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		p.Size = int64(n)
		if !whole {
			more, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{p.Body}, m.rest)
			if p.Size += more; err != nil {
				return nil, err
			}
		}
		p.SniffedType = extract.SniffType(m.head[:n])
		isText, isReport := p.Type == "text/plain" || p.Type == "text/html", extract.IsReportPart(p.BodyPart)
		if !isText && !isReport && !whole {
			continue
		}
		keep := min(int64(n), left, offloadThreshold)
		left -= keep
		octets := append(make([]byte, 0, keep), m.head[:keep]...)
		if isText {
			texts = append(texts, mailboxText{p, octets, whole && keep == int64(n)})
		}
		if isReport {
			m.reports[*p.PartID] = octets
		}
	}
}
