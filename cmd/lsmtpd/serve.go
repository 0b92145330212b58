package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"lsmtpd/bridge"
)

func newServe(c *console, force context.Context) *cobra.Command {
	l := newLoader()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive mail until SIGTERM or SIGINT",
		Long: `Receive mail until SIGTERM or SIGINT. Then running transactions finish within
shutdown_timeout; a second signal ends them at once.

On SIGHUP the configuration is read again, and new routes take effect.

Every setting is a flag here, a key of the configuration file, and an environment
variable (smtp.listen is LSMTPD_SMTP_LISTEN). Flags win over the environment, it
over the file. Secrets are never flags: LSMTPD_BROKER_PASSWORD and
LSMTPD_STORE_SECRET_KEY, or a file named by the same with _FILE behind.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, log, err := l.ready(c)
			if err != nil {
				return err
			}
			in, err := newInstance(s, log)
			if err != nil {
				return err
			}
			warnExposed(s, log)
			log.Info("lsmtpd serves", "version", version(), "broker_address", s.broker.address, "store", s.store.url)
			if in.admin != nil {
				log.Info("listening", "endpoint", "http://"+in.admin.Addr().String())
			}
			watching, end := context.WithCancel(cmd.Context())
			var wg sync.WaitGroup
			wg.Go(func() { l.reloadOnHangup(watching, c, in.bridge, log) })
			err = in.run(cmd.Context(), force)
			end()
			wg.Wait()
			log.Info("lsmtpd stopped")
			return err
		},
	}
	l.addFlags(cmd.Flags(), "")
	return cmd
}

// reloadOnHangup puts the routes of the configuration into force again on every SIGHUP, until ctx ends.
func (l *loader) reloadOnHangup(ctx context.Context, c *console, b *bridge.Bridge, log *slog.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		s, restart, err := l.reload(c.environ)
		if err != nil {
			log.Error("the configuration is wrong, what is in force stays", "error", err)
			continue
		}
		b.SetRoutes(s.routeTable())
		log.Info("routes read again", "routes", len(s.routes))
		if len(restart) > 0 {
			log.Warn("other settings have changed and need a restart", "keys", restart)
		}
	}
}

// ready loads the settings and makes the logger. Warnings go to the log.
func (l *loader) ready(c *console) (*settings, *slog.Logger, error) {
	s, err := l.load(c.environ)
	if err != nil {
		return nil, nil, usageError{err}
	}
	log := s.newLogger(c.err)
	for _, w := range l.warnings {
		log.Warn("configuration", "warning", w)
	}
	return s, log, nil
}

// warnExposed warns of listeners that others can reach and that take mail from anybody for anybody.
func warnExposed(s *settings, log *slog.Logger) {
	if len(s.smtp.allow) > 0 || s.smtp.auth.required {
		return
	}
	for _, e := range s.smtp.listen {
		if !e.Loopback() {
			log.Warn("this listener takes mail from whoever can reach it, for any recipient; set smtp.allow or smtp.auth.required", "endpoint", e.String())
		}
	}
}
