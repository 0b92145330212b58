package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/emersion/go-smtp"
	"github.com/spf13/cobra"
)

// sendOptions say where and how a message is sent.
type sendOptions struct {
	server        string
	startTLS      bool
	skipVerify    bool
	from          string
	to            []string
	subject, text string
	files         []string
	size          string
}

const (
	sendDialTimeout = 10 * time.Second
	// sendReplyTimeout is how long the reply to the end of data may take: RFC 5321 §4.5.3.2.6 says 10 minutes.
	sendReplyTimeout = 10 * time.Minute
)

func newSend(c *console) *cobra.Command {
	o := &sendOptions{}
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send a test message of any size",
		Example: `  lsmtpd send --to in@example.com
  lsmtpd send --to in@example.com --attach scan.pdf
  lsmtpd send --to in@example.com --size 500MB`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := o.compose()
			if err != nil {
				return usageError{err}
			}
			reply, err := o.send(cmd.Context(), m, c.err)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, reply)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "127.0.0.1:2525", "`HOST:PORT` to send to")
	f.BoolVar(&o.startTLS, "starttls", false, "use STARTTLS")
	f.BoolVar(&o.skipVerify, "insecure", false, "do not verify the server's certificate")
	f.StringVar(&o.from, "from", "test@example.org", "reverse-path; empty for the null one")
	f.StringSliceVar(&o.to, "to", []string{"test@example.com"}, "recipients")
	f.StringVar(&o.subject, "subject", "A test message from lsmtpd", "subject")
	f.StringVar(&o.text, "text", "This is a test message.\n", "text body")
	f.StringSliceVar(&o.files, "attach", nil, "`files` to attach")
	f.StringVar(&o.size, "size", "", "also attach so many generated octets, as 200MB")
	return cmd
}

func (o *sendOptions) compose() (*composition, error) {
	m := &composition{from: o.from, to: o.to, subject: o.subject, text: o.text}
	if len(o.to) == 0 {
		return nil, errors.New("--to: missing; give at least one recipient")
	}
	if err := isHostPort(o.server); err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	for _, path := range o.files {
		a, err := fileAttachment(path)
		if err != nil {
			return nil, fmt.Errorf("--attach: %w", err)
		}
		m.attachments = append(m.attachments, a)
	}
	if o.size != "" {
		n, err := humanize.ParseBytes(o.size)
		if err != nil || n > 1<<50 {
			return nil, fmt.Errorf("--size: %q is not a size; want octets, as 65536, 64KiB or 200MB", o.size)
		}
		m.attachments = append(m.attachments, randomAttachment("generated.bin", int64(n), 1))
	}
	return m, nil
}

// send sends m and returns the server's reply to the end of data.
func (o *sendOptions) send(ctx context.Context, m *composition, terminal io.Writer) (string, error) {
	client, err := o.connect(ctx)
	if err != nil {
		return "", err
	}
	// A context that ends closes the connection, which ends every wait below.
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	defer client.Close()
	if err := client.Mail(o.from, nil); err != nil {
		return "", fmt.Errorf("MAIL FROM:<%s>: %w", o.from, err)
	}
	for _, rcpt := range o.to {
		if err := client.Rcpt(rcpt, nil); err != nil {
			return "", fmt.Errorf("RCPT TO:<%s>: %w", rcpt, err)
		}
	}
	data, err := client.Data()
	if err != nil {
		return "", fmt.Errorf("DATA: %w", err)
	}
	bar := progress(terminal, "sending", m.octets())
	if err := m.write(data, bar); err != nil {
		return "", fmt.Errorf("send the message: %w", err)
	}
	if err := bar.Close(); err != nil {
		return "", err
	}
	reply, err := data.CloseWithResponse()
	if err != nil {
		return "", fmt.Errorf("end of data: %w", err)
	}
	_ = client.Quit() // the mail is accepted: how the session ends changes nothing
	return "250 " + reply.StatusText, nil
}

func (o *sendOptions) connect(ctx context.Context) (*smtp.Client, error) {
	dialer := net.Dialer{Timeout: sendDialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", o.server)
	if err != nil {
		return nil, fmt.Errorf("--server: %w; does lsmtpd listen there?", err)
	}
	var client *smtp.Client
	if o.startTLS {
		host, _, _ := net.SplitHostPort(o.server)
		client, err = smtp.NewClientStartTLS(conn, &tls.Config{ServerName: host, InsecureSkipVerify: o.skipVerify}) //nolint:gosec // asked for by a flag
	} else {
		client = smtp.NewClient(conn)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("STARTTLS: %w", err), conn.Close())
	}
	client.SubmissionTimeout = sendReplyTimeout
	return client, nil
}
