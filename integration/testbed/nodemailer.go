package testbed

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

const nodemailerVersion = "10.6.0"

// NodemailerOptions say how SendNodemailer connects. The zero value means SMTP, one connection for each mail, and
// neither TLS nor AUTH; CAFile, User and Password of the mails are not looked at.
type NodemailerOptions struct {
	LMTP     bool   `json:"lmtp"`
	Pool     int    `json:"pool"`     // send all mails over so many connections that are kept
	CAFile   string `json:"caFile"`   // for TLS, in PEM; empty: none
	Implicit bool   `json:"implicit"` // TLS from the first octet, not by STARTTLS
	User     string `json:"user"`     // for AUTH; empty: none
	Password string `json:"password"`
	Method   string `json:"method"` // of AUTH; empty: PLAIN
}

// SendNodemailer sends mails to addr (host:port), all at the same time, with nodemailer, an SMTP client in JavaScript,
// which streams attachments from a file. A refusal is no failure of the test: it is in the result, which has the order
// of the mails.
func SendNodemailer(t testing.TB, addr string, o NodemailerOptions, mails ...Mail) []Sent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sendTimeout)
	defer cancel()
	modules, err := installNodemailer(ctx)
	if err != nil {
		unavailable(t, "nodemailer", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("send by nodemailer: %v", err)
	}
	type attached struct {
		Mail
		Path string `json:"path"`
	}
	job := struct {
		NodemailerOptions
		Host    string     `json:"host"`
		Port    string     `json:"port"`
		Timeout int        `json:"timeout"`
		Mails   []attached `json:"mails"`
	}{o, host, port, int(sendTimeout.Seconds()), nil}
	sums := make([]string, len(mails))
	for i, m := range mails {
		if m.InlineOctets != 0 {
			t.Fatal("SendNodemailer sends no inline image: use SendSMTPLib")
		}
		a := attached{Mail: m}
		if m.AttachmentOctets > 0 {
			a.Path = filepath.Join(t.TempDir(), "attachment")
			sums[i] = writeOctets(t, a.Path, m.Seed, m.AttachmentOctets)
		}
		job.Mails = append(job.Mails, a)
	}
	description, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	out, err := runTool(ctx, Command{Path: "node", Env: []string{"NODE_PATH=" + modules},
		Args: []string{script(t, "send.js"), inFile(t, "mails.json", description)}})
	if err != nil {
		t.Fatalf("send by nodemailer to %s: %v", addr, err)
	}
	sent := make([]Sent, len(mails))
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&sent); err != nil || len(sent) != len(mails) {
		t.Fatalf("read the output of nodemailer, %d results for %d mails: %v: %s", len(sent), len(mails), err, out)
	}
	for i := range sent {
		sent[i].AttachmentSHA256 = sums[i]
	}
	return sent
}

// installNodemailer returns the folder node_modules with nodemailer in it.
func installNodemailer(ctx context.Context) (string, error) {
	return npmPackage(ctx, "nodemailer", nodemailerVersion)
}
