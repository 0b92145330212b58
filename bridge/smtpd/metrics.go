package smtpd

import (
	"errors"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Limits as the metric names them: the setting without "smtp.", or what else it is.
const (
	limitConnections      = "max_connections"
	limitConnectionsPerIP = "max_connections_per_ip"
	limitRecipients       = "max_recipients"
	limitMessageBytes     = "max_message_bytes"
	limitTransactions     = "max_transactions"
	limitCommands         = "max_commands"
	limitErrors           = "max_errors"
	limitAuthAttempts     = "auth.max_attempts"
	limitAllow            = "allow"
	limitBareNewlines     = "bare_newlines"
	limitCommandTimeout   = "command_timeout"
	limitCommandLine      = "command_line"
	limitDataTimeout      = "data_timeout"
	limitMinRate          = "min_rate"
	limitDrainBytes       = "drain_bytes"
	limitDrainTimeout     = "drain_timeout"
	limitReplyTimeout     = "reply_timeout"
	limitWriteTimeout     = "write_timeout"
	limitHandshake        = "handshake_timeout"
	limitProxyHeader      = "proxy_from"
	limitHTTP             = "http"
)

// limits are all of them, so that each has a counter before it is reached.
var limits = []string{
	limitConnections, limitConnectionsPerIP, limitRecipients, limitMessageBytes, limitTransactions, limitCommands, limitErrors,
	limitAuthAttempts, limitAllow, limitBareNewlines, limitCommandTimeout, limitCommandLine, limitDataTimeout, limitMinRate,
	limitDrainBytes, limitDrainTimeout, limitReplyTimeout, limitWriteTimeout, limitHandshake, limitProxyHeader, limitHTTP,
}

// metrics counts what sessions do.
type metrics struct {
	connections *prometheus.CounterVec
	reached     *prometheus.CounterVec
	handshakes  *prometheus.CounterVec
	auth        *prometheus.CounterVec
	repliesLost prometheus.Counter
	panics      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, set *connections) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "lsmtpd_smtp_connections_open",
		Help: "Connections of clients at the moment."}, func() float64 { return float64(set.len()) })
	m := &metrics{
		connections: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_smtp_connections_total",
			Help: "Connections accepted, by scheme of the endpoint: smtp, smtps or lmtp."}, []string{"scheme"}),
		reached: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_smtp_limit_reached_total",
			Help: "Clients that have reached a limit on what they may do, by the setting that holds it."}, []string{"limit"}),
		handshakes: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_smtp_tls_handshakes_total",
			Help: "TLS handshakes, by result: done or failed."}, []string{"result"}),
		auth: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_smtp_auth_total",
			Help: "Authentications, by result: accepted, refused, or failed because the password could not be checked."}, []string{"result"}),
		repliesLost: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_smtp_replies_lost_total",
			Help: "Replies of 250 to messages that the client did not wait for; it may send them again."}),
		panics: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_smtp_panics_total",
			Help: "Sessions that ended with a panic."}),
	}
	for _, l := range limits {
		m.reached.WithLabelValues(l)
	}
	return m
}

// limit counts a limit that was reached.
func (m *metrics) limit(name string) { m.reached.WithLabelValues(name).Inc() }

// countRefusal counts the limits that the bridge holds, and that on bare newlines, by the replies that tell of them.
func (m *metrics) countRefusal(err error) {
	var e *smtp.SMTPError
	if !errors.As(err, &e) {
		return
	}
	switch e.EnhancedCode {
	case smtp.EnhancedCode{4, 5, 3}:
		m.limit(limitRecipients)
	case smtp.EnhancedCode{5, 3, 4}:
		m.limit(limitMessageBytes)
	case smtp.EnhancedCode{5, 6, 0}:
		m.limit(limitBareNewlines)
	}
}
