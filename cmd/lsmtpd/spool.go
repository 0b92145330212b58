package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lsmtpd/bridge/spool"
)

// spools reports whether a spool is configured.
func (s *settings) spools() bool { return s.spool.dir != "" && s.spool.mode != spoolOff }

// checkSpool reports a directory that cannot be a spool.
func (s *settings) checkSpool() error {
	if !s.spools() {
		return nil
	}
	if err := spool.Check(s.spool.dir); err != nil {
		return fmt.Errorf("spool.dir: %w", remedied(err, spoolRemedy(err)))
	}
	return nil
}

// spoolRemedy says what would be right where a directory cannot be used, and the error does not say so itself.
func spoolRemedy(err error) string {
	switch {
	case errors.Is(err, spool.ErrInUse):
		return "want a directory of its own for each lsmtpd"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "want room on its disk: some MiB for the journal, and what messages need"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return "want a directory that lsmtpd may write to"
	}
	return ""
}

// openSpool opens the configured spool, nil where there is none.
func (s *settings) openSpool(log *slog.Logger) (*spool.Spool, error) {
	if !s.spools() {
		s.warnOfSpooled(log)
		return nil, nil
	}
	sp, err := spool.Open(spool.Config{
		Dir: s.spool.dir, MaxBytes: s.spool.maxBytes, MaxMessages: s.spool.maxMessages, MinFreeBytes: s.spool.minFreeBytes, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("spool.dir: %w", remedied(err, spoolRemedy(err)))
	}
	if st := sp.Stats(); st.Waiting+st.Failed > 0 {
		log.Info("the spool is not empty", "waiting", st.Waiting, "failed", st.Failed, "octets", st.Bytes+st.FailedBytes)
	}
	return sp, nil
}

// warnOfSpooled warns of mail in a directory that is not used as a spool any more.
func (s *settings) warnOfSpooled(log *slog.Logger) {
	if s.spool.dir == "" {
		return
	}
	n := 0
	// A directory that cannot be read is not needed either.
	_ = spool.Look(s.spool.dir, func(spool.File) error { n++; return nil })
	if n > 0 {
		log.Warn("spool.mode is off, and there is mail in spool.dir, which is not delivered", "records", n)
	}
}

// spooler is the commands that look at a spool directory, or ask something of its owner.
type spooler struct {
	console *console
	json    bool
	all     bool
	out     string
}

func newSpool(c *console) *cobra.Command {
	p := &spooler{console: c}
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Look at the mail in the spool, have it tried again, removed or exported",
		Long: `Look at the mail in the spool directory (spool.dir), beside a running lsmtpd or without one.
Retry and rm are carried out by the lsmtpd that serves on the directory, or by the next one.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("spool: what? one of ls, show, retry, rm, export")}
			}
			return usageError{fmt.Errorf("spool: unknown command %q; want one of ls, show, retry, rm, export", args[0])}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	ls := p.command("ls", "List the records: those that wait, and those that were set aside", cobra.NoArgs, p.list)
	ls.Flags().BoolVar(&p.json, "json", false, "a JSON object for each, one a line")
	show := p.command("show ID…", "Show all that a record says beside the message", cobra.MinimumNArgs(1), p.show)
	retry := p.command("retry ID…", "Have records tried again that were set aside", cobra.ArbitraryArgs, p.retry)
	retry.Flags().BoolVar(&p.all, "all", false, "all that were set aside")
	rm := p.command("rm ID…", "Have records removed, undelivered; their objects stay in the store, and sweep lists them", cobra.MinimumNArgs(1), p.remove)
	export := p.command("export ID…", "Write messages to files: .eml as received, or .json as published", cobra.MinimumNArgs(1), p.export)
	export.Flags().StringVar(&p.out, "out", ".", "`directory` to write to; made where it is missing")
	cmd.AddCommand(ls, show, retry, rm, export)
	return cmd
}

// command makes a subcommand that works on the configured directory.
func (p *spooler) command(use, short string, args cobra.PositionalArgs, run func(dir string, ids []string) error) *cobra.Command {
	l := newLoader()
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, list []string) error {
			if err := args(cmd, list); err != nil {
				return usageError{fmt.Errorf("%s: %w; want %s, ids as spool ls shows them", cmd.CommandPath(), err, use)}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, ids []string) error {
			s, _, err := l.ready(p.console)
			if err != nil {
				return err
			}
			if err := missing("spool.dir", s.spool.dir != "", "/var/lib/lsmtpd/spool"); err != nil {
				return usageError{err}
			}
			return run(s.spool.dir, ids)
		},
	}
	l.addFlags(cmd.Flags(), "spool.dir", "log.")
	return cmd
}

// listed is a record as ls shows it.
type listed struct {
	ID            string    `json:"id"`
	Kind          string    `json:"kind"`
	State         string    `json:"state"`
	TransactionID string    `json:"transactionId"`
	Addresses     []string  `json:"addresses"`
	ReceivedAt    time.Time `json:"receivedAt"`
	Octets        int64     `json:"octets"`
	Tries         int       `json:"tries"`
	Sent          bool      `json:"sent"`
	Error         string    `json:"error"`
}

func newListed(f spool.File) listed {
	id, kind, _ := strings.Cut(f.Name, ".")
	l := listed{ID: id, Kind: kind, State: string(f.Place), Octets: f.Size, Addresses: []string{}}
	if f.Record == nil {
		l.Error = f.Err.Error()
		return l
	}
	l.TransactionID, l.ReceivedAt, l.Sent = f.Record.TransactionID, f.Record.ReceivedAt, f.Record.Sent()
	l.Tries, l.Error = f.Record.Tries()
	for _, d := range f.Record.Deliveries {
		l.Addresses = append(l.Addresses, d.Address)
	}
	return l
}

func (p *spooler) list(dir string, _ []string) error {
	n := 0
	err := spool.Look(dir, func(f spool.File) error {
		n++
		l := newListed(f)
		if p.json {
			return json.NewEncoder(p.console.out).Encode(l)
		}
		last := ""
		if l.Error != "" {
			last = "  " + harmless(l.Error)
		}
		_, err := fmt.Fprintf(p.console.out, "%s  %-8s  %-7s  %s  %9s  %3d tries  %s%s\n", l.ID, l.Kind, l.State,
			l.ReceivedAt.Format("2006-01-02 15:04:05"), size(l.Octets), l.Tries, harmless(strings.Join(l.Addresses, ",")), last)
		return err
	})
	if err == nil && n == 0 && !p.json {
		_, err = fmt.Fprintln(p.console.out, "the spool is empty")
	}
	return spoolFailed(err)
}

// show prints records as JSON for people.
func (p *spooler) show(dir string, ids []string) error {
	return p.each(dir, ids, func(f spool.File) error {
		about := map[string]any{"record": newListed(f)}
		if r := f.Record; r != nil {
			about["header"], about["notes"], about["messageOctets"] = r.Header, r.Notes, r.Size
			damage := r.Verify()
			if r.Kind == spool.Prepared && damage == nil {
				m, err := r.Message()
				if damage = err; err == nil {
					about["envelope"], about["subject"], about["blobs"] = m.Envelope, m.Email.Subject, stored(m)
				}
			}
			if damage != nil {
				about["damage"] = damage.Error()
			}
		}
		e := json.NewEncoder(p.console.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(about)
	})
}

func (p *spooler) retry(dir string, ids []string) error {
	if p.all == (len(ids) > 0) {
		return usageError{errors.New("spool retry: want ids, as spool ls shows them, or --all")}
	}
	if p.all {
		if err := spool.Look(dir, func(f spool.File) error {
			if f.Place == spool.Failed && f.Record != nil {
				ids = append(ids, f.Name)
			}
			return nil
		}); err != nil {
			return spoolFailed(err)
		}
	}
	return p.asked(dir, ids, "is tried again", spool.AskRetry)
}

func (p *spooler) remove(dir string, ids []string) error {
	return p.asked(dir, ids, "is removed", spool.AskRemove)
}

// asked asks the owner of the directory for something, for each record.
func (p *spooler) asked(dir string, ids []string, what string, ask func(string, spool.File) error) error {
	owned, err := spool.Owned(dir)
	if err != nil {
		return spoolFailed(err)
	}
	when := "when lsmtpd serves the next time"
	if owned {
		when = "within seconds"
	}
	return p.each(dir, ids, func(f spool.File) error {
		if err := ask(dir, f); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.console.out, "%s %s %s\n", f.Name, what, when)
		return err
	})
}

// each calls f for the record of every id, and goes on after an error.
func (p *spooler) each(dir string, ids []string, f func(spool.File) error) error {
	var errs []error
	for _, id := range slices.Compact(ids) {
		errs = append(errs, spool.Find(dir, id, f))
	}
	return spoolFailed(errors.Join(errs...))
}

// spoolFailed says what would be right where a record or a directory is not there.
func spoolFailed(err error) error {
	if errors.Is(err, spool.ErrNoRecord) {
		return remedied(err, "lsmtpd spool ls lists them")
	}
	return err
}
