package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lsmtpd/bridge"
	"lsmtpd/bridge/admin"
	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/smtpd"
	"lsmtpd/bridge/spool"
	"lsmtpd/extract"
	"lsmtpd/objectstore"
)

// instance is a configured lsmtpd, listening, not yet running.
type instance struct {
	settings  *settings
	store     objectstore.Store
	publisher *publish.Publisher
	spool     *spool.Spool // nil without one
	bridge    *bridge.Bridge
	smtp      *smtpd.Server
	admin     *admin.Server // nil when off
}

// validate reports what is wrong with settings that are right one by one.
func (s *settings) validate() error {
	errs := append(s.validateBroker(), s.validateRoutes(), s.validateRaw())
	errs = append(errs, missing("store.url", s.store.url != "", "file:///var/lib/lsmtpd/objects"))
	errs = append(errs, missing("smtp.listen", len(s.smtp.listen) > 0, "smtp://127.0.0.1:2525"))
	if (s.smtp.tls.certFile == "") != (s.smtp.tls.keyFile == "") {
		errs = append(errs, errors.New("smtp.tls.cert_file and smtp.tls.key_file: one is set without the other; set both or none"))
	}
	if s.smtp.tls.required && s.smtp.tls.certFile == "" {
		errs = append(errs, errors.New("smtp.tls.required: needs smtp.tls.cert_file and smtp.tls.key_file"))
	}
	if s.smtp.tls.clientCAFile != "" && s.smtp.tls.certFile == "" {
		errs = append(errs, errors.New("smtp.tls.client_ca_file: needs smtp.tls.cert_file and smtp.tls.key_file"))
	}
	if s.smtp.auth.required && s.smtp.auth.usersFile == "" && s.smtp.tls.clientCAFile == "" {
		errs = append(errs, errors.New("smtp.auth.required: needs smtp.auth.users_file or smtp.tls.client_ca_file"))
	}
	if s.smtp.auth.usersFile != "" && s.smtp.tls.certFile == "" && !s.smtp.auth.allowInsecure {
		errs = append(errs, errors.New("smtp.auth.users_file: nobody could use AUTH without TLS; set smtp.tls.cert_file and smtp.tls.key_file, or smtp.auth.allow_insecure"))
	}
	if s.smtp.timeout.reply < s.broker.settleTimeout {
		errs = append(errs, fmt.Errorf("smtp.reply_timeout: %s is less than broker.settle_timeout, %s; raise the one or lower the other", s.smtp.timeout.reply, s.broker.settleTimeout))
	}
	for _, e := range s.smtp.listen {
		if e.Scheme == "smtps" && s.smtp.tls.certFile == "" {
			errs = append(errs, fmt.Errorf("smtp.listen: %s needs smtp.tls.cert_file and smtp.tls.key_file", e))
		}
	}
	if s.store.partBytes > s.store.memory {
		errs = append(errs, fmt.Errorf("store.part_bytes: %d octets do not fit into store.memory, %d octets; lower the one or raise the other", s.store.partBytes, s.store.memory))
	}
	if s.spool.mode == spoolAlways && s.spool.dir == "" {
		errs = append(errs, missing("spool.dir", false, "/var/lib/lsmtpd/spool; spool.mode always needs it"))
	}
	// The default does not stand in the way of a short settle_timeout, which ends the wait anyway.
	if s.spool.after > max(s.broker.settleTimeout, defaultSpoolAfter) {
		errs = append(errs, fmt.Errorf("spool.after: %s is more than broker.settle_timeout, %s; raise the one or lower the other", s.spool.after, s.broker.settleTimeout))
	}
	if (s.store.accessKey == "") != (s.store.secretKey == "") {
		errs = append(errs, errors.New("store.access_key and store.secret_key: one is set without the other; set both, or none for the standard credential chain"))
	}
	return errors.Join(errs...)
}

// validateBroker is validate for what consumers need, too. There may be nils among the errors.
func (s *settings) validateBroker() []error {
	errs := []error{
		missing("broker.url", len(s.broker.url) > 0, "amqp://127.0.0.1:5672"),
	}
	if (s.broker.tls.certFile == "") != (s.broker.tls.keyFile == "") {
		errs = append(errs, errors.New("broker.tls.cert_file and broker.tls.key_file: one is set without the other; set both or none"))
	}
	hasUser := func(u *url.URL) bool { return u.User != nil }
	if s.broker.password != "" && s.broker.username == "" && !slices.ContainsFunc(s.broker.url, hasUser) {
		errs = append(errs, errors.New("broker.password: is set without broker.username; set both or none"))
	}
	return errs
}

