//go:build !unix

package smtpd

// isReset cannot tell without reading here: a reset is noticed with the reply.
func (c *conn) isReset() bool { return false }
