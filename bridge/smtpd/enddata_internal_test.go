package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// reference is a message of DATA as RFC 5321 §4.5.2 has it: lines that end with CRLF, up to the one that is a dot, each
// without the dot it begins with. It returns how many octets of wire the message and its end take, -1 without an end.
func reference(wire string) (content string, used int, bare bool) {
	var out strings.Builder
	for at := 0; ; {
		length := strings.Index(wire[at:], "\r\n")
		if length < 0 {
			return out.String(), -1, bare
		}
		line := wire[at : at+length]
		at += length + 2
		if line == "." {
			return out.String(), at, bare
		}
		bare = bare || strings.ContainsAny(line, "\r\n")
		out.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
}

// segments is a connection on which each segment comes with a read of its own.
type segments struct {
	net.Conn
	left [][]byte
}

func (s *segments) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left[0])
	if s.left[0] = s.left[0][n:]; len(s.left[0]) == 0 {
		s.left = s.left[1:]
	}
	return n, nil
}

func (s *segments) SetReadDeadline(time.Time) error { return nil }

// readDATA reads a message that comes in segments with a buffer of some size. It returns what of the wire was not read.
func readDATA(t *testing.T, wire []string, buffer int, acceptBare bool) (content string, rest string, err error) {
	t.Helper()
	nc := &segments{}
	for _, w := range wire {
		if w != "" {
			nc.left = append(nc.left, []byte(w))
		}
	}
	c := newConn(nc, &Config{})
	defer c.release()
	r := &dotReader{conn: c, acceptBare: acceptBare}
	p := make([]byte, buffer)
	var out bytes.Buffer
	for err == nil {
		var n int
		if n, err = r.Read(p); n == 0 && err == nil {
			t.Fatalf("%q with a buffer of %d: neither octets nor an error", wire, buffer)
		}
		out.Write(p[:n])
	}
	if _, again := r.Read(p); again != err {
		t.Fatalf("%q with a buffer of %d: %v, and then %v", wire, buffer, err, again)
	}
	if errors.Is(err, errBareNewline) {
		for r.drained(); !r.whole(); {
			if _, drainErr := r.Read(p); drainErr != nil && drainErr != io.EOF {
				return out.String(), "", drainErr
			}
		}
	}
	return out.String(), string(c.in[c.r:c.w]) + string(bytes.Join(nc.left, nil)), err
}

// checkDATA holds a reading against the reference.
func checkDATA(t *testing.T, wire []string, buffer int, acceptBare bool) {
	t.Helper()
	all := strings.Join(wire, "")
	content, used, bare := reference(all)
	if used < 0 {
		t.Fatalf("%q has no end", all)
	}
	got, rest, err := readDATA(t, wire, buffer, acceptBare)
	wantErr := io.EOF
	if bare && !acceptBare {
		wantErr, content = errBareNewline, got // as much of it as has come
	}
	if rest != all[used:] || err != wantErr || got != content {
		t.Fatalf("%s with a buffer of %d, accept %v: got %s and %v, with %q left to be read; want %s and %v, with %q left", short(wire...), buffer, acceptBare,
			short(got), err, rest, short(content), wantErr, all[used:])
	}
}

// short is text for a message, without the filling of a long one.
func short(wire ...string) string {
	s := fmt.Sprintf("%q", wire)
	if len(s) > 400 {
		s = s[:200] + " ... " + s[len(s)-200:]
	}
	return s
}

// All strings of the octets that matter, an octet at a time, and all but the longest cut in two at every octet. Of the
// longest there are those that look like an end.
func TestDotReaderExhaustively(t *testing.T) {
	const octets, longest, after = "\r\n.x\x00", 6, "\r\n.\r\nNOOP\r\n"
	buffers := []int{1, 2, 3, 7, 4096, 65536}
	strs := []string{""}
	for n := range longest + 1 {
		var longer []string
		for i, s := range strs {
			if n == longest && !(strings.Contains(s, ".") && strings.Contains(s, "\r\n")) {
				continue // nothing in it looks like an end
			}
			wire := s + after
			buffer := buffers[i%len(buffers)]
			for _, accept := range []bool{false, true} {
				checkDATA(t, strings.Split(wire, ""), buffer, accept)
				for cut := 1; cut < len(s)+5 && n < longest; cut++ {
					checkDATA(t, []string{wire[:cut], wire[cut:]}, buffer, accept)
				}
			}
			for _, o := range []byte(octets) {
				longer = append(longer, s+string([]byte{o}))
			}
		}
		strs = longer
	}
}

