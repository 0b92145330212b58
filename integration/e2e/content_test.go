//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"lsmtpd/schema"
)

// TestContent sends what mail may contain over one connection, mail after mail, and wants each octet of it back.
func TestContent(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		d := serveReady(t, s.settings())
		client := dial(t, d.smtp)
		ids := map[string]bool{}
		for _, c := range []struct {
			name string
			test func(*testing.T, *site, *smtpClient) *schema.Message
		}{
			{"null reverse-path", testNullReversePath},
			{"after RSET", testReset},
			{"8-bit body", test8Bit},
			{"binary body", testBinary},
			{"binary message in BDAT chunks of all sizes", testChunks},
			{"header only", testHeaderOnly},
			{"header without an empty line", testNoEmptyLine},
			{"empty", testEmpty},
			{"header of 5,000 fields", testManyFields},
			{"1,000 recipients", testManyRecipients},
		} {
			t.Run(c.name, func(t *testing.T) {
				client.t = t
				m := c.test(t, s, client)
				for _, id := range []string{m.ID, m.TransactionID} {
					if ids[id] {
						t.Errorf("the id %s was another's", id)
					}
					ids[id] = true
				}
			})
		}
		client.t = t
		client.do("221", "QUIT")
		d.stop(t)
	})
}

// only sends a message on the connection and takes it, alone, out of the queue.
func only(t *testing.T, s *site, c *smtpClient, message []byte) *schema.Message {
	t.Helper()
	c.send(message)
	m := drain(t, s, 1)[0]
	wantWhole(t, m, message)
	return m
}

func testNullReversePath(t *testing.T, s *site, c *smtpClient) *schema.Message {
	message := crlf("From: MAILER-DAEMON@example.org\nSubject: bounce\n\nsorry\n")
	c.begin("<>", "in@example.com")
	c.want("250 2.0.0 queued as ", c.data(message))
	m := drain(t, s, 1)[0]
	wantWhole(t, m, message)
	if m.Envelope.MailFrom.Email != "" || len(m.Envelope.RcptTo) != 1 || m.Envelope.RcptTo[0].Email != "in@example.com" {
		t.Errorf("the envelope is %+v; want it from the null reverse-path to in@example.com", m.Envelope)
	}
	wantOctets(t, "text", octets(t, s, m, "b1"), []byte("sorry\r\n"))
	return m
}

// testReset begins one transaction, drops it, and wants nothing of it in the next.
func testReset(t *testing.T, s *site, c *smtpClient) *schema.Message {
	c.begin("<dropped@example.org> SIZE=1000", "dropped@example.com")
	c.do("250", "RSET")
	m := only(t, s, c, crlf("From: a@example.org\n\nkept\n"))
	if m.Envelope.MailFrom.Email != "a@example.org" || m.Envelope.MailFrom.Parameters != nil || len(m.Envelope.RcptTo) != 1 {
		t.Errorf("the envelope is %+v; want none of what was reset", m.Envelope)
	}
	return m
}

// test8Bit has every octet from 0x80, lines that begin with dots, and one of the greatest length (RFC 5321 §4.5.3.1.6).
func test8Bit(t *testing.T, s *site, c *smtpClient) *schema.Message {
	var body bytes.Buffer
	for octet := 0x80; octet <= 0xff; octet++ {
		body.WriteString("..a.\r\n.\r\n")
		body.Write([]byte{byte(octet), byte(octet), '\r', '\n'})
	}
	body.WriteString(strings.Repeat("\xfc", 998) + "\r\n")
	message := append(crlf("From: a@example.org\nContent-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n"), body.Bytes()...)
	c.begin("<a@example.org> BODY=8BITMIME", "in@example.com")
	c.want("250 2.0.0 queued as ", c.data(message))
	m := drain(t, s, 1)[0]
	wantWhole(t, m, message)
	wantOctets(t, "body", octets(t, s, m, "b1"), body.Bytes())
	if p := m.Envelope.MailFrom.Parameters["body"]; show(p) != "8BITMIME" {
		t.Errorf("the parameter body is %s, want 8BITMIME", show(p))
	}
	if v := m.Email.BodyValues["1"]; v.IsEncodingProblem || !strings.Contains(v.Value, "аа") {
		t.Errorf("the text is %.80q, encoding problem: %t; want it read as KOI8-R", v.Value, v.IsEncodingProblem)
	}
	return m
}

// binaryOctets hold all octets, bare CR and LF, NUL, and what would end DATA.
func binaryOctets(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{5}).Read(b) // never fails
	copy(b, "\r\n.\r\n.\n\r\r\n\x00\n.\n--\r\nBDAT 3\r\nQUIT\r\n\r\n.\r\n")
	for i := range 256 {
		b[100+i] = byte(i)
	}
	return b
}

func binaryMail(small, large []byte) []byte {
	var message bytes.Buffer
	message.Write(crlf("From: a@example.org\nContent-Type: multipart/mixed; boundary=binary\n\n"))
	for _, part := range [][]byte{small, large} {
		message.Write(crlf("--binary\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\n"))
		message.Write(part)
		message.WriteString("\r\n")
	}
	message.Write(crlf("--binary--\n"))
	return message.Bytes()
}

