package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

const (
	heldConnections = 10_000
	heldPerAddress  = 2500 // connections from one source address, whose ports are few
	dialers         = 32   // connections that are being opened at a time
	flowRounds      = 3    // of mail; the median is printed
	flowMails       = 512  // on each connection, in each round
)

// connections measures what idle connections cost, in memory and in speed, and prints it. It asserts nothing.
func connections(ctx context.Context, args []string, out, diag io.Writer) (err error) {
	flags := flag.NewFlagSet("connections", flag.ContinueOnError)
	program := flags.String("lsmtpd", "", "program to measure (default: built from this checkout)")
	count := flags.Int("count", heldConnections, "how many idle connections")
	if err := parse(flags, args, diag); err != nil {
		return err
	}
	if *count < 1 {
		return usageError{errors.New("connections: --count must be above 0")}
	}
	dir, err := os.MkdirTemp("", "lsmtpd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if *program == "" {
		if *program, err = build(ctx, dir, diag); err != nil {
			return err
		}
	}
	subjectCPU, rest, err := processors()
	if err == nil {
		err = errors.Join(keepTo(rest), raiseFiles())
	}
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "server\tidle\tKiB resident\tKiB Go\tpromised\tmails/s without\twith\tratio\tµs without\twith\tratio\t\n")
	for i, h := range holders(*program, *count) {
		fmt.Fprintf(diag, "%s ...\n", h.name)
		var r holding
		err := onProcessor(subjectCPU, func() error { return h.start(ctx) })
		if err == nil {
			r, err = h.measure(ctx, *count, i)
			err = errors.Join(err, h.stop())
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", h.name, err), table.Flush())
		}
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%s\t%s\t%.0f\t%.0f\t%.2f\t%.1f\t%.1f\t%.2f\t\n", h.name, *count, r.resident/kib, r.goMemory, h.promised,
			r.without.rate(), r.with.rate(), r.with.rate()/r.without.rate(), r.without.cost(), r.with.cost(), r.with.cost()/r.without.cost())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, `Memory of an idle connection after EHLO: the growth of the process, divided by their number; resident as the kernel counts
it, Go's heap and stacks after a collection. Mail: medians of %d rounds on %d connections. The server has a processor, the
rest another. µs: processor time of the server for one mail. What the kernel needs for a socket is left out.
`, flowRounds, smallConnections)
	return nil
}

const kib = 1 << 10

// holder is a server that is to hold connections.
type holder struct {
	name, promised string
	secure         bool
	start          func(context.Context) error
	stop           func() error

	// Set by start.
	server *child
	addr   string
	report func(context.Context) (memoryReport, error) // nil where nobody tells
	flow   func(context.Context) (time.Duration, error)
}

// holders are the engine, plain and under TLS, and all of lsmtpd.
func holders(program string, count int) []*holder {
	plain := &holder{name: "engine", promised: "20"}
	plain.startEngine()
	secure := &holder{name: "engine, TLS", promised: "-", secure: true}
	secure.startEngine("--tls")
	whole := &holder{name: "lsmtpd", promised: "20"}
	whole.startWhole(program, count)
	return []*holder{plain, secure, whole}
}

// startEngine lets start begin the engine alone.
func (h *holder) startEngine(args ...string) {
	h.start = func(ctx context.Context) error {
		s, err := startServer(ctx, h.name, args...)
		if err != nil {
			return err
		}
		h.server, h.addr, h.report, h.stop = s.child, s.addr, s.report, s.stop
		said := smallData([]byte(header+"An ordinary mail.\r\n"), flowMails)
		h.flow = func(ctx context.Context) (time.Duration, error) {
			return togetherBy(ctx, h.dial, smallConnections, func(c *client) error { return c.say(said) })
		}
		return nil
	}
}

// startWhole lets start begin lsmtpd, with a null store.
func (h *holder) startWhole(program string, count int) {
	h.start = func(ctx context.Context) error {
		_, st, endStore, err := startNullS3()
		if err != nil {
			return err
		}
		room := count + 2*smallConnections
		b, err := startBench(ctx, program, st, room, "LSMTPD_SMTP_MAX_CONNECTIONS="+strconv.Itoa(room))
		if err != nil {
			return errors.Join(err, endStore())
		}
		h.server, h.addr = b.lsmtpd, b.smtp
		h.stop = func() error { return errors.Join(b.stop(), endStore()) }
		m := smallMessage(smallOctets)
		h.flow = func(ctx context.Context) (time.Duration, error) {
			took, err := sendAll(ctx, b.smtp, smallConnections, flowMails, m)
			if err == nil {
				err = b.took(ctx, smallConnections*flowMails)
			}
			return took, err
		}
		return nil
	}
}