// missing is the error for a setting that is needed, nil where it is given.
func missing(name string, given bool, example string) error {
	if given {
		return nil
	}
	return fmt.Errorf("%s: missing; set it, as in %s", name, example)
}

// newInstance opens the listeners of what settings describe. It connects to
// nothing: that a broker or a store is away shows in the log and in /readyz.
// Its errors are usageErrors.
func newInstance(s *settings, log *slog.Logger) (*instance, error) {
	in, err := openInstance(s, log)
	if err != nil {
		return nil, usageError{err}
	}
	return in, nil
}

func openInstance(s *settings, log *slog.Logger) (_ *instance, err error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	in := &instance{settings: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.closeSpool())
		}
	}()
	publishConfig, err := s.publishConfig(log)
	if err != nil {
		return nil, err
	}
	pool, err := objectstore.NewPool(s.store.memory)
	if err != nil {
		return nil, err
	}
	if in.store, err = objectstore.Open(s.storeConfig(pool)); err != nil {
		return nil, err
	}
	if in.spool, err = s.openSpool(log); err != nil {
		return nil, err
	}
	in.publisher = publish.New(publishConfig)
	reg := prometheus.NewRegistry()
	prometheus.WrapRegistererWithPrefix("lsmtpd_", reg).MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if in.bridge, err = bridge.New(s.bridgeConfig(in.spool), in.publisher, in.store, reg, log); err != nil {
		return nil, err
	}
	in.registerGauges(reg, pool)
	smtpConfig, err := s.smtpConfig(reg, log)
	if err != nil {
		return nil, err
	}
	backend := func(ctx context.Context, p bridge.Peer) smtpd.Session { return in.bridge.NewSession(ctx, p) }
	if in.smtp, err = smtpd.Listen(smtpConfig, backend); err != nil {
		return nil, err
	}
	if s.adminListen != "" {
		if in.admin, err = admin.Listen(s.adminListen, reg, in.readiness, log); err != nil {
			return nil, errors.Join(err, in.smtp.Close())
		}
	}
	return in, nil
}

// run serves until ctx ends, and then as long as running transactions need, at most until force ends.
func (in *instance) run(ctx, force context.Context) error {
	// What transactions need outlives the listeners.
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	wg.Go(func() { in.publisher.Run(background) })
	wg.Go(func() { in.bridge.Run(background) })
	var adminErr error
	if in.admin != nil {
		wg.Go(func() { adminErr = in.admin.Run(background) })
	}
	err := in.smtp.Run(ctx, force)
	end()
	wg.Wait()
	return errors.Join(err, adminErr, in.closeSpool())
}

// closeSpool gives the spool directory up.
func (in *instance) closeSpool() error {
	if in.spool == nil {
		return nil
	}
	return in.spool.Close()
}

// readiness is the answer of /readyz.
func (in *instance) readiness() admin.Readiness {
	reason := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	broker, full := in.bridge.BrokerHealth(), in.bridge.SpoolHealth()
	return admin.Readiness{
		Ready:  broker == nil || in.spool != nil && full == nil,
		Broker: reason(cmp.Or(broker, in.bridge.BrokerRefusal())), Store: reason(in.bridge.StoreHealth()), Spool: reason(full),
	}
}

func (s *settings) storeConfig(pool *objectstore.Pool) objectstore.Config {
	return objectstore.Config{URL: s.store.url, AccessKey: s.store.accessKey, SecretKey: string(s.store.secretKey), PartBytes: s.store.partBytes, Pool: pool}
}

func (s *settings) bridgeConfig(sp *spool.Spool) bridge.Config {
	return bridge.Config{
		Hostname: s.smtp.hostname, Address: s.broker.address, Routes: s.routeTable(),
		MaxMessageBytes: s.smtp.maxMessageBytes, MaxRecipients: int(s.smtp.maxRecipients),
		OffloadThreshold: s.message.offloadThreshold, MaxInlineBytes: s.message.maxInlineBytes,
		Limits: extract.Limits{MaxHeaderBytes: s.message.maxHeaderBytes, MaxParts: int(s.message.maxParts), MaxDepth: int(s.message.maxDepth)},
		Memory: s.message.memory, Digest: s.message.digest == "sha256", StoreRaw: s.message.raw == rawStore,
		Bounce: s.broker.onReject == "bounce", SettleTimeout: s.broker.settleTimeout, MaxPublishBytes: s.broker.maxMessageBytes,
		Spool: sp, SpoolAlways: sp != nil && s.spool.mode == spoolAlways, SpoolMaxTries: int(s.spool.maxTries), SpoolAfter: s.spool.after,
	}
}

