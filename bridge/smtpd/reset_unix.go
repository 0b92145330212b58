//go:build unix

package smtpd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// isReset reports whether the connection was reset, or closed by us. It asks the
// socket and reads nothing: octets that wait to be read do not hide the reset,
// and a FIN is none.
func (c *conn) isReset() bool {
	sc, ok := c.socket.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	reset := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			reset = fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
		}
	})
	return reset || err != nil
}
