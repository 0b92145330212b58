package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
)

func newServe(c *console, force context.Context) *cobra.Command {
	l := newLoader()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive mail until SIGTERM or SIGINT",
		Long: `Receive mail until SIGTERM or SIGINT. Then running transactions finish within
shutdown_timeout; a second signal ends them at once.

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
			err = in.run(cmd.Context(), force)
			log.Info("lsmtpd stopped")
			return err
		},
	}
	l.addFlags(cmd.Flags(), "")
	return cmd
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
