package smtpd

import (
	"errors"
	"io"

	"github.com/emersion/go-smtp"
)

// dotState is what dots has seen of the octets before.
type dotState int

const (
	lineStart dotState = iota // a CRLF, or nothing
	lineDot                   // a dot at the start of a line, which is not content as yet
	lineDotCR                 // and a CR
	inLine
	afterCR // in a line, a CR
)

// dots undoes dot-stuffing (RFC 5321 §4.5.2). A line begins after CRLF and
// nowhere else, and the end of data is CRLF.CRLF and nothing else (§4.1.1.4).
type dots struct {
	state dotState
	bare  bool // a CR or an LF was seen that is not part of a CRLF (§2.3.8)
}

// unstuff undoes it in p, in place. It returns how many octets of content stand
// in p now, how many of the octets that stood there were used, all of them
// unless the end of data is among them, and whether it is. It must not be
// called in the state lineDotCR: its CR may have to go before p.
func (d *dots) unstuff(p []byte) (n, used int, end bool) {
	l := lines{p: p, stretches: true}
	for l.at < len(p) {
		switch c := p[l.at]; {
		case d.state == lineStart && c == '.':
			d.state = lineDot
			l.at++
			continue
		case d.state == lineDot && c == '\r':
			d.state = lineDotCR
			l.at++
			continue
		case d.state == lineDotCR && c == '\n':
			return n, l.at + 1, true
		case d.state == lineDotCR: // the dot was stuffed
			p[n] = d.resume()
			n++
		}
		from := l.at
		d.run(&l)
		if n != from {
			copy(p[n:], p[from:l.at])
		}
		n += l.at - from
	}
	return n, l.at, false
}

// resume ends the state lineDotCR where the CR turns out to be content, and returns it.
func (d *dots) resume() byte {
	d.state = afterCR
	return '\r'
}

// run passes content, of which the next octet is some, up to the start of a line that begins with a dot, or to the end.
func (d *dots) run(l *lines) {
	hadCR := d.state == afterCR
	d.state = inLine
	if hadCR && l.p[l.at] == '\n' {
		l.at++
		l.begin = l.at
	} else {
		l.begin = l.at
		d.bare = !l.next() || hadCR || d.bare
	}
	for l.at < len(l.p) && l.p[l.at] != '.' {
		d.bare = !l.next() || d.bare
	}
	switch {
	case l.begin == l.at:
		d.state = lineStart
	case l.p[l.at-1] == '\r':
		d.state = afterCR
	}
}

// dotReader is the message of DATA.
type dotReader struct {
	conn       *conn
	acceptBare bool
	dots       dots
	ended      bool // the end of data was read
	err        error
}

// errBareNewline is the end of a message that would be something else to whom it is sent on as it is.
var errBareNewline = reply(550, 5, 6, 0, "CR and LF must come as CRLF (RFC 5321 section 2.3.8)")

// Read returns io.EOF after the end of data only. A bare CR or LF, where it is
// not accepted, is an error, as is everything else that ends a message.
func (r *dotReader) Read(p []byte) (n int, err error) {
	for len(p) > 0 && n == 0 && r.err == nil {
		n, r.err = r.next(p)
		if r.dots.bare && !r.acceptBare && r.err == nil {
			r.err = errBareNewline
		}
		if r.ended && r.err == nil {
			r.err = io.EOF
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// next reads once. It may return nothing where all that came is dots.
func (r *dotReader) next(p []byte) (int, error) {
	if r.dots.state == lineDotCR {
		return r.decide(p)
	}
	raw, fresh, err := r.conn.readMessage(p)
	if err != nil {
		return 0, err
	}
	n, used, end := r.dots.unstuff(p[:raw])
	r.ended = end
	if fresh {
		r.conn.unread(p[used:raw])
	} else {
		r.conn.r -= raw - used
	}
	return n, nil
}

// decide takes the octet after a line that has begun with a dot and a CR.
func (r *dotReader) decide(p []byte) (int, error) {
	var octet [1]byte
	if _, _, err := r.conn.readMessage(octet[:]); err != nil {
		return 0, err
	}
	if octet[0] == '\n' {
		r.ended = true
		return 0, nil
	}
	r.conn.r-- // it is read ahead: octet is too small to be read into
	p[0] = r.dots.resume()
	return 1, nil
}

// drained goes on behind an error that was ours, so that the end of data can be found.
func (r *dotReader) drained() {
	r.acceptBare = true
	switch {
	case r.ended:
		r.err = io.EOF
	case errors.Is(r.err, errBareNewline):
		r.err = nil
	}
}

func (r *dotReader) await() error {
	r.err = r.conn.await()
	return r.err
}

func (r *dotReader) whole() bool { return r.ended }

// data takes a message by DATA (RFC 5321 §4.1.1.4).
func (s *session) data(c command) error {
	switch {
	case c.arg != "":
		return errNoArgument
	case s.mail == nil || len(s.rcpts) == 0:
		return errSequence
	case s.conn.inMessage.Load():
		return reply(503, 5, 5, 1, "the message has begun by BDAT")
	case s.mail.Body == smtp.BodyBinaryMIME:
		return reply(503, 5, 5, 1, "a message of BODY=BINARYMIME comes by BDAT (RFC 3030 section 3)")
	}
	s.reply(354, "", "end data with <CRLF>.<CRLF>")
	r := &dotReader{conn: s.conn, acceptBare: s.server.cfg.AcceptBareNewlines}
	s.receive(r)
	return nil
}