// holding is what a server cost that held connections.
type holding struct {
	resident      float64 // octets of a connection
	goMemory      string  // KiB of it, where that is known
	without, with measurement
}

// measure lets mail flow, opens the connections, and lets mail flow again. number sets the addresses of holders apart,
// so that ports which are still in TIME_WAIT do not matter.
func (h *holder) measure(ctx context.Context, count, number int) (r holding, err error) {
	if err := h.letFlow(ctx, &r.without); err != nil {
		return r, err
	}
	before, goBefore, err := h.memory(ctx)
	if err != nil {
		return r, err
	}
	held, err := h.hold(ctx, count, number)
	defer func() {
		for _, conn := range held {
			_ = conn.Close() // nothing is lost with it
		}
	}()
	if err != nil {
		return r, err
	}
	after, err := h.server.resident() // before a collection, which the server would not do by itself
	if err != nil {
		return r, err
	}
	_, goAfter, err := h.memory(ctx)
	if err != nil {
		return r, err
	}
	r.resident = float64(after-before) / float64(count)
	r.goMemory = "-"
	if h.report != nil {
		r.goMemory = fmt.Sprintf("%.1f", (goAfter-goBefore)/float64(count)/kib)
	}
	return r, h.letFlow(ctx, &r.with)
}

// letFlow measures the speed of mail.
func (h *holder) letFlow(ctx context.Context, m *measurement) error {
	for range flowRounds {
		if err := m.add(h.server, smallConnections*flowMails, func() (time.Duration, error) { return h.flow(ctx) }); err != nil {
			return fmt.Errorf("mail: %w; the log ends\n%s", err, h.server.log)
		}
	}
	return nil
}

// memory is what the server holds: octets resident, and those that Go has in use, or zero.
func (h *holder) memory(ctx context.Context) (resident int64, inUse float64, err error) {
	if h.report != nil {
		m, err := h.report(ctx)
		if err != nil {
			return 0, 0, err
		}
		inUse = float64(m.Heap + m.Stack)
	}
	resident, err = h.server.resident()
	return resident, inUse, err
}

// dial opens a connection that mail flows on.
func (h *holder) dial(ctx context.Context) (*client, error) {
	conn, err := h.connect(ctx, &net.Dialer{Timeout: replyTimeout})
	if err != nil {
		return nil, err
	}
	return newClient(ctx, conn)
}

// connect opens a connection, with TLS if the server wants it.
func (h *holder) connect(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	conn, err := d.DialContext(ctx, "tcp", h.addr)
	if err != nil || !h.secure {
		return conn, err
	}
	t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // a certificate made for this run
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return t, nil
}

// hold opens idle connections. It returns those that it has opened with an error, too.
func (h *holder) hold(ctx context.Context, count, number int) (held []net.Conn, err error) {
	held = make([]net.Conn, count)
	errs := make([]error, dialers)
	var wg sync.WaitGroup
	for d := range dialers {
		wg.Go(func() {
			for i := d; i < count && errs[d] == nil; i += dialers {
				source := net.IPv4(127, 0, byte(1+number), byte(1+i/heldPerAddress))
				held[i], errs[d] = h.idle(ctx, &net.Dialer{Timeout: replyTimeout, LocalAddr: &net.TCPAddr{IP: source}})
			}
		})
	}
	wg.Wait()
	opened := held[:0]
	for _, conn := range held {
		if conn != nil {
			opened = append(opened, conn)
		}
	}
	return opened, summary(errs)
}

// idle opens a connection and says EHLO.
func (h *holder) idle(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	conn, err := h.connect(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := greetIdle(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// greetIdle takes a connection behind EHLO, and keeps no buffer.
func greetIdle(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, kib)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
		return fmt.Errorf("greeting %q: %w", line, errors.Join(err, errNotGreeted))
	}
	if _, err := io.WriteString(conn, "EHLO idle.example.org\r\n"); err != nil {
		return err
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "250") {
			return fmt.Errorf("reply to EHLO %q: %w", line, errors.Join(err, errNotGreeted))
		}
		if strings.HasPrefix(line, "250 ") {
			return nil
		}
	}
}

var errNotGreeted = errors.New("not as expected")
