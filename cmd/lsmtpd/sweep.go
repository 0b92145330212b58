package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lsmtpd/bridge"
	"lsmtpd/objectstore"
)

// sweepLeast is the least age of uploads that sweep removes: what is younger may belong to a message that still comes.
const sweepLeast = time.Hour

func newSweep(c *console) *cobra.Command {
	var (
		remove, asJSON bool
		olderThan      time.Duration
	)
	l := newLoader()
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "List what is left in the store that no message refers to, or may not; with --delete remove what is proved unsent",
		Long: `List, and with --delete remove, what was left in the store: objects that the intents in
spool.dir prove unsent, and uploads that nobody has ended for a long time. Objects of which
it is in doubt whether a broker holds a message that refers to them are listed and stay.

Nothing is inferred from a listing of the bucket, so this is safe beside other instances of
lsmtpd, and other programs, on the same bucket. A running lsmtpd sees to its own unsent
objects; what is in doubt then includes what is under way. MinIO lists uploads by their exact
key only: there, those of the intents alone are found.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, log, err := l.ready(c)
			if err != nil {
				return err
			}
			if err := missing("store.url", s.store.url != "", "file:///var/lib/lsmtpd/objects"); err != nil {
				return usageError{err}
			}
			if olderThan < sweepLeast {
				return usageError{fmt.Errorf("--older-than: %s is too short, an upload may still be under way; want at least %s", olderThan, sweepLeast)}
			}
			store, err := s.openStore()
			if err != nil {
				return usageError{err}
			}
			sweeper := &bridge.Sweeper{Store: store, SpoolDir: s.spool.dir, OlderThan: olderThan, Delete: remove, Logger: log}
			return c.sweep(cmd.Context(), sweeper, asJSON)
		},
	}
	cmd.Flags().BoolVar(&remove, "delete", false, "remove what is unsent, and old uploads")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object for each finding, one a line")
	const days = 48 * time.Hour
	cmd.Flags().DurationVar(&olderThan, "older-than", days, "age of uploads, at least "+sweepLeast.String())
	l.addFlags(cmd.Flags(), "store.", "spool.dir", "log.")
	return cmd
}

// found is a finding in JSON.
type found struct {
	Kind          bridge.FindingKind `json:"kind"`
	TransactionID string             `json:"transactionId"`
	Key           string             `json:"key"`
	Since         time.Time          `json:"since"`
	Deleted       bool               `json:"deleted"`
}

// sweep runs s and prints what it finds.
func (c *console) sweep(ctx context.Context, s *bridge.Sweeper, asJSON bool) error {
	count := map[bridge.FindingKind]int{}
	err := s.Run(ctx, func(f bridge.Finding) {
		count[f.Kind]++
		if asJSON {
			_ = json.NewEncoder(c.out).Encode(found{f.Kind, f.TransactionID, f.Key, f.Since.UTC(), f.Deleted})
			return
		}
		what := ""
		switch {
		case f.Err != nil:
			what = "  not deleted: " + f.Err.Error()
		case f.Deleted:
			what = "  deleted"
		}
		fmt.Fprintf(c.out, "%-8s  %s  %s%s\n", f.Kind, f.Since.UTC().Format("2006-01-02 15:04:05"), f.Key, what)
	})
	if !asJSON {
		fmt.Fprintf(c.out, "%d unsent, %d old uploads, %d in doubt\n", count[bridge.FoundUnsent], count[bridge.FoundUpload], count[bridge.FoundInDoubt])
		if removable := count[bridge.FoundUnsent] + count[bridge.FoundUpload]; removable > 0 && !s.Delete {
			fmt.Fprintln(c.out, "nothing was deleted: --delete removes what is unsent, and old uploads")
		}
	}
	return remedied(err, objectstore.Remedy(err))
}
