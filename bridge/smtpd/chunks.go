package smtpd

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// errAbandoned reports that a command ended a message by BDAT: RSET, QUIT, a greeting. session.pending is that command.
var errAbandoned = errors.New("another command in the place of BDAT")

// chunkRead is the most that is read of a chunk at once. With larger reads, client and server wait for each other
// in turn: 10 to 15 % slower on loopback.
const chunkRead = 32 << 10

// chunkReader is the message of one BDAT after the other (RFC 3030 §2).
type chunkReader struct {
	s         *session
	remaining int64 // octets of this chunk
	last      bool  // it is the last one
	refused   bool  // nothing beyond this chunk is read
	err       error
}

// Read returns io.EOF after all octets of the last chunk only.
func (r *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && r.remaining == 0 {
		if r.last || r.refused {
			return 0, io.EOF
		}
		r.err = r.next()
	}
	if r.err != nil {
		return 0, r.err
	}
	n, _, err := r.s.conn.readMessage(p[:min(int64(len(p)), r.remaining, chunkRead)])
	r.remaining -= int64(n)
	r.err = err
	return n, err
}

func (r *chunkReader) await() error {
	for r.err == nil && r.remaining == 0 && !r.last {
		r.err = r.next()
	}
	if r.err == nil && r.remaining > 0 {
		r.err = r.s.conn.await()
	}
	return r.err
}

// next acknowledges a chunk, and waits for the next one. The wait counts for the
// pace of the message, and a chunk without octets as a command without a message.
func (r *chunkReader) next() error {
	r.s.reply(250, "2.0.0", "continue")
	for {
		begun := time.Now()
		c, err := r.s.command()
		if err != nil {
			r.s.lost(err)
			return errAbandoned
		}
		if r.s.conn.pace.add(r.s.server.cfg.MinRate, 0, time.Since(begun)) {
			return errTooSlow
		}
		if c.verb == "BDAT" {
			r.remaining, r.last, err = parseChunk(c.arg)
			if err != nil {
				r.s.pending = &c // it ends the session
				return errAbandoned
			}
			if r.remaining == 0 && !r.last {
				r.s.commands++
				r.s.limit()
			}
			if r.s.closing != open {
				return errAbandoned
			}
			return nil
		}
		if r.s.abandons(c) {
			r.s.pending = &c
			return errAbandoned
		}
		if r.s.handle(c); r.s.closing != open {
			return errAbandoned
		}
	}
}

// abandons reports whether a command ends the transaction, as it does when it is well-formed.
func (s *session) abandons(c command) bool {
	switch c.verb {
	case "RSET", "QUIT":
		return c.arg == ""
	case "EHLO", "HELO", "LHLO":
		return s.checkHello(c) == nil
	}
	return false
}

func (r *chunkReader) whole() bool { return r.err == nil && r.last && r.remaining == 0 }

func (r *chunkReader) drained() { r.refused = true }

// errBadChunk answers BDAT with arguments that cannot be read. Nobody knows then whether octets follow, or commands.
var errBadChunk = reply(501, 5, 5, 4, "want BDAT, the octets of the chunk, and LAST for the last one")

// parseChunk reads the arguments of BDAT.
func parseChunk(arg string) (octets int64, last bool, err error) {
	size, end, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(size, 10, 63) // takes no sign
	end = strings.Trim(end, " \t")
	last = equalFold(end, "LAST")
	if err != nil || end != "" && !last {
		return 0, false, errBadChunk
	}
	return int64(n), last, nil
}

// bdat takes a message, or throws away a chunk that belongs to none: what a
// client has sent ahead after a chunk was refused.
func (s *session) bdat(c command) error {
	octets, last, err := parseChunk(c.arg)
	if err != nil {
		s.replyError(err)
		s.hangUp(unknownRest)
		return nil
	}
	r := &chunkReader{s: s, remaining: octets, last: last}
	if s.mail != nil && len(s.rcpts) > 0 {
		s.receive(r)
		return nil
	}
	s.conn.pace = pace{}
	switch s.drain(r) {
	case lost:
		s.lost(r.err)
		return nil
	case overdrawn, stalled:
		s.replyError(errSequence)
		s.hangUp(unreadRest)
		return nil
	}
	return errSequence
}
