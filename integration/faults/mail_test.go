//go:build integration

package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// content is what a mail carries, by what it asks of the store.
type content int

const (
	noAttachment content = iota
	onePut
	multipart
)

var contents = []content{noAttachment, onePut, multipart}

func (c content) String() string {
	return [...]string{"no attachment", "one PUT", "multipart"}[c]
}

const (
	// partBytes is the smallest part that S3 takes.
	partBytes = 5 << 20
	// The octets of the attachments: more than message.offload_threshold, and more than one part.
	onePutBytes, multipartBytes = 100_000, partBytes + 600_000
)

func (c content) octets() int { return [...]int{0, onePutBytes, multipartBytes}[c] }

// domains are those of the recipients; each is a destination of its own.
var domains = [...]string{"one.example", "two.example"}

// mail is a numbered mail. Its content follows from the seed and its number.
type mail struct {
	seed         uint64
	number       int
	content      content
	destinations []int // indexes into domains

	sha256, attachment string // of the message, and of the attachment; set when the mail is made

	mu       sync.Mutex
	attempts []attempt
	queued   string // the transaction that was acknowledged, "" for none yet
}

// attempt is one try to deliver a mail.
type attempt struct {
	sent    time.Time // when the end of data was on its way; zero where it did not come so far
	replied time.Time // when the reply, or the end of the connection, was seen
	reply   string    // "" for none
}

func newMail(seed uint64, number int, c content, destinations ...int) *mail {
	m := &mail{seed: seed, number: number, content: c, destinations: destinations}
	octets, file := m.make()
	sum := sha256.Sum256(octets)
	m.sha256 = hex.EncodeToString(sum[:])
	if c != noAttachment {
		sum = sha256.Sum256(file)
		m.attachment = hex.EncodeToString(sum[:])
	}
	return m
}

// recipient is the address that stands for a destination.
func recipient(destination int) string { return "in@" + domains[destination] }

// message is the mail as it is sent: lines end in CRLF, and none begins with a dot.
func (m *mail) message() []byte {
	octets, _ := m.make()
	return octets
}

func (m *mail) make() (message, file []byte) {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], m.seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(m.number))
	source := rand.NewChaCha8(key)
	var b bytes.Buffer
	b.Grow(m.content.octets()*7/5 + 1024)
	fmt.Fprintf(&b, "From: a@example.org\r\nTo: in@example.com\r\nSubject: number %[1]d\r\nX-Number: %[1]d\r\n"+
		"Message-ID: <%[1]d.%016[2]x@example.org>\r\nMIME-Version: 1.0\r\n", m.number, m.seed)
	if m.content == noAttachment {
		fmt.Fprintf(&b, "Content-Type: text/plain\r\n\r\nThis is mail number %d, %016x.\r\n", m.number, source.Uint64())
		return b.Bytes(), nil
	}
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nThis is mail number %d.\r\n"+
		"--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=%[1]d.bin\r\n"+
		"Content-Transfer-Encoding: base64\r\n\r\n", m.number)
	file = make([]byte, m.content.octets())
	_, _ = source.Read(file) // never fails
	const line = 57          // octets in a line of 76
	for rest := file; len(rest) > 0; {
		n := min(line, len(rest))
		b.Write(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), rest[:n]))
		b.WriteString("\r\n")
		rest = rest[n:]
	}
	b.WriteString("--b--\r\n")
	return b.Bytes(), file
}

// note adds a try.
func (m *mail) note(a attempt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts = append(m.attempts, a)
}

// ledger is the mails of a round.
type ledger struct {
	seed uint64

	mu    sync.Mutex
	mails []*mail
}

// add makes the next mail.
func (l *ledger) add(c content, destinations ...int) *mail {
	l.mu.Lock()
	number := len(l.mails)
	l.mails = append(l.mails, nil)
	l.mu.Unlock()
	m := newMail(l.seed, number, c, destinations...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mails[number] = m
	return m
}

func (l *ledger) all() []*mail {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*mail(nil), l.mails...)
}
