package smtpd

import "time"

// paceWindow is the time over which the rate of a message is averaged.
const paceWindow = time.Minute

// pace holds a client to Config.MinRate. Only the time in which we wait for the
// client counts: a slow store or broker is not its fault.
type pace struct {
	octets int64
	waited time.Duration
}

// limit is the longest wait for the next octets.
func (p *pace) limit(cfg *Config) time.Duration {
	left := paceWindow - p.waited
	if cfg.MinRate <= 0 || cfg.DataTimeout > 0 && cfg.DataTimeout <= left {
		return cfg.DataTimeout
	}
	return left
}

// add counts what came of a wait, and reports whether the client is too slow.
func (p *pace) add(cfg *Config, octets int, waited time.Duration) (slow bool) {
	p.octets += int64(octets)
	p.waited += waited
	if cfg.MinRate <= 0 || p.waited < paceWindow {
		return false
	}
	slow = p.octets < int64(float64(cfg.MinRate)*p.waited.Seconds())
	*p = pace{}
	return slow
}
