package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A message writes the octets of a message: lines end in CRLF and none begins with a dot, so they are also what goes
// over the wire. An error of the writer sticks to it. A message may be written by several goroutines at once.
type message func(w *bufio.Writer)

// lineOctets are encoded in one line of base64 (RFC 2045 §6.8), which then needs no padding.
const lineOctets = 57

const fields = "From: Bench <a@example.org>\r\nTo: in@example.com\r\nSubject: load\r\nMessage-ID: <load@bench.example.org>\r\nMIME-Version: 1.0\r\n"

// attachmentMessage is a text and an attachment of so many octets, or up to 56 more.
func attachmentMessage(octets int64) message {
	const lines = 1024
	block := base64Lines(lines)
	return func(w *bufio.Writer) {
		_, _ = w.WriteString(fields + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nThe file is attached.\r\n" +
			"--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=load.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		left := (octets + lineOctets - 1) / lineOctets
		for ; left > lines; left -= lines {
			_, _ = w.Write(block)
		}
		_, _ = w.Write(block[:left*int64(len(block)/lines)])
		_, _ = w.WriteString("--b--\r\n")
	}
}

// base64Lines are lines of base64 of pseudo-random octets, always the same.
func base64Lines(lines int) []byte {
	random := rand.NewChaCha8([32]byte{})
	var encoded []byte
	var octets [lineOctets]byte
	for range lines {
		_, _ = random.Read(octets[:]) // never fails
		encoded = append(base64.StdEncoding.AppendEncode(encoded, octets[:]), '\r', '\n')
	}
	return encoded
}

// partsMessage is a multipart of so many small text parts.
func partsMessage(parts int64) message {
	return func(w *bufio.Writer) {
		_, _ = w.WriteString(fields + "Content-Type: multipart/mixed; boundary=b\r\n\r\n")
		for range parts {
			_, _ = w.WriteString("--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nOne of many parts.\r\n")
		}
		_, _ = w.WriteString("--b--\r\n")
	}
}

// headerMessage has so many octets of header, or less than a field more: the same field again and again.
func headerMessage(octets int64, field string) message {
	return func(w *bufio.Writer) {
		_, _ = w.WriteString(fields)
		for left := octets; left > 0; left -= int64(len(field)) {
			_, _ = w.WriteString(field)
		}
		_, _ = w.WriteString("\r\nThe header is long.\r\n")
	}
}

// foldedMessage has one header field of so many octets, or less than a line more, folded (RFC 5322 §2.2.3).
func foldedMessage(octets int64) message {
	line := " " + strings.Repeat("f", 900) + "\r\n"
	return func(w *bufio.Writer) {
		_, _ = w.WriteString(fields + "X-Folded:\r\n")
		for left := octets; left > 0; left -= int64(len(line)) {
			_, _ = w.WriteString(line)
		}
		_, _ = w.WriteString("\r\nThe header is long.\r\n")
	}
}

// nestedMessage has a multipart in a multipart, so many levels deep, and a text in the innermost.
func nestedMessage(levels int64) message {
	return func(w *bufio.Writer) {
		_, _ = w.WriteString(fields)
		for i := range levels {
			fmt.Fprintf(w, "Content-Type: multipart/mixed; boundary=level%d\r\n\r\n--level%d\r\n", i, i)
		}
		_, _ = w.WriteString("\r\nDeep down.\r\n")
		for i := levels - 1; i >= 0; i-- {
			fmt.Fprintf(w, "--level%d--\r\n", i)
		}
	}
}

// smallMessage is a plain text of about so many octets, header included.
func smallMessage(octets int) message {
	const line = "An ordinary line of an ordinary mail, as people write them to each other.\r\n"
	text := []byte(fields + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat(line, max(1, (octets-len(fields))/len(line))))
	return func(w *bufio.Writer) { _, _ = w.Write(text) }
}
