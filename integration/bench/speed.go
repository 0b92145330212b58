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
	"slices"
	"text/tabwriter"
	"time"

	"github.com/emersion/go-smtp"
)

// What "speed" sends.
const (
	speedOctets      = 200 * mb // of the attachment
	speedRounds      = 3        // of everything; the median is printed
	smallOctets      = 2 << 10
	smallConnections = 16
	smallMails       = 1000 // on each connection, in each round
)

// speed measures lsmtpd beside ceilings and prints the ratios.
func speed(ctx context.Context, args []string, out, diag io.Writer) (err error) {
	flags := flag.NewFlagSet("speed", flag.ContinueOnError)
	program := flags.String("lsmtpd", "", "program to measure (default: built from this checkout)")
	if err := parse(flags, args, diag); err != nil {
		return err
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
	b, err := startBench(ctx, *program, directoryStore(dir), smallConnections)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "load\tunit\tceiling\tlsmtpd\tratio\t\n")
	if err := largeMail(ctx, b, table, diag); err != nil {
		return err
	}
	if err := smallMail(ctx, b, table, diag); err != nil {
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, `Medians of %d rounds, ceiling and lsmtpd in turn. The ceiling of the large mail: the same octets over loopback TCP
into a reader that hashes them with SHA-256. That of small mail: a bare go-smtp server that discards. lsmtpd: default
settings, directory store, a node in the memory of this command, which shares the processors.
`, speedRounds)
	return nil
}

// largeMail compares octets per second.
func largeMail(ctx context.Context, b *bench, table, diag io.Writer) error {
	m := attachmentMessage(speedOctets)
	size := m.size()
	fmt.Fprintf(diag, "an attachment of %d MB, %d times ...\n", speedOctets/mb, speedRounds)
	var ceiling, ours []float64
	for range speedRounds {
		took, err := hashOverTCP(ctx, m)
		if err != nil {
			return fmt.Errorf("ceiling: %w", err)
		}
		ceiling = append(ceiling, float64(size)/mb/took.Seconds())
		took, err = sendAll(ctx, b.smtp, 1, 1, m)
		if err == nil {
			err = b.took(ctx, 1)
		}
		if err != nil {
			return fmt.Errorf("large mail: %w\nthe log of lsmtpd ends\n%s", err, b.lsmtpd.log)
		}
		ours = append(ours, float64(size)/mb/took.Seconds())
	}
	printRatio(table, fmt.Sprintf("%d MB attachment", speedOctets/mb), "wire MB/s", ceiling, ours)
	return nil
}

// smallMail compares mails per second.
func smallMail(ctx context.Context, b *bench, table, diag io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return discard{}, nil }))
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	defer func() {
		_ = server.Close() // ends Serve, which closes the listener
		<-served
	}()
	m := smallMessage(smallOctets)
	mails := smallConnections * smallMails
	fmt.Fprintf(diag, "%d mails of 2 KB on %d connections, %d times ...\n", mails, smallConnections, speedRounds)
	var ceiling, ours []float64
	for range speedRounds {
		took, err := sendAll(ctx, ln.Addr().String(), smallConnections, smallMails, m)
		if err != nil {
			return fmt.Errorf("ceiling: %w", err)
		}
		ceiling = append(ceiling, float64(mails)/took.Seconds())
		took, err = sendAll(ctx, b.smtp, smallConnections, smallMails, m)
		if err == nil {
			err = b.took(ctx, mails)
		}
		if err != nil {
			return fmt.Errorf("small mail: %w\nthe log of lsmtpd ends\n%s", err, b.lsmtpd.log)
		}
		ours = append(ours, float64(mails)/took.Seconds())
	}
	printRatio(table, fmt.Sprintf("2 KB mails, %d connections", smallConnections), "mails/s", ceiling, ours)
	return nil
}

func printRatio(w io.Writer, load, unit string, ceiling, ours []float64) {
	slices.Sort(ceiling)
	slices.Sort(ours)
	c, o := ceiling[len(ceiling)/2], ours[len(ours)/2]
	fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.2f\t\n", load, unit, c, o, o/c)
}

// hashOverTCP writes the message to a TCP connection whose reader hashes it, and returns the time to the reader's answer.
func hashOverTCP(ctx context.Context, m message) (time.Duration, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	hashed := make(chan error, 1)
	go func() { hashed <- hashOne(ln) }()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		err = errors.Join(err, ln.Close())
		<-hashed
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	begun := time.Now()
	w := bufio.NewWriterSize(conn, writeBuffer)
	m(w)
	err = errors.Join(w.Flush(), conn.Close())
	err = errors.Join(err, <-hashed, ln.Close())
	return time.Since(begun), err
}

// hashOne accepts a connection and hashes what comes over it.
func hashOne(ln net.Listener) error {
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	// A struct of the reader alone: the connection must not be given a buffer of its own choice.
	_, err = io.CopyBuffer(sha256.New(), struct{ io.Reader }{conn}, make([]byte, writeBuffer))
	return errors.Join(err, conn.Close())
}

// discard is an SMTP session that takes everything and keeps nothing.
type discard struct{}

func (discard) Mail(string, *smtp.MailOptions) error { return nil }
func (discard) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (discard) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }
func (discard) Reset()                               {}
func (discard) Logout() error                        { return nil }