func (s *settings) smtpConfig(reg prometheus.Registerer, log *slog.Logger) (smtpd.Config, error) {
	t := &s.smtp.timeout
	cfg := smtpd.Config{
		Listen: s.smtp.listen, Hostname: s.smtp.hostname,
		MaxMessageBytes: s.smtp.maxMessageBytes, MaxRecipients: int(s.smtp.maxRecipients),
		MaxConnections: int(s.smtp.maxConnections), MaxConnectionsPerIP: int(s.smtp.maxConnectionsPerIP),
		MaxTransactions: int(s.smtp.maxTransactions), MaxCommands: int(s.smtp.maxCommands), MaxErrors: int(s.smtp.maxErrors),
		AcceptBareNewlines: s.smtp.bareNewlines == "accept",
		CommandTimeout:     t.command, HandshakeTimeout: t.handshake, DataTimeout: t.data, WriteTimeout: t.write, ReplyTimeout: t.reply,
		MinRate: s.smtp.minRate, DrainBytes: s.smtp.drainBytes, DrainTimeout: t.drain, ShutdownTimeout: s.shutdownTimeout,
		TLSRequired: s.smtp.tls.required, AuthRequired: s.smtp.auth.required,
		AllowInsecureAuth: s.smtp.auth.allowInsecure, MaxAuthAttempts: int(s.smtp.auth.maxAttempts),
		Allow: smtpd.NewRecipients(s.smtp.allow), ProxyFrom: s.smtp.proxyFrom, XclientFrom: s.smtp.xclientFrom,
		Logger: log, Registry: reg,
	}
	var err error
	if s.smtp.tls.certFile != "" && s.smtp.tls.keyFile != "" {
		files := smtpd.TLSConfig{CertFile: s.smtp.tls.certFile, KeyFile: s.smtp.tls.keyFile, ClientCAFile: s.smtp.tls.clientCAFile}
		if files.MinVersion, err = smtpd.ParseTLSVersion(s.smtp.tls.minVersion); err != nil {
			return cfg, fmt.Errorf("smtp.tls.min_version: %w", err)
		}
		if cfg.TLS, err = smtpd.OpenTLS(files, log); err != nil {
			return cfg, err
		}
	}
	if s.smtp.auth.usersFile != "" {
		users, err := smtpd.OpenUsers(s.smtp.auth.usersFile, log)
		if err != nil {
			return cfg, err
		}
		cfg.Users = users
	}
	return cfg, nil
}

// publishConfig also serves the commands that consume.
func (s *settings) publishConfig(log *slog.Logger) (publish.Config, error) {
	cfg := publish.Config{
		URLs: s.broker.url, Username: s.broker.username, Password: string(s.broker.password),
		Capability: s.broker.capability, ContainerID: fmt.Sprintf("lsmtpd-%s-%d", s.smtp.hostname, os.Getpid()), Logger: log,
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.broker.tls.serverName},
	}
	if s.broker.tls.caFile != "" {
		pem, err := os.ReadFile(s.broker.tls.caFile)
		if err != nil {
			return cfg, fmt.Errorf("broker.tls.ca_file: %w", err)
		}
		cfg.TLS.RootCAs = x509.NewCertPool()
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return cfg, fmt.Errorf("broker.tls.ca_file: no certificate in %s; want PEM", s.broker.tls.caFile)
		}
	}
	if s.broker.tls.certFile != "" && s.broker.tls.keyFile != "" {
		cert, err := tls.LoadX509KeyPair(s.broker.tls.certFile, s.broker.tls.keyFile)
		if err != nil {
			return cfg, fmt.Errorf("broker.tls.cert_file, broker.tls.key_file: %w; want a certificate and its key in PEM", err)
		}
		cfg.TLS.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// newLogger logs to w as the settings say.
func (s *settings) newLogger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.log.level)); err != nil {
		level = slog.LevelInfo // the key's check has let only levels through
	}
	o := &slog.HandlerOptions{Level: level}
	if s.log.format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
