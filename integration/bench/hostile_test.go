package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"lsmtpd/extract"
)

// TestMailbox reads a message as "hostile" does: a reading that does less would cost less.
func TestMailbox(t *testing.T) {
	const large = 100_000
	message := "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\nContent-Type: image/png\r\n\r\n" + strings.Repeat("x", large) +
		"\r\n--x\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("y", large) + "\r\n--x--\r\n"
	m := newMailbox(hostileLimits{inline: large})
	src := strings.NewReader(message)
	r := extract.NewReader(src, m.limits)
	defer r.Close()
	texts, err := m.readParts(r)
	if err != nil || src.Len() > 0 {
		t.Fatalf("%d octets not read, %v", src.Len(), err)
	}
	if len(texts) != 2 || string(texts[0].octets) != "one" || !texts[0].whole || len(texts[1].octets) != offloadThreshold || texts[1].whole {
		t.Errorf("texts: got %v", texts)
	}
	if parts := r.Structure().SubParts; len(parts) != 3 || parts[1].Size != large || parts[2].Size != large {
		t.Errorf("parts: got %v", parts)
	}
	if err := m.read(strings.NewReader(message)); err != nil {
		t.Error(err)
	}
}

// TestHostile runs the command on a message: what it prints and returns depends on what is allowed.
func TestHostile(t *testing.T) {
	if _, err := ownProcessorTime(); err != nil {
		t.Skip(err)
	}
	var out bytes.Buffer
	o := []string{"--only", "quoted-printable: escapes half", "--octets", "1000000", "--rounds", "1", "--at-least", "1us"}
	if err := hostileMail(context.Background(), append(o, "--only", "no such message"), &out, io.Discard); err == nil {
		t.Error("a message that is not there: no error")
	}
	out.Reset()
	_ = hostileMail(context.Background(), o, &out, io.Discard) // on a machine that is busy it may cost too much
	for _, want := range []string{"default", "raised", "quoted-printable: escapes half"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	for _, args := range [][]string{{"--octets", "1"}, {"--rounds", "0"}, {"--limits", "none"}} {
		if err := hostileMail(context.Background(), args, &out, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestHostileCost(t *testing.T) {
	if got := (hostileCost{copy: 2, read: 30}).ratio(); got != 15 {
		t.Errorf("ratio: got %v, want 15", got)
	}
	octets, err := hashed(strings.NewReader(strings.Repeat("x", 100_000)), make([]byte, readBuffer))
	if octets != 100_000 || err != nil {
		t.Errorf("copy: got %d octets, %v", octets, err)
	}
}
