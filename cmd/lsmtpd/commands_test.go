package main

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/schema"
)

func TestCommandLine(t *testing.T) {
	tests := []struct {
		name string
		args []string
		code int
		out  string
		err  string
	}{
		{"none", nil, exitUsage, "Available Commands:", "which command? lsmtpd demo shows all of it"},
		{"help", []string{"--help"}, exitOK, "Available Commands:", ""},
		{"unknown", []string{"surf"}, exitUsage, "", `unknown command "surf"; lsmtpd --help lists them`},
		{"unknown, like another", []string{"sevre"}, exitUsage, "", `unknown command "sevre"; did you mean serve?`},
		{"version", []string{"version"}, exitOK, "lsmtpd ", ""},
		{"version with an argument", []string{"version", "x"}, exitUsage, "", "lsmtpd version takes no arguments"},
		{"demo, size", []string{"demo", "--size=big"}, exitUsage, "", `--size: "big" is not a size; want octets, as 65536, 64KiB or 200MB`},
		{"send, size", []string{"send", "--size=big"}, exitUsage, "", `--size: "big" is not a size; want octets, as 65536, 64KiB or 200MB`},
		{"send, server", []string{"send", "--server=localhost"}, exitUsage, "", `--server: "localhost" is not an address; want HOST:PORT`},
		{"send, missing file", []string{"send", "--attach=/nonexistent/x.pdf"}, exitUsage, "", "--attach: stat /nonexistent/x.pdf: no such file"},
		{"send, folder", []string{"send", "--attach=/"}, exitUsage, "", "--attach: / is not a regular file"},
		{"send, no recipient", []string{"send", "--to="}, exitUsage, "", "--to: missing; give at least one recipient"},
		{"send, server away", []string{"send", "--server=127.0.0.1:1"}, exitFailed, "", "--server: dial tcp 127.0.0.1:1: connect: connection refused; does lsmtpd listen there?"},
		{"tail, no broker", []string{"tail"}, exitUsage, "", "broker.url: missing; set it, as in amqp://127.0.0.1:5672"},
		{"tail, no address", []string{"tail"}, exitUsage, "", "broker.address: missing; set it, as in mail"},
		{"tail, certificate without key", []string{"tail", "--broker.url=amqps://127.0.0.1:1", "--broker.address=mail", "--broker.tls.cert_file=/dev/null"}, exitUsage, "",
			"broker.tls.cert_file and broker.tls.key_file: one is set without the other; set both or none"},
		{"tail, negative count", []string{"tail", "--broker.url=amqp://127.0.0.1:1", "--broker.address=mail", "-n=-1"}, exitUsage, "", "--count: -1 is negative; want 0 for no end, or a number"},
		{"tail, broker away", []string{"tail", "--broker.url=amqp://" + userText + ":" + secretText + "@127.0.0.1:1", "--broker.address=mail"}, exitFailed, "",
			"connect to amqp://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; check that the broker runs and that broker.url names its AMQP port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, text := runs(t, nil, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			contains(t, "standard output", out, tt.out)
			contains(t, "standard error", text, tt.err)
		})
	}
}

func TestDemo(t *testing.T) {
	// Not parallel: demo looks for free ports near the defaults, and two of them might find the same.
	code, out, text := runs(t, nil, "demo", "--once", "--size", "1MB")
	if code != exitOK {
		t.Fatalf("exit code %d, want %d:\n%s%s", code, exitOK, out, text)
	}
	contains(t, "output", out, "250 ", "queued as ", `application/octet-stream "scan.bin"`, "every attachment read back from the store is what was sent")
}

func TestDemoServesOn(t *testing.T) {
	// Not parallel: demo looks for free ports near the defaults, and two of them might find the same.
	p := start(t, nil, "", "demo", "--size", "100kB")
	deadline := time.After(long)
	for !strings.Contains(p.out.String(), "Serving until interrupted") {
		p.out.mu.Lock()
		changed := p.out.changed
		p.out.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("does not serve:\n%s%s", p.out, p.err)
		}
	}
	p.signals <- syscall.SIGINT
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d:\n%s", code, exitOK, p.err)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	p, node := served(t, "--smtp.max_recipients=1")
	at := "--server=" + p.listens("smtp")
	t.Run("attachments", func(t *testing.T) {
		file := write(t, "note.txt", "a note\n")
		code, out, text := runs(t, nil, "send", at, "--attach", file, "--size", "100KiB", "--subject", "Grüße", "--from", "")
		if code != exitOK || !strings.HasPrefix(out, "250 ") || !strings.Contains(out, "queued as ") {
			t.Fatalf("exit code %d, want %d and a reply:\n%s%s", code, exitOK, out, text)
		}
		m := published(t, node, 1)
		var names []string
		for _, a := range m.Email.Attachments {
			names = append(names, *a.Name)
		}
		if got, want := strings.Join(names, " "), "note.txt generated.bin"; got != want {
			t.Errorf("attachments %s, want %s", got, want)
		}
		if m.Email.Subject == nil || *m.Email.Subject != "Grüße" || m.Envelope.MailFrom.Email != "" {
			t.Errorf("subject %v from %q, want Grüße from the null reverse-path", m.Email.Subject, m.Envelope.MailFrom.Email)
		}
	})
	t.Run("refused recipient", func(t *testing.T) {
		code, _, text := runs(t, nil, "send", at, "--to", "b@example.com,c@example.com")
		if code != exitFailed {
			t.Errorf("exit code %d, want %d", code, exitFailed)
		}
		contains(t, "error", text, "RCPT TO:<c@example.com>: ", "452", "1 recipients")
	})
	t.Run("no STARTTLS there", func(t *testing.T) {
		code, _, text := runs(t, nil, "send", at, "--starttls")
		if code != exitFailed {
			t.Errorf("exit code %d, want %d", code, exitFailed)
		}
		contains(t, "error", text, "STARTTLS: ")
	})
}

func TestSendSTARTTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile, _ := certificate(t)
	p, node := served(t, "--smtp.tls.cert_file", certFile, "--smtp.tls.key_file", keyFile, "--smtp.tls.required")
	at := "--server=" + p.listens("smtp")
	if code, _, text := runs(t, nil, "send", at, "--starttls"); code != exitFailed || !strings.Contains(text, "x509") {
		t.Errorf("with a certificate nobody vouches for: exit code %d, want %d:\n%s", code, exitFailed, text)
	}
	if code, _, text := runs(t, nil, "send", at, "--starttls", "--insecure"); code != exitOK {
		t.Errorf("exit code %d, want %d:\n%s", code, exitOK, text)
	}
	if m := published(t, node, 1); m.Envelope.TLS == nil {
		t.Errorf("sent without TLS")
	}
}

// foreign puts a message that lsmtpd did not publish into the queue mail.
func foreign(t *testing.T, node *devbroker.Broker) {
	t.Helper()
	octets, err := (&amqp.Message{Data: [][]byte{[]byte("of another program")}}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := node.Put("mail", octets); err != nil || !stored {
		t.Fatalf("put: %v, %v", stored, err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	node, broker := devbroker.Start(t, devbroker.Config{})
	p := start(t, environment(t, "LSMTPD_BROKER_URL="+broker), "", "serve")
	at := p.listens("smtp")
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(userText, secretText)
	tail := []string{"tail", "--broker.url=" + u.String(), "--broker.address=mail"}

	foreign(t, node)
	for _, subject := range []string{"first", "second", "third"} {
		if code, _, text := runs(t, nil, "send", "--server="+at, "--subject="+subject); code != exitOK {
			t.Fatalf("send: %s", text)
		}
	}
	code, out, text := runs(t, nil, append(tail, "--json", "-n", "2")...)
	if code != exitOK {
		t.Errorf("exit code %d, want %d:\n%s", code, exitOK, text)
	}
	contains(t, "standard error", text, "not a message of lsmtpd, left in the queue")
	var subjects []string
	for line := range strings.Lines(out) {
		m, err := schema.Decode(json.RawMessage(line))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		subjects = append(subjects, *m.Email.Subject)
	}
	if got, want := strings.Join(subjects, " "), "first second"; got != want {
		t.Errorf("printed %s, want %s", got, want)
	}
	if code, out, _ := runs(t, nil, append(tail, "-n", "1")...); code != exitOK || !strings.Contains(out, "subject    third") {
		t.Errorf("exit code %d, want %d and the third message:\n%s", code, exitOK, out)
	}

	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	left, err := node.WaitMessages(ctx, "mail", 1)
	if err != nil || len(left) != 1 || !strings.Contains(string(left[0].Octets), "of another program") {
		t.Errorf("left in the queue: %v, %v; want the message of another program alone", left, err)
	}
}

func TestTailOfAnotherQueue(t *testing.T) {
	t.Parallel()
	node, broker := devbroker.Start(t, devbroker.Config{})
	for range maxForeign + 1 {
		foreign(t, node)
	}
	code, _, text := runs(t, nil, "tail", "--broker.url="+broker, "--broker.address=mail")
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	contains(t, "error", text, "101 messages that lsmtpd did not publish, left in the queue: does broker.address name the right one?")
	if n := len(node.Messages("mail")); n != maxForeign+1 {
		t.Errorf("%d messages are left, want %d", n, maxForeign+1)
	}
}

func TestTailEndsWithASignal(t *testing.T) {
	t.Parallel()
	node, broker := devbroker.Start(t, devbroker.Config{})
	foreign(t, node)
	p := start(t, nil, "", "tail", "--broker.url="+broker, "--broker.address=mail")
	p.await("not a message of lsmtpd")
	p.signals <- syscall.SIGINT
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d:\n%s", code, exitOK, p.err)
	}
}

func TestSourceRefused(t *testing.T) {
	t.Parallel()
	node, broker := devbroker.Start(t, devbroker.Config{})
	node.Script("mail").ReceiverAttach(devbroker.Every).IsRefused("amqp:not-found", "no such queue")
	code, _, text := runs(t, nil, "tail", "--broker.url="+broker, "--broker.address=mail")
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	contains(t, "error", text, `receive from "mail": `, "amqp:not-found", "make the queue, or set broker.address")
}
