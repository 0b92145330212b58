package smtpd

import (
	"strings"
	"testing"
)

// writes is a client that notes each write of the server.
type writes struct {
	*pieces
	list []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.list = append(w.list, string(p))
	return len(p), nil
}

// The replies to a group of commands go out together (RFC 2920 §3.2), and so do the lines of one reply.
func TestRepliesOfAGroupAreOneWrite(t *testing.T) {
	const (
		hello   = "EHLO client.example\r\n"
		group   = "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example>\r\nNOOP\r\nDATA\r\n"
		message = "Subject: x\r\n\r\n.\r\nMAIL FROM:<a@client.example>\r\nRSET\r\n"
	)
	for _, tt := range []struct {
		name string
		sent string
		size int      // octets of a read
		want []string // the codes of each write
	}{
		{"all at once", hello + group + message + "QUIT\r\n", 1 << 20, []string{"220", "250 250 250 250 354 250 250 250 221"}},
		{"a command at a time", hello + "NOOP\r\nQUIT\r\n", len(hello), []string{"220", "250", "250 221"}},
		{"an octet at a time", "NOOP\r\nQUIT\r\n", 1, []string{"220", "250", "221"}},
		{"chunks", hello + "MAIL FROM:<>\r\nRCPT TO:<b@mx.example>\r\nBDAT 1\r\nxBDAT 1 LAST\r\nyQUIT\r\n", 1 << 20, []string{"220", "250 250 250 250 250 221"}},
		{"a chunk, and then the client waits", hello + "MAIL FROM:<>\r\nRCPT TO:<b@mx.example>\r\nBDAT 1 LAST\r\nx", 1 << 20, []string{"220", "250 250 250", "250"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &writes{pieces: newPieces([]byte(tt.sent), tt.size)}
			testSession(w, &discardSession{}).serve()
			var got []string
			for _, write := range w.list {
				var codes []string
				for line := range strings.Lines(write) {
					if line[3] == ' ' {
						codes = append(codes, line[:3])
					}
				}
				got = append(got, strings.Join(codes, " "))
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
