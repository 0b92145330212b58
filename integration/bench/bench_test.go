package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A message that is not what its scenario says would measure something else, and nobody would see it.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		name        string
		message     message
		least, most int64 // octets
		counted     string
		count       int
	}{
		{"attachment of a line less than a block", attachmentMessage(1023 * lineOctets), 1023 * 78, 1023*78 + 512, "\r\n", 1023 + 16},
		{"attachment of a block", attachmentMessage(1024 * lineOctets), 1024 * 78, 1024*78 + 512, "\r\n", 1024 + 16},
		{"attachment of an octet more", attachmentMessage(1024*lineOctets + 1), 1025 * 78, 1025*78 + 512, "\r\n", 1025 + 16},
		{"parts", partsMessage(1000), 1000 * 60, 1000 * 80, "\r\n--b\r\n", 1000},
		{"long fields", headerMessage(100_000, longField), 100_000, 102_000, "\r\nX-Long: ", 112},
		{"tiny fields", headerMessage(6000, "a: b\r\n"), 6000, 7000, "\r\na: b", 1000},
		{"folded field", foldedMessage(100_000), 100_000, 102_000, "\r\n f", 111},
		{"nesting", nestedMessage(1000), 60_000, 120_000, "Content-Type: multipart/", 1000},
		{"small", smallMessage(2048), 1800, 2048, "\r\n\r\n", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			w := bufio.NewWriter(&b)
			c.message(w)
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if got := c.message.size(); got != int64(len(text)) || got < c.least || got > c.most {
				t.Errorf("size: got %d, want the %d octets written, from %d to %d", got, len(text), c.least, c.most)
			}
			if got := strings.Count(text, c.counted); got != c.count {
				t.Errorf("count of %q: got %d, want %d", c.counted, got, c.count)
			}
			if !strings.HasSuffix(text, "\r\n") || strings.Count(text, "\n") != strings.Count(text, "\r\n") {
				t.Error("a line does not end in CRLF")
			}
			if strings.Contains(text, "\n.") {
				t.Error("a line begins with a dot, which would have to be stuffed")
			}
		})
	}
}

func TestSummary(t *testing.T) {
	refused, cut := errors.New("451 later"), errors.New("EOF")
	err := summary([]error{nil, refused, cut, nil, errors.New("451 later")})
	if got, want := fmt.Sprint(err), "2 of 5 connections: 451 later\n1 of 5 connections: EOF"; got != want {
		t.Errorf("summary: got %q, want %q", got, want)
	}
	if !errors.Is(err, cut) {
		t.Errorf("summary: %v does not wrap %v", err, cut)
	}
	if err := summary(make([]error, 3)); err != nil {
		t.Errorf("summary of no errors: got %v, want nil", err)
	}
}

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		name, status string
		want         int64
		fails        bool
	}{
		{"running", "Name:\tlsmtpd\nVmPeak:\t 1234567 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n", 20 << 20, false},
		{"ended", "Name:\tlsmtpd\nState:\tZ (zombie)\n", 0, true},
		{"other unit", "VmHWM:\t 20 MB\n", 0, true},
		{"no number", "VmHWM:\t many kB\n", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStatus([]byte(c.status), "VmHWM:")
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("parseStatus(%q): got %d, error %v; want %d, an error: %v", c.status, got, err, c.want, c.fails)
			}
		})
	}
}