// forms are the ends that are none, and the lines of dots, as they stand in the middle of a message.
var forms = []string{
	"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n.\rx", "\r\n.\r\r\n", "\r\n.\n\r\n",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\x00\r\n.\x00.\r\n", "\r\r\n.\r\n", "\r\n\r.\r\n", "\r\n\n.\r\n", "\n\r\n.\r\n", "\r\r\n..\r\n",
	"\r\n..\r\n", "\r\n...\r\n", "\r\n.x\r\n", "\r\n. \r\n", "\r\n .\r\n", "\r\n..\r", "\r\n..\n", "\r\n.", "\r\n..", "\r", "\n", "\r\n\r", ".\r\n..\r\n..\r\n...",
}

// wholeForms are messages with nothing before the form.
var wholeForms = []string{
	".\r\n", "..\r\n.\r\n", "...\r\n.\r\n", "..\r\n..\r\n..\r\n.\r\n", ". \r\n.\r\n", ".x\r\n.\r\n", "\r\n.\r\n", "\r\n\r\n.\r\n", "\r\r\n.\r\n",
	"\n.\r\n.\r\n", "\n.\n\r\n.\r\n", "\r.\r\r\n.\r\n", ".\n\r\n.\r\n", ".\r.\r\n.\r\n", ".\r\r\n.\r\n", "\x00.\r\n.\r\n", ".\x00\r\n.\r\n",
}

// The forms at every place around the end of the window in which messages are read.
func TestDotReaderWindows(t *testing.T) {
	const line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
	for _, form := range forms {
		for before := range len(form) + 2 {
			head := strings.Repeat(line, window/len(line))[:window-before]
			wire := head + form + "tail\r\n.\r\nQUIT\r\n"
			for _, buffer := range []int{4096, 65536} {
				checkDATA(t, []string{wire}, buffer, true)
			}
			checkDATA(t, []string{wire}, 4096, false)
		}
	}
}

// wires are all forms, each as a message up to its end.
func wires() (list []string) {
	for _, form := range forms {
		wire := "Subject: x\r\n\r\nhead" + form + "tail\r\n.\r\n"
		_, used, _ := reference(wire)
		list = append(list, wire[:used])
	}
	return append(list, wholeForms...)
}

// The forms cut in two at every octet, through a whole session.
func TestEndOfData(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, security := range []string{"plain", "STARTTLS", "smtps"} {
		for _, accept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s accept %v", security, accept), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, func(c *Config) {
					c.TLS = &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
					c.AcceptBareNewlines = accept
				})
				d := connected(r, security, ca.client(nil))
				for _, wire := range wires() {
					from := max(len(wire)-20, 0)
					for cut := from; cut < len(wire); cut++ {
						sendDATA(t, r, d, []string{wire[:cut], wire[cut:]}, accept)
					}
					sendDATA(t, r, d, strings.Split(wire, ""), accept)
				}
			})
		}
	}
}

// connected is a dialogue after EHLO, over what security says.
func connected(r *rig, security string, cfg *tls.Config) *dialogue {
	switch security {
	case "smtps":
		d := r.dial("smtps")
		d.upgrade(cfg)
		return d.greeted(nil)
	case "STARTTLS":
		return r.dial("smtp").greeted(cfg)
	}
	return r.dial("smtp").greeted(nil)
}

// sendDATA sends a message in segments, and checks the reply, what was taken, and that the session goes on.
func sendDATA(t *testing.T, r *rig, d *dialogue, wire []string, accept bool) {
	t.Helper()
	content, _, bare := reference(strings.Join(wire, ""))
	d.write("MAIL FROM:<a@example.org>\r\nRCPT TO:<in@example.com>\r\nDATA\r\n")
	d.expect("250")
	d.expect("250")
	d.expect("354")
	for _, w := range wire {
		if w != "" {
			d.write(w)
		}
	}
	got := d.answer()
	taken := r.taken.last()
	switch {
	case bare && !accept:
		if !strings.HasPrefix(got, "550 5.6.0 ") || len(taken) != 0 {
			t.Fatalf("%q: reply %q, taken %q, want 550 5.6.0 and nothing", wire, got, taken)
		}
	case !strings.HasPrefix(got, "250 2.0.0 queued as ") || len(taken) != 1 || taken[0] != content:
		t.Fatalf("%q: reply %q, taken %q, want 250 and %q", wire, got, taken, content)
	}
	if got := d.do("NOOP", ""); got != "250 2.0.0 ok" {
		t.Fatalf("%q: reply %q to NOOP after the message", wire, got)
	}
}
