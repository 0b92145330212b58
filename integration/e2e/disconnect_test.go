//go:build integration

package e2e

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

// TestClientGone breaks off in the middle of a large attachment. Nothing may be left: no message, no object of the
// attachment before, and nothing of the one that was under way.
func TestClientGone(t *testing.T) {
	fin := func(t *testing.T, c *smtpClient) { must(t, c.conn.Close()) }
	half := func(t *testing.T, c *smtpClient) { must(t, c.conn.CloseWrite()) }
	rst := func(t *testing.T, c *smtpClient) { must(t, c.conn.SetLinger(0)); must(t, c.conn.Close()) }
	eachSite(t, func(t *testing.T, s *site) {
		s.needUnfinished(t)
		d := serveReady(t, s.settings())
		for i, c := range []struct {
			name string
			bdat bool
			cut  func(*testing.T, *smtpClient)
		}{
			{"DATA, FIN", false, fin},
			{"DATA, FIN of one direction", false, half},
			{"DATA, RST", false, rst},
			{"BDAT, FIN", true, fin},
			{"BDAT, FIN of one direction", true, half},
			{"BDAT, RST", true, rst},
		} {
			t.Run(c.name, func(t *testing.T) {
				client := dial(t, d.smtp)
				client.begin("<a@example.org> BODY=8BITMIME", "in@example.com")
				sendHalf(client, c.bdat)
				d.WaitFor(t, "one attachment in the store and the upload of the next", patience, func() bool {
					finished, unfinished := s.objects.list(t)
					return len(finished) == 1 && len(unfinished) == 1
				})
				c.cut(t, client)
				d.WaitFor(t, "the end of the transaction", patience, func() bool { return d.transactions() == i+1 })
				wantNothing(t, s, d)
			})
		}
		d.stop(t)
		wantNothing(t, s, d)
	})
}

// sendHalf sends a message with one attachment and the larger part of another, and comes to no end.
func sendHalf(c *smtpClient, bdat bool) {
	var message bytes.Buffer
	message.Write(crlf("From: a@example.org\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\ntwo files\n"))
	for _, size := range []int{200_000, 20_000_000} {
		message.Write(crlf("--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"))
		message.Write(base64Lines(size))
	}
	if bdat {
		c.write(bdatCommand(message.Len()+100_000_000, true))
	} else {
		c.do("354", "DATA")
	}
	c.write(message.Bytes()) // base64: no line begins with a dot
}

// base64Lines is so many pseudo-random octets in lines of 76 characters.
func base64Lines(octets int) []byte {
	const perLine = 57
	var out bytes.Buffer
	source, line := rand.NewChaCha8([32]byte{3}), make([]byte, perLine)
	for ; octets > 0; octets -= perLine {
		line = line[:min(octets, perLine)]
		source.Read(line) // never fails
		out.WriteString(base64.StdEncoding.EncodeToString(line))
		out.WriteString("\r\n")
	}
	return out.Bytes()
}

// wantNothing waits until the store is empty, and looks that the queue is.
func wantNothing(t *testing.T, s *site, d *daemon) {
	t.Helper()
	if d.Running() {
		d.WaitFor(t, "an empty store", patience, func() bool {
			finished, unfinished := s.objects.list(t)
			return len(finished)+len(unfinished) == 0
		})
	}
	if finished, unfinished := s.objects.list(t); len(finished)+len(unfinished) != 0 {
		t.Errorf("the store holds %v and, unfinished, %v; want nothing", finished, unfinished)
	}
	drain(t, s, 0)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTwoAtOnce shows that the end of one client is not that of another, whose mail is under way at the same time.
func TestTwoAtOnce(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		s.needUnfinished(t)
		d := serveReady(t, s.settings())
		gone, stays := dial(t, d.smtp), dial(t, d.smtp)
		gone.begin("<gone@example.org>", "in@example.com")
		sendHalf(gone, false)
		stays.begin("<stays@example.org>", "in@example.com")
		stays.do("354", "DATA")
		message := testMail(300_000)
		stays.write(message[:len(message)/2])
		d.WaitFor(t, "an upload", patience, func() bool { _, unfinished := s.objects.list(t); return len(unfinished) > 0 })
		must(t, gone.conn.Close())
		d.WaitFor(t, "the end of the transaction", patience, func() bool { return d.transactions() == 1 })
		stays.write(append(message[len(message)/2:], ".\r\n"...))
		stays.want("250 2.0.0", stays.reply())
		m := drain(t, s, 1)[0]
		wantWhole(t, m, message)
		octets(t, s, m, "b2")
		if finished, unfinished := s.objects.list(t); len(finished) != 1 || len(unfinished) != 0 {
			t.Errorf("the store holds %v and, unfinished, %v; want one object", finished, unfinished)
		}
		d.stop(t)
	})
}

// testMail is a mail with a text, part 1, and an attachment of so many octets in base64, part 2.
func testMail(attachment int) []byte {
	var message bytes.Buffer
	message.Write(crlf("From: a@example.org\nSubject: test\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\na text\n" +
		"--b\nContent-Type: application/octet-stream; name=file.bin\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n"))
	message.Write(base64Lines(attachment))
	message.Write(crlf("--b--\n"))
	return message.Bytes()
}
