// Package hostile has messages made to cost more than their octets: in
// structure, header fields, transfer encodings, charsets and HTML. They are for
// tests and benchmarks of package extract, and are made while they are read, so
// that they may be of any size.
package hostile

import (
	"io"
	"slices"
	"strings"
)

// Message is a kind of hostile message.
type Message struct {
	Name string
	// Header says that what is hostile is in the header of the message, which
	// is all of it.
	Header bool
	pieces func(octets int64) []piece
}

// Source makes a message of this kind of about so many octets, or fewer where
// the kind is a number of something. What it returns begins the message anew
// with each call, which costs nothing.
func (m Message) Source(octets int64) func() io.Reader {
	pieces := m.pieces(octets)
	return func() io.Reader { return &stream{pieces: slices.Clone(pieces)} }
}

// Messages are all kinds.
func Messages() []Message {
	return slices.Concat(structures(), headers(), fields(), encodings(), texts())
}

// piece is a block that is repeated, the last time perhaps not whole.
type piece struct {
	block string
	left  int64 // octets
	at    int   // in block
}

// once is s.
func once(s string) piece { return piece{block: s, left: int64(len(s))} }

// many is unit as often as it fits in so many octets, at least once.
func many(unit string, octets int64) piece {
	return times(unit, max(1, octets/int64(len(unit))))
}

// times is unit so many times.
func times(unit string, count int64) piece {
	const enough = 64 << 10 // octets of a block: a stream must cost no more than a copy
	block := strings.Repeat(unit, int(min(count, enough/int64(len(unit))+1)))
	return piece{block: block, left: count * int64(len(unit))}
}

// stream is a source of pieces.
type stream struct{ pieces []piece }

// Read implements io.Reader.
func (s *stream) Read(p []byte) (n int, err error) {
	for n < len(p) && len(s.pieces) > 0 {
		c := &s.pieces[0]
		k := copy(p[n:], c.block[c.at:min(int64(len(c.block)), int64(c.at)+c.left)])
		n += k
		c.left -= int64(k)
		if c.at += k; c.at == len(c.block) {
			c.at = 0
		}
		if c.left == 0 {
			s.pieces = s.pieces[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

const mixed = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"

// kind is a message that begins with head and then has as much of unit as there may be.
func kind(name, head, unit string) Message {
	return Message{Name: name, pieces: func(octets int64) []piece { return []piece{once(head), many(unit, octets-int64(len(head)))} }}
}

// manyTimes is how often counted has its unit.
const manyTimes = 100_000

// counted is a message that begins with head and then has unit 100,000 times, or as often as there may be.
func counted(name, head, unit string) Message {
	return Message{Name: name, pieces: func(octets int64) []piece {
		return []piece{once(head), times(unit, min(manyTimes, max(1, octets/int64(len(unit)))))}
	}}
}