func testBinary(t *testing.T, s *site, c *smtpClient) *schema.Message {
	small, large := binaryOctets(3000), binaryOctets(6_000_000)
	message := binaryMail(small, large)
	c.begin("<a@example.org> BODY=BINARYMIME", "in@example.com")
	c.want("250 2.0.0 queued as ", c.bdat(message))
	m := drain(t, s, 1)[0]
	wantWhole(t, m, message)
	wantOctets(t, "small part", octets(t, s, m, "b1"), small)
	wantOctets(t, "large part", octets(t, s, m, "b2"), large)
	if m.Blobs["b1"].Inline == nil || m.Blobs["b2"].Stored == nil {
		t.Errorf("the blobs are %+v; want b1 inline and b2 in the store", m.Blobs)
	}
	if p := m.Envelope.MailFrom.Parameters["body"]; show(p) != "BINARYMIME" {
		t.Errorf("the parameter body is %s, want BINARYMIME", show(p))
	}
	return m
}

// testChunks cuts a message into chunks of one octet, two, three and so on, the last of which is empty.
func testChunks(t *testing.T, s *site, c *smtpClient) *schema.Message {
	small, large := binaryOctets(500), binaryOctets(70_000)
	message := binaryMail(small, large)
	var chunks [][]byte
	for rest, n := message, 1; ; n++ {
		n = min(n, len(rest))
		chunks = append(chunks, rest[:n])
		if rest = rest[n:]; n == 0 {
			break
		}
	}
	c.begin("<a@example.org> BODY=BINARYMIME", "in@example.com")
	c.want("250 2.0.0 queued as ", c.bdat(chunks...))
	m := drain(t, s, 1)[0]
	wantWhole(t, m, message)
	wantOctets(t, "small part", octets(t, s, m, "b1"), small)
	wantOctets(t, "large part", octets(t, s, m, "b2"), large)
	return m
}

func testHeaderOnly(t *testing.T, s *site, c *smtpClient) *schema.Message {
	const header = "From: a@example.org\nSubject: only a header\n"
	m := only(t, s, c, crlf(header+"\n"))
	wantHeader(t, m, crlf(header))
	wantEmptyBody(t, s, m)
	return m
}

func testNoEmptyLine(t *testing.T, s *site, c *smtpClient) *schema.Message {
	const header = "From: a@example.org\nSubject: only a header,\n folded\n"
	m := only(t, s, c, crlf(header))
	if show(m.Email.Subject) != "only a header, folded" {
		t.Errorf("the subject is %q", show(m.Email.Subject))
	}
	wantEmptyBody(t, s, m)
	return m
}

func testEmpty(t *testing.T, s *site, c *smtpClient) *schema.Message {
	m := only(t, s, c, nil)
	if len(m.Email.Headers) != 0 {
		t.Errorf("the header fields are %+v, want none", m.Email.Headers)
	}
	wantEmptyBody(t, s, m)
	return m
}

// wantEmptyBody wants one part, a text, with nothing in it.
func wantEmptyBody(t *testing.T, s *site, m *schema.Message) {
	t.Helper()
	if p := m.Email.BodyStructure; show(p.PartID) != "1" || p.Type != "text/plain" || p.Size != 0 {
		t.Errorf("the body is %+v, want a text/plain of no octets", p)
	}
	wantOctets(t, "text", octets(t, s, m, "b1"), nil)
}

func testManyFields(t *testing.T, s *site, c *smtpClient) *schema.Message {
	var header strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&header, "X-Field-%d: value %d\n", i, i*i)
		if i%1000 == 0 {
			fmt.Fprintf(&header, "Received: from somewhere\n\tby elsewhere; %d\n", i)
		}
	}
	m := only(t, s, c, crlf(header.String()+"\ntext\n"))
	wantHeader(t, m, crlf(header.String()))
	return m
}

func testManyRecipients(t *testing.T, s *site, c *smtpClient) *schema.Message {
	recipients := make([]string, 1000)
	for i := range recipients {
		recipients[i] = fmt.Sprintf("recipient-%d@example.com", i)
	}
	c.begin("<a@example.org>", recipients...)
	c.do("452 4.5.3", "RCPT TO:<one-too-many@example.com>")
	message := crlf("From: a@example.org\n\nto all\n")
	c.want("250 2.0.0 queued as ", c.data(message))
	m := drain(t, s, 1)[0]
	wantWhole(t, m, message)
	if len(m.Envelope.RcptTo) != len(recipients) {
		t.Fatalf("the envelope has %d recipients, want %d", len(m.Envelope.RcptTo), len(recipients))
	}
	for i, r := range m.Envelope.RcptTo {
		if r.Email != recipients[i] {
			t.Errorf("recipient %d is %s, want %s", i, r.Email, recipients[i])
		}
	}
	return m
}
