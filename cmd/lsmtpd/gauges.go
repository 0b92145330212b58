package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/objectstore"
)

// registerGauges registers what is read off when it is asked for.
func (in *instance) registerGauges(reg prometheus.Registerer, pool *objectstore.Pool) {
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	up := func(err error) float64 {
		if err != nil {
			return 0
		}
		return 1
	}
	gauge("lsmtpd_broker_up", "1 while a link to the broker is attached.", func() float64 { return up(in.bridge.BrokerHealth()) })
	gauge("lsmtpd_store_up", "1 while the object store can take objects.", func() float64 { return up(in.bridge.StoreHealth()) })
	gauge("lsmtpd_deliveries_in_flight", "Deliveries handed to the broker and not settled.", func() float64 { return float64(in.publisher.InFlight()) })
	gauge("lsmtpd_upload_memory_used_bytes", "Octets of store.memory in use.", func() float64 { return float64(pool.Stats().Lent) })
	gauge("lsmtpd_upload_memory_limit_bytes", "Octets of store.memory.", func() float64 { return float64(pool.Stats().Capacity) })
	gauge("lsmtpd_uploads_waiting", "Uploads that wait for memory.", func() float64 { return float64(pool.Stats().Waiting) })
	if in.spool != nil {
		in.registerSpoolGauges(reg)
	}
}

// registerSpoolGauges registers what the spool holds.
func (in *instance) registerSpoolGauges(reg prometheus.Registerer) {
	gauge := func(name, help, state string, value func() float64) {
		var labels prometheus.Labels
		if state != "" {
			labels = prometheus.Labels{"state": state}
		}
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	const records, octets = "Records in the spool: waiting to be delivered, or failed and set aside.", "Octets of the records in the spool."
	gauge("lsmtpd_spool_records", records, "waiting", func() float64 { return float64(in.spool.Stats().Waiting) })
	gauge("lsmtpd_spool_records", records, "failed", func() float64 { return float64(in.spool.Stats().Failed) })
	gauge("lsmtpd_spool_bytes", octets, "waiting", func() float64 { return float64(in.spool.Stats().Bytes) })
	gauge("lsmtpd_spool_bytes", octets, "failed", func() float64 { return float64(in.spool.Stats().FailedBytes) })
	gauge("lsmtpd_spool_oldest_seconds", "How long ago the oldest waiting record came, 0 where there is none.", "", func() float64 {
		oldest := in.spool.Stats().Oldest
		if oldest.IsZero() {
			return 0
		}
		return max(time.Since(oldest).Seconds(), 0)
	})
	gauge("lsmtpd_intents", "Transactions whose objects are not settled: under way, being deleted, or in doubt.", "", func() float64 { return float64(in.spool.Stats().Intents) })
	gauge("lsmtpd_spool_up", "1 while the spool can take messages.", "", func() float64 {
		if in.bridge.SpoolHealth() != nil {
			return 0
		}
		return 1
	})
}
