//go:build integration

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// TestFair has a sender of one huge mail beside a thousand of small ones, while the store is slow, and then the broker:
// none of them waits for the other, and the memory is what it always is.
func TestFair(t *testing.T) {
	const small, huge = 1000, 60_000_000
	s := artemisMinIO(t)
	server, slowStore := testbed.MinIO(t).Proxied(t)
	broker, slowBroker := s.broker.Proxied(t)
	b := s.objects.(bucket)
	b.server = server
	d := serveReady(t, s.settings().With(b.settings()).With(settings{"broker.url": broker.URL, "smtp.max_connections": "2000", "smtp.max_connections_per_ip": "2000"}))

	slowStore.Bandwidth(500)
	done := make(chan string, 1)
	message := testMail(huge)
	go func() { done <- submit(t.Context(), d.smtp, message) }()
	d.WaitFor(t, "the huge mail to fill what it may", patience, func() bool { return d.metric(t, "lsmtpd_upload_memory_used_bytes") >= 16<<20 })

	n := flood(t, d.smtp, small, small)
	select {
	case reply := <-done:
		t.Fatalf("the huge mail was answered %q before its store let it", reply)
	default:
	}
	if n != small {
		t.Errorf("%d of %d small mails delivered beside a huge one", n, small)
	}
	// The store is well again, the broker is slow, and small mails go on coming until the huge one has its reply.
	slowStore.Bandwidth(0)
	slowBroker.Latency(100*time.Millisecond, 0)
	more, stop := context.WithCancel(t.Context())
	var delivered atomic.Int64
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for more.Err() == nil {
				if strings.HasPrefix(submit(t.Context(), d.smtp, smallMail(1)), "250 ") {
					delivered.Add(1)
				}
			}
		})
	}
	reply := <-done
	stop()
	wg.Wait()
	if !strings.HasPrefix(reply, "250 ") {
		t.Errorf("the huge mail was answered %q beside small ones", reply)
	}
	d.peakRSS(t, 192<<20) // store.memory and message.memory are 64 MiB each
	d.stop(t)
	drain(t, s, small+1+int(delivered.Load()))
}

// flood sends small mails from so many clients at a time, and returns how many were accepted.
func flood(t *testing.T, addr string, clients, mails int) (accepted int64) {
	t.Helper()
	var n, next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(mails); i = next.Add(1) {
				reply := submit(t.Context(), addr, smallMail(int(i)))
				if strings.HasPrefix(reply, "250 ") {
					n.Add(1)
				} else {
					t.Errorf("small mail %d: %s", i, reply)
				}
			}
		})
	}
	wg.Wait()
	return n.Load()
}

// smallMail is a mail without an attachment, or, each fourth, with one that goes to the store.
func smallMail(i int) []byte {
	if i%4 == 0 {
		return testMail(100_000)
	}
	return crlf("From: a@example.org\nSubject: small\n\ntext\n")
}

// submit delivers a message and returns the reply, or what went wrong.
func submit(ctx context.Context, addr string, message []byte) string {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	text := textproto.NewConn(conn)
	reply := func(want string) (string, bool) {
		code, line, err := text.ReadResponse(0)
		if err != nil {
			return err.Error(), false
		}
		got := fmt.Sprintf("%d %s", code, line)
		return got, strings.HasPrefix(got, want)
	}
	if got, ok := reply("220"); !ok {
		return got
	}
	for _, command := range []string{"EHLO client.example", "MAIL FROM:<a@example.org>", "RCPT TO:<in@example.com>", "DATA"} {
		if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
			return err.Error()
		}
		if got, ok := reply(map[bool]string{true: "354", false: "250"}[command == "DATA"]); !ok {
			return got
		}
	}
	if _, err := io.Copy(conn, io.MultiReader(bytes.NewReader(stuffed(message)), strings.NewReader(".\r\n"))); err != nil {
		return err.Error()
	}
	got, _ := reply("250")
	return got
}
