//go:build integration

package e2e

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestShutdown ends the program in the middle of DATA. The client may finish, and then the program ends.
func TestShutdown(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		s.needUnfinished(t)
		d := serveReady(t, s.settings())
		idle, client := dial(t, d.smtp), dial(t, d.smtp)
		client.begin("<a@example.org>", "in@example.com")
		client.do("354", "DATA")
		message := testMail(24_000_000) // half of it fills a part of the upload
		half := len(message) / 2
		client.write(message[:half])
		d.WaitFor(t, "an upload", patience, func() bool { _, unfinished := s.objects.list(t); return len(unfinished) == 1 })

		must(t, d.Signal(syscall.SIGTERM))
		d.WaitFor(t, "the listener to be closed", patience, func() bool {
			conn, err := net.DialTimeout("tcp", d.smtp, time.Second)
			if err == nil {
				conn.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		})
		// Who was not in the middle of a transaction is sent away, and it is that alone which ends by now.
		if rest, err := io.ReadAll(idle.text.R); err != nil {
			t.Errorf("the idle session: %v after %q; want its end", err, rest)
		}
		if !d.Running() || d.transactions() != 0 {
			t.Fatal("the program has not waited for the client")
		}
		client.write(message[half:])
		client.write([]byte(".\r\n"))
		client.want("250 2.0.0 queued as ", client.reply())
		d.wantOrderlyEnd(t)

		m := drain(t, s, 1)[0]
		wantWhole(t, m, message)
		octets(t, s, m, "b2")
	})
}
