package testbed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// sendTimeout bounds the sending of one mail, which may be a gigabyte.
const sendTimeout = 5 * time.Minute

// Mail is a mail for an SMTP client to send: a text, an image inside the text's part, and a file. A part of zero
// octets is left out.
type Mail struct {
	From    string   `json:"from"`    // empty for the null reverse-path
	To      []string `json:"to"`      // the recipients of one transaction, at least one; beyond ASCII: SMTPUTF8 (RFC 6531)
	Subject string   `json:"subject"` // in UTF-8
	Text    string   `json:"text"`    // in UTF-8, lines end in LF

	Seed             uint32 `json:"seed"` // the octets of file and image are pseudo-random and follow from it
	AttachmentOctets int64  `json:"attachmentOctets"`
	AttachmentName   string `json:"attachmentName"`
	InlineOctets     int64  `json:"inlineOctets"` // SendSwaks, SendNodemailer: must be zero

	User     string `json:"user"` // for AUTH; empty: none
	Password string `json:"password"`
	CAFile   string `json:"caFile"` // for STARTTLS, in PEM; empty: none. SendSwaks: must be empty
}

// Sent is what became of a Mail.
type Sent struct {
	// Code is the SMTP reply code that ended the transaction: that to the end of data, or to the command that was
	// refused. Zero means that the connection could not be made or was lost.
	Code int
	// Reply is the text of that reply, or the error.
	Reply string
	// Octets is the length of the message as sent, before dot-stuffing, with MessageSHA256 its digest in hexadecimal.
	// SendSwaks and SendNodemailer leave both empty, and TextSHA256.
	Octets        int64
	MessageSHA256 string

	AttachmentSHA256 string // of the file's octets
	InlineSHA256     string // of the image's octets
	TextSHA256       string // of the text with CRLF at the end of lines, in UTF-8
}

// SendSMTPLib sends a mail to addr (host:port) with Python's smtplib and email packages, which hold it in memory. A
// refusal is no failure of the test: it is in the result.
func SendSMTPLib(t testing.TB, addr string, m Mail) Sent {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		unavailable(t, "smtplib", err)
	}
	mail, err := json.Marshal(struct {
		Mail
		Addr    string `json:"addr"`
		Timeout int    `json:"timeout"`
	}{m, addr, int(sendTimeout.Seconds())})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	out, err := runTool(ctx, Command{Path: python, Args: []string{script(t, "send.py"), inFile(t, "mail.json", mail)}})
	if err != nil {
		t.Fatalf("send by smtplib to %s: %v", addr, err)
	}
	var sent Sent
	if err := json.Unmarshal([]byte(out), &sent); err != nil {
		t.Fatalf("read the output of smtplib: %v: %s", err, out)
	}
	return sent
}

// writeOctets fills a file with n pseudo-random octets and returns their SHA-256 in hexadecimal.
func writeOctets(t testing.TB, path string, seed uint32, n int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	source, digest := rand.NewChaCha8(key), sha256.New()
	buf := make([]byte, 64<<10)
	for n > 0 {
		chunk := buf[:min(n, int64(len(buf)))]
		source.Read(chunk) // never fails
		digest.Write(chunk)
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
		n -= int64(len(chunk))
	}
	return hex.EncodeToString(digest.Sum(nil))
}
