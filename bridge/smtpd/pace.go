package smtpd

import "time"

const (
	// paceWindow is the time over which the rate of a message is averaged.
	paceWindow = time.Minute
	// longestPause is how much of a single wait counts: silence is the business of Config.DataTimeout, and a client
	// that stops once, to think, is no slow one.
	longestPause = paceWindow / 2
)

// pace holds a client to Config.MinRate. Only the time in which we wait for the
// client counts: a slow store or broker is not its fault.
type pace struct {
	octets int64
	waited time.Duration
}

// add counts what came of a wait, and reports whether the client is too slow. A least rate of 0 is none.
func (p *pace) add(minRate int64, octets int, waited time.Duration) (slow bool) {
	p.octets += int64(octets)
	p.waited += min(waited, longestPause)
	if minRate <= 0 || p.waited < paceWindow {
		return false
	}
	slow = p.octets < int64(float64(minRate)*p.waited.Seconds())
	*p = pace{}
	return slow
}
