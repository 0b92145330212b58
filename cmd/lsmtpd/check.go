package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"lsmtpd/bridge"
	"lsmtpd/bridge/publish"
	"lsmtpd/objectstore"
)

// checkTimeout bounds each connected step.
const checkTimeout = 30 * time.Second

// errCheck is the outcome of a check some step of which failed; the steps have been printed.
var errCheck = errors.New("some steps failed")

func newCheck(c *console) *cobra.Command {
	connect := false
	l := newLoader()
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration; with --connect try every connection and right",
		Long: `Validate the configuration and say what is wrong, where, and what would be right
(exit code 2). With --connect, also try what serving needs: the broker's login, session
and link (nothing is sent), and putting, getting and deleting objects, whole and in
parts (exit code 1 when a step fails).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := l.load(c.environ)
			for _, w := range l.warnings {
				fmt.Fprintln(c.out, "warning:", w)
			}
			if err == nil {
				err = s.check() // only now: a key that could not be read is not missing
			}
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintln(c.out, "the configuration is valid")
			s.printRoutes(c.out)
			s.printRaw(c.out)
			if !s.spools() {
				fmt.Fprintln(c.out, "note: there is no spool: mail that the broker cannot take gets 4xx, and a crash may leave objects behind; spool.dir sets one")
			}
			if !connect {
				return nil
			}
			return s.checkConnections(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "also connect to the broker and the store")
	l.addFlags(cmd.Flags(), "")
	return cmd
}

// check validates everything that can be without connecting or listening, and reports all that is wrong.
func (s *settings) check() error {
	log := s.newLogger(discard{})
	_, publishErr := s.publishConfig(log)
	_, smtpErr := s.smtpConfig(nil, log)
	var storeErr error
	invalid := s.validate()
	if s.store.url != "" && invalid == nil {
		_, storeErr = s.openStore() // finds what validate finds, too
	}
	return errors.Join(invalid, bridge.CheckConfig(s.bridgeConfig(nil)), publishErr, smtpErr, storeErr, s.checkSpool())
}

// report prints the steps of a check as they end.
type report struct {
	out    io.Writer
	failed bool
}

func (r *report) step(name string, err error, remedy string) {
	if err == nil {
		fmt.Fprintf(r.out, "ok      %s\n", name)
		return
	}
	r.failed = true
	fmt.Fprintf(r.out, "FAILED  %s: %v\n", name, remedied(err, remedy))
}

// note prints what the steps could not show.
func (r *report) note(text string) { fmt.Fprintf(r.out, "note    %s\n", text) }

// checkConnections tries the broker and the store step by step and prints each.
func (s *settings) checkConnections(ctx context.Context, c *console) error {
	r := &report{out: c.out}
	s.checkBroker(ctx, r)
	s.checkStore(ctx, r)
	if r.failed {
		return errCheck
	}
	return nil
}

func (s *settings) checkBroker(ctx context.Context, r *report) {
	cfg, err := s.publishConfig(s.newLogger(discard{}))
	if err != nil {
		r.step("broker: settings", err, "")
		return
	}
	dialing, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	conn, err := publish.Dial(dialing, cfg)
	r.step("broker: connect and log in", err, publish.Remedy(err))
	if err != nil {
		return
	}
	defer conn.Close()
	addresses := s.routeTable().Addresses()
	for _, address := range addresses {
		checkAddress(ctx, r, cfg, conn, address)
	}
	if len(addresses) == 0 {
		r.note("broker: no route has an address without {rcpt.domain} to attach to")
	}
}

func checkAddress(ctx context.Context, r *report, cfg publish.Config, conn *amqp.Conn, address string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := publish.TryLink(ctx, cfg, conn, address)
	r.step(fmt.Sprintf("broker: attach to %q", address), err, publish.Remedy(err))
	if err == nil {
		for _, caveat := range publish.Caveats(cfg, conn, address) {
			r.note("broker: " + caveat)
		}
	}
}

func (s *settings) checkStore(ctx context.Context, r *report) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	store, err := s.openStore()
	if err != nil {
		r.step("store: settings", err, "")
		return
	}
	key := "check-" + uuid.Must(uuid.NewV7()).String()
	_ = objectstore.Probe(ctx, store, key, func(name string, err error) {
		r.step("store: "+name, err, objectstore.Remedy(err))
	})
}
