package extract

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"strings"
	"testing"
	"time"

	"lsmtpd/schema"
)

const benchOctets = 64 << 20

// chunks reads a message in reads of at most 64 KiB, as a socket gives it.
type chunks struct{ b []byte }

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 64<<10)], c.b)
	c.b = c.b[n:]
	return n, nil
}

// drain reads all parts into w.
func drain(b *testing.B, message []byte, w io.Writer, buf []byte) {
	r := NewReader(&chunks{message}, Limits{})
	defer r.Close()
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(w, readerOnly{p.Body}, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAttachment reads a message with one large attachment, without and
// with SHA-256 of its octets. Metric "of-copy" is its speed as a share of that
// of copying the same message from the same source, "of-sha256" that of hashing it.
func BenchmarkAttachment(b *testing.B) {
	octets := randomOctets(benchOctets)
	text := bytes.Repeat([]byte("Lorem ipsum dolor sit amet, consectetur =C3=A4 adipisici elit, sed=\r\n eiusmod tempor\r\n"), benchOctets/85)
	for _, bb := range []struct {
		name, encoding string
		body           []byte
	}{{"base64", "base64", wrapped(octets)}, {"binary", "binary", octets}, {"quoted-printable", "quoted-printable", text}} {
		message := []byte(mixed("--x", "", "text", "--x", "Content-Type: application/octet-stream", "Content-Transfer-Encoding: "+bb.encoding, "", ""))
		message = append(append(message, bb.body...), "\r\n--x--\r\n"...)
		buf := make([]byte, 256<<10)
		for _, hashed := range []bool{false, true} {
			w, name := io.Discard, bb.name
			if hashed {
				w, name = sha256.New(), name+"+sha256"
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(message)))
				const copies = 5
				start := time.Now()
				for range copies {
					copyAll(b, message, w, buf)
				}
				perCopy := float64(time.Since(start).Nanoseconds()) / copies
				for b.Loop() {
					drain(b, message, w, buf)
				}
				perOp := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
				metric := "of-copy"
				if _, ok := w.(hash.Hash); ok {
					metric = "of-sha256"
				}
				b.ReportMetric(perCopy/perOp, metric)
			})
		}
	}
}

// copyAll is the ceiling: the same message from the same source, unread.
func copyAll(b *testing.B, message []byte, w io.Writer, buf []byte) {
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, &chunks{message}, buf[:64<<10]); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSmall reads a mail of two text parts, with its header described.
func BenchmarkSmall(b *testing.B) {
	message := []byte(lines(
		"Return-Path: <alice@example.org>", "Received: from mx.example.org (mx.example.org [192.0.2.1])", "\tby mail.example.com with ESMTPS id 1234",
		"\tfor <bob@example.com>; Mon, 2 Jan 2006 15:04:05 -0700", "From: Alice <alice@example.org>", "To: Bob <bob@example.com>",
		"Subject: The quarterly report", "Date: Mon, 2 Jan 2006 15:04:05 -0700", "Message-ID: <1234.5678@example.org>", "MIME-Version: 1.0",
		"Content-Type: multipart/alternative; boundary=\"=_part_1\"", "",
		"--=_part_1", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "", strings.Repeat("Hello =C3=A4 world\r\n", 20),
		"--=_part_1", "Content-Type: text/html; charset=utf-8", "", strings.Repeat("<p>Hello world</p>\r\n", 30), "--=_part_1--", ""))
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	buf := make([]byte, 32<<10)
	for b.Loop() {
		if _, err := readAll(message, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// readAll reads a message the way a bridge does, without keeping it.
func readAll(message, buf []byte) (n int64, err error) {
	r := NewReader(bytes.NewReader(message), Limits{})
	defer r.Close()
	h, err := r.Header()
	if err != nil {
		return 0, err
	}
	var e schema.Email
	h.Describe(&e)
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		k, err := io.CopyBuffer(io.Discard, readerOnly{p.Body}, buf)
		if n += k; err != nil {
			return n, err
		}
	}
}
