package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newTail(c *console) *cobra.Command {
	var (
		asJSON bool
		count  int
	)
	l := newLoader()
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Consume published messages and print them",
		Long: `Consume published messages from broker.address and print them, until interrupted
or until --count. What was printed is accepted, and gone from the queue.`,
		Example: `  lsmtpd tail --broker.url amqp://127.0.0.1:5672 --broker.address mail
  lsmtpd tail --config lsmtpd.yaml --json | jq .email.subject`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, log, err := l.ready(c)
			if err != nil {
				return err
			}
			if err := errors.Join(append(s.validateBroker(), missing("broker.address", s.broker.address != "", "mail"))...); err != nil {
				return usageError{err}
			}
			if count < 0 {
				return usageError{fmt.Errorf("--count: %d is negative; want 0 for no end, or a number", count)}
			}
			from, err := s.consume(cmd.Context(), count, log)
			if err != nil {
				return err
			}
			defer from.close()
			return tail(cmd.Context(), c, from, count, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each message as a line of JSON")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after so many messages")
	l.addFlags(cmd.Flags(), "broker.", "log.")
	return cmd
}

// tail prints messages until ctx ends or count of them are printed; 0 means no end.
func tail(ctx context.Context, c *console, from *consumer, count int, asJSON bool) error {
	for n := 0; count == 0 || n < count; {
		m, raw, err := from.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errForeign):
			fmt.Fprintf(c.err, "lsmtpd: %v\n", err)
			continue
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		if asJSON {
			e := json.NewEncoder(c.out)
			e.SetEscapeHTML(false)
			err = e.Encode(m)
		} else {
			err = show(c.out, m)
		}
		if err != nil {
			return fmt.Errorf("print: %w", err) // not accepted: the message stays in the queue
		}
		if err := from.accept(ctx, raw); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		n++
	}
	return nil
}
