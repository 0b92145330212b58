package main

import (
	"log/slog"
	"net/url"
	"os"
	"slices"
	"time"

	"lsmtpd/bridge/route"
	"lsmtpd/bridge/smtpd"
	"lsmtpd/objectstore"
)

// settings are all settings, with the names of the configuration in their keys.
type settings struct {
	smtp struct {
		listen              []smtpd.Endpoint
		hostname            string
		maxMessageBytes     int64
		maxRecipients       int64
		maxConnections      int64
		maxConnectionsPerIP int64
		maxTransactions     int64
		maxCommands         int64
		maxErrors           int64
		bareNewlines        string
		timeout             struct{ command, handshake, data, write, reply, drain time.Duration }
		minRate             int64
		drainBytes          int64
		tls                 struct {
			certFile, keyFile, clientCAFile string
			minVersion                      string
			required                        bool
		}
		auth struct {
			usersFile               string
			required, allowInsecure bool
			maxAttempts             int64
		}
		allow                  []route.Pattern
		proxyFrom, xclientFrom []smtpd.Network
	}
	message struct {
		offloadThreshold, maxInlineBytes   int64
		maxParts, maxDepth, maxHeaderBytes int64
		memory                             int64
		digest, raw                        string
	}
	broker struct {
		url        []*url.URL
		address    string
		capability string
		username   string
		password   secret
		tls        struct {
			caFile, certFile, keyFile, serverName string
		}
		onReject        string
		settleTimeout   time.Duration
		maxMessageBytes int64
	}
	store struct {
		url       string
		accessKey string
		secretKey secret
		partBytes int64
		memory    int64
	}
	spool struct {
		dir, mode             string
		maxBytes, maxMessages int64
		minFreeBytes          int64
		maxTries              int64
		after                 time.Duration
	}
	routes          []route.Route // from the configuration file alone
	adminListen     string
	shutdownTimeout time.Duration
	log             struct{ level, format string }
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// The values of spool.mode.
const spoolOff, spoolFallback, spoolAlways = "off", "fallback", "always"

// The values of message.raw.
const rawOff, rawStore = "off", "store"

const defaultSpoolAfter = 5 * time.Second

// maxOffloadThreshold bounds what of a part is held before it is known where it goes.
const maxOffloadThreshold = 16 * mib

// defaults are the settings before anything is configured.
func defaults() *settings {
	s := &settings{}
	s.smtp.listen = []smtpd.Endpoint{{Scheme: "smtp", Network: "tcp", Address: "127.0.0.1:2525"}}
	s.smtp.hostname = hostname()
	s.smtp.maxMessageBytes = gib
	s.smtp.maxRecipients = 1000
	s.smtp.maxConnections = 1000
	s.smtp.maxConnectionsPerIP = 50
	s.smtp.maxTransactions = 10_000
	s.smtp.maxCommands = 1000
	s.smtp.maxErrors = 50
	s.smtp.bareNewlines = "reject"
	s.smtp.timeout.command = 5 * time.Minute
	s.smtp.timeout.handshake = time.Minute
	s.smtp.timeout.data = 3 * time.Minute
	s.smtp.timeout.write = time.Minute
	s.smtp.timeout.reply = 9 * time.Minute
	s.smtp.timeout.drain = 30 * time.Second
	s.smtp.minRate = 100
	s.smtp.drainBytes = 64 * mib
	s.smtp.tls.minVersion = "1.2"
	s.smtp.auth.maxAttempts = 3
	s.message.offloadThreshold = 64 * kib
	s.message.maxInlineBytes = 256 * kib
	s.message.maxParts = 1000
	s.message.maxDepth = 100
	s.message.maxHeaderBytes = mib
	s.message.memory = 64 * mib
	s.message.digest = "sha256"
	s.message.raw = rawOff
	s.broker.capability = "auto"
	s.broker.onReject = "defer"
	s.broker.settleTimeout = time.Minute
	s.broker.maxMessageBytes = mib
	s.store.partBytes = objectstore.DefaultPartBytes
	s.store.memory = 64 * mib
	s.spool.mode = spoolFallback
	s.spool.maxMessages = 1_000_000
	s.spool.minFreeBytes = 256 * mib
	s.spool.after = defaultSpoolAfter
	s.shutdownTimeout = 30 * time.Second
	s.log.level, s.log.format = "info", "text"
	return s
}

// keys are the configuration's keys, bound to the fields of s.
func (s *settings) keys() []*key {
	return slices.Concat(s.smtpKeys(), s.messageKeys(), s.brokerKeys(), s.storeKeys(), s.spoolKeys(), s.otherKeys())
}

func (s *settings) smtpKeys() []*key {
	return []*key{
		listKey("smtp.listen", "where to receive mail: smtp://, smtps:// or lmtp:// HOST:PORT, or lmtp:///PATH", &s.smtp.listen, parseListen, smtpd.Endpoint.String),
		textKey("smtp.hostname", "the name in the greeting and in the CloudEvents source", &s.smtp.hostname, isHostname),
		sizeKey("smtp.max_message_bytes", "largest message, announced with SIZE", &s.smtp.maxMessageBytes, kib, 5*tib),
		intKey("smtp.max_recipients", "recipients of a transaction", &s.smtp.maxRecipients, 100_000),
		intKey("smtp.max_connections", "connections at a time", &s.smtp.maxConnections, 1_000_000),
		intKey("smtp.max_connections_per_ip", "connections at a time from one address", &s.smtp.maxConnectionsPerIP, 1_000_000),
		intKey("smtp.max_transactions", "messages on one connection", &s.smtp.maxTransactions, 1_000_000_000),
		intKey("smtp.max_commands", "commands without a message, before the connection is closed", &s.smtp.maxCommands, 1_000_000),
		intKey("smtp.max_errors", "refused commands without a message, before the connection is closed", &s.smtp.maxErrors, 1_000_000),
		enumKey("smtp.bare_newlines", "a CR or LF on its own in DATA: refuse the message, or keep it octet for octet", &s.smtp.bareNewlines, "reject", "accept"),
		durationKey("smtp.command_timeout", "for a command to arrive", &s.smtp.timeout.command, time.Second, time.Hour),
		durationKey("smtp.handshake_timeout", "for a TLS handshake, or a PROXY header", &s.smtp.timeout.handshake, time.Second, 10*time.Minute),
		durationKey("smtp.data_timeout", "in which nothing arrives of a message", &s.smtp.timeout.data, time.Second, time.Hour),
		rateKey("smtp.min_rate", "octets a second of a message, on average over a minute; 0: no limit", &s.smtp.minRate, gib),
		durationKey("smtp.write_timeout", "in which a client takes nothing of a reply", &s.smtp.timeout.write, time.Second, time.Hour),
		durationKey("smtp.reply_timeout", "from the last octet of a message to its reply", &s.smtp.timeout.reply, time.Second, time.Hour),
		sizeKey("smtp.drain_bytes", "read of a message after it was refused, before the connection is closed", &s.smtp.drainBytes, 1, tib),
		durationKey("smtp.drain_timeout", "the same, in time", &s.smtp.timeout.drain, time.Second, time.Hour),
		patternsKey("smtp.allow", "recipients: addresses, domains, either with *, regular expressions between slashes; empty: all", &s.smtp.allow),
		listKey("smtp.proxy_from", "peers whose connections begin with a PROXY header: addresses, networks, unix", &s.smtp.proxyFrom, smtpd.ParseNetwork, smtpd.Network.String),
		listKey("smtp.xclient_from", "peers that may use XCLIENT: addresses, networks, unix", &s.smtp.xclientFrom, smtpd.ParseNetwork, smtpd.Network.String),
		fileKey("smtp.tls.cert_file", "certificate chain, PEM; turns STARTTLS on; read again when it changes", &s.smtp.tls.certFile),
		fileKey("smtp.tls.key_file", "its private key, PEM", &s.smtp.tls.keyFile),
		boolKey("smtp.tls.required", "refuse MAIL on a session without TLS", &s.smtp.tls.required),
		enumKey("smtp.tls.min_version", "oldest TLS version that is spoken", &s.smtp.tls.minVersion, "1.0", "1.1", "1.2", "1.3"),
		fileKey("smtp.tls.client_ca_file", "certificate authorities of clients, PEM; a client certificate is optional", &s.smtp.tls.clientCAFile),
		fileKey("smtp.auth.users_file", "users and bcrypt hashes, as htpasswd -B writes them; turns AUTH on; read again when it changes", &s.smtp.auth.usersFile),
		boolKey("smtp.auth.required", "refuse MAIL without AUTH or a client certificate", &s.smtp.auth.required),
		boolKey("smtp.auth.allow_insecure", "offer AUTH without TLS, too", &s.smtp.auth.allowInsecure),
		intKey("smtp.auth.max_attempts", "failed ones, before the connection is closed", &s.smtp.auth.maxAttempts, 1000),
	}
}

func (s *settings) messageKeys() []*key {
	return []*key{
		sizeKey("message.offload_threshold", "a larger part goes to the store", &s.message.offloadThreshold, 0, maxOffloadThreshold),
		sizeKey("message.max_inline_bytes", "parts kept in the envelope, all together", &s.message.maxInlineBytes, 0, 64*mib),
		intKey("message.max_parts", "body parts told apart; the rest is one opaque part", &s.message.maxParts, 100_000),
		intKey("message.max_depth", "levels of multiparts told apart", &s.message.maxDepth, 1000),
		sizeKey("message.max_header_bytes", "header fields kept in the envelope", &s.message.maxHeaderBytes, kib, 64*mib),
		sizeKey("message.memory", "memory for all envelopes being built or sent", &s.message.memory, mib, tib),
		enumKey("message.digest", "digests of parts and message", &s.message.digest, "sha256", "none"),
		enumKey("message.raw", "store the message itself, octet for octet as received, beside its parts, or not", &s.message.raw, rawOff, rawStore),
	}
}

func (s *settings) brokerKeys() []*key {
	return []*key{
		brokersKey("broker.url", "amqp:// or amqps:// URLs, tried in order", &s.broker.url),
		textKey("broker.address", "the queue, or whatever the broker calls an address", &s.broker.address, nil),
		enumKey("broker.capability", "target capability of the link; auto asks Artemis for a queue", &s.broker.capability, "auto", "queue", "topic", "none"),
		textKey("broker.username", "SASL PLAIN user", &s.broker.username, nil),
		secretKey("broker.password", "SASL PLAIN password", &s.broker.password),
		fileKey("broker.tls.ca_file", "certificate authorities of the broker, PEM", &s.broker.tls.caFile),
		fileKey("broker.tls.cert_file", "client certificate, PEM; SASL EXTERNAL without a user", &s.broker.tls.certFile),
		fileKey("broker.tls.key_file", "its private key, PEM", &s.broker.tls.keyFile),
		textKey("broker.tls.server_name", "name in the broker's certificate, where it is not the URL's", &s.broker.tls.serverName, optional(isHostname)),
		enumKey("broker.on_reject", "reply to mail that the broker refuses for good: 451 or 554", &s.broker.onReject, "defer", "bounce"),
		durationKey("broker.settle_timeout", "from the end of data to the reply", &s.broker.settleTimeout, time.Second, 9*time.Minute),
		sizeKey("broker.max_message_bytes", "largest published message, or the link's if smaller", &s.broker.maxMessageBytes, 16*kib, gib),
	}
}

func (s *settings) storeKeys() []*key {
	return []*key{
		textKey("store.url", "file:///DIRECTORY or s3://BUCKET/PREFIX?endpoint=URL&region=REGION", &s.store.url, optional(isStoreURL)),
		textKey("store.access_key", "S3 access key; empty: the standard credential chain", &s.store.accessKey, nil),
		secretKey("store.secret_key", "S3 secret key", &s.store.secretKey),
		sizeKey("store.part_bytes", "part of a multipart upload", &s.store.partBytes, objectstore.MinPartBytes, objectstore.MaxPartBytes),
		sizeKey("store.memory", "memory for all uploads", &s.store.memory, objectstore.MinPartBytes, tib),
	}
}

func (s *settings) spoolKeys() []*key {
	return []*key{
		textKey("spool.dir", "directory for what the broker or the store cannot take now; empty: no spool", &s.spool.dir, optional(isAbsolute)),
		enumKey("spool.mode", "when mail is spooled: never, where broker or store are away, or always, before anything else", &s.spool.mode, spoolOff, spoolFallback, spoolAlways),
		sizeKey("spool.max_bytes", "in the spool; 0: what the disk has", &s.spool.maxBytes, 0, 1024*tib),
		intKey("spool.max_messages", "in the spool", &s.spool.maxMessages, 100_000_000),
		sizeKey("spool.min_free_bytes", "left free on the spool's disk", &s.spool.minFreeBytes, 0, tib),
		rateKey("spool.max_tries", "failed ones, after which a message is set aside; 0: no limit", &s.spool.maxTries, 1_000_000),
		durationKey("spool.after", "how long a message waits for the broker's link and credit before it is spooled", &s.spool.after, 10*time.Millisecond, 9*time.Minute),
	}
}

func (s *settings) otherKeys() []*key {
	return []*key{
		textKey("admin.listen", "HOST:PORT of /healthz, /readyz and /metrics; empty: off", &s.adminListen, optional(isHostPort)),
		durationKey("shutdown_timeout", "how long running transactions may take to finish", &s.shutdownTimeout, 0, time.Hour),
		enumKey("log.level", "least level that is logged", &s.log.level, "debug", "info", "warn", "error"),
		enumKey("log.format", "form of the log on standard error", &s.log.format, "text", "json"),
	}
}

// secret is a value that must not be shown.
type secret string

// String hides the value.
func (s secret) String() string {
	if s == "" {
		return ""
	}
	return "********"
}

// GoString hides the value.
func (s secret) GoString() string { return s.String() }

// LogValue hides the value.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func hostname() string {
	name, err := os.Hostname()
	if err != nil || isHostname(name) != nil {
		return "localhost"
	}
	return name
}
