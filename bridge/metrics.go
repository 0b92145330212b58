package bridge

import (
	"errors"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"lsmtpd/bridge/failpoint"
	"lsmtpd/bridge/publish"
	"lsmtpd/objectstore"
)

// metrics counts what transactions do.
type metrics struct {
	transactions *prometheus.CounterVec
	refusedMail  *prometheus.CounterVec
	inFlight     prometheus.Gauge
	octets       prometheus.Counter
	parts        *prometheus.CounterVec
	uploads      *prometheus.CounterVec
	uploadOctets prometheus.Counter
	inDoubt      prometheus.Counter
	leftBehind   prometheus.Counter
	spooled      prometheus.Counter
	replayed     prometheus.Counter
	setAside     prometheus.Counter
	duration     prometheus.Histogram
	settle       prometheus.Histogram
}

// outcomeFor is the label "outcome" of a transaction, from a closed set: those
// below, the outcomes of publish, and spooled where the spool has made good for one.
func outcomeFor(err error) string {
	var (
		delivery *publish.Error
		refusal  *smtp.SMTPError
	)
	switch {
	case err == nil:
		return "accepted"
	case errors.As(err, &refusal):
		return "refused"
	case errors.As(err, &delivery):
		return delivery.Outcome.String()
	case errors.Is(err, ErrIncomplete):
		return "incomplete"
	case errors.Is(err, errMessageTooLarge), errors.Is(err, errEnvelopeTooLarge):
		return "too-large"
	case errors.Is(err, errStore):
		return "store-failed"
	case errors.Is(err, errMemory):
		return "no-memory"
	}
	return "failed"
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	seconds := []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300}
	return &metrics{
		transactions: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_transactions_total",
			Help: "Mail transactions that reached DATA or BDAT, by outcome."}, []string{"outcome"}),
		refusedMail: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_mail_refused_total",
			Help: "MAIL and RCPT commands refused because the broker or the store was down."}, []string{"cause"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{Name: "lsmtpd_transactions_in_flight",
			Help: "Transactions between the begin of the message and its reply."}),
		octets: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_message_received_bytes_total",
			Help: "Octets of messages received, dot-stuffing undone."}),
		parts: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_parts_total",
			Help: "Body parts read, by where their octets went: inline or stored."}, []string{"place"}),
		uploads: f.NewCounterVec(prometheus.CounterOpts{Name: "lsmtpd_uploads_total",
			Help: "Objects put to the store, by result: complete or failed."}, []string{"result"}),
		uploadOctets: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_uploaded_bytes_total",
			Help: "Octets of objects completed in the store."}),
		inDoubt: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_deliveries_in_doubt_total",
			Help: "Deliveries answered 4xx that the broker may hold all the same; their objects were kept."}),
		leftBehind: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_objects_left_behind_total",
			Help: "Objects of refused messages that could not be removed."}),
		spooled: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_deliveries_spooled_total",
			Help: "Deliveries put into the spool because the broker could not settle them in time."}),
		replayed: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_deliveries_replayed_total",
			Help: "Deliveries accepted by the broker from the spool."}),
		setAside: f.NewCounter(prometheus.CounterOpts{Name: "lsmtpd_spool_set_aside_total",
			Help: "Records of the spool that were set aside: an operator has to look at them."}),
		duration: f.NewHistogram(prometheus.HistogramOpts{Name: "lsmtpd_transaction_duration_seconds",
			Help: "From the begin of the message to its reply.", Buckets: seconds}),
		settle: f.NewHistogram(prometheus.HistogramOpts{Name: "lsmtpd_settle_duration_seconds",
			Help: "From the end of data to the broker's outcome.", Buckets: seconds}),
	}
}

// put counts an upload that has ended.
func (m *metrics) put(o objectstore.Object, err error) {
	if err != nil {
		m.uploads.WithLabelValues("failed").Inc()
		return
	}
	failpoint.Hit("upload.complete")
	m.uploads.WithLabelValues("complete").Inc()
	m.uploadOctets.Add(float64(o.Size))
}

// ended counts a transaction that took d.
func (m *metrics) ended(outcome string, octets int64, d time.Duration) {
	m.transactions.WithLabelValues(outcome).Inc()
	m.octets.Add(float64(octets))
	m.duration.Observe(d.Seconds())
}

// refusedEarly counts and logs a transaction that was refused before it began.
func (b *Bridge) refusedEarly(from, cause string, err error) {
	b.metrics.refusedMail.WithLabelValues(cause).Inc()
	b.log.Warn("mail refused", "cause", cause, "mail_from", from, "error", err)
}
