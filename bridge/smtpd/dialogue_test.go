package smtpd_test

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The dialogues are in testdata/dialogues, one file a topic, and README.md there says how they are written.

// dialogue is what a client says on a connection, and what it must hear.
type dialogue struct {
	file    string
	line    int
	name    string
	options options
	steps   []step
}

// options are the "with" line of a dialogue: how the server is set up.
type options struct {
	lmtp, bareNewlines, auth, tls, allow              bool
	bytes, recipients, errors, commands, mails, auths int
}

// step is a line of a dialogue.
type step struct {
	line   int
	kind   string // the mark before the colon
	text   string // without escapes undone
	octets []byte // C and R: what is sent
	differ *difference
}

// difference is a G line: what go-smtp does in the place of the step before.
type difference struct {
	want   string
	reason string // a key of differences.txt
	stop   bool   // and its dialogue is over
}

// prelude leads to the state in which a dialogue begins.
var prelude = []struct{ state, sent, want string }{
	{"connect", "", "220"},
	{"hello", "EHLO client.example", "250"},
	{"mail", "MAIL FROM:<a@client.example>", "250"},
	{"rcpt", "RCPT TO:<b@mx.example>", "250"},
	{"data", "DATA", "354"},
}

// parseDialogues reads all dialogues of a folder.
func parseDialogues(folder string) (list []*dialogue, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.smtp"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no dialogues in " + folder)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(string(content), "\n") {
			if list, err = parseLine(list, filepath.Base(file), i+1, line); err != nil {
				return nil, fmt.Errorf("%s:%d: %q: %w", file, i+1, line, err)
			}
		}
	}
	return list, nil
}

// parseLine adds a line to the last dialogue, or begins another one.
func parseLine(list []*dialogue, file string, number int, line string) ([]*dialogue, error) {
	if line == "" || line[0] == '#' {
		return list, nil
	}
	if name, ok := strings.CutPrefix(line, "=== "); ok {
		d := &dialogue{file: file, line: number, name: name}
		d.begin(0)
		return append(list, d), nil
	}
	if len(list) == 0 || list[len(list)-1].file != file {
		return nil, errors.New("no dialogue has begun")
	}
	return list, list[len(list)-1].add(number, line)
}

// beginAfter takes an "after" line.
func (d *dialogue) beginAfter(state string) error {
	for i, p := range prelude {
		if p.state == state {
			d.begin(i)
			return nil
		}
	}
	return errors.New("no such state")
}

// begin puts the prelude before the steps, of which there may be none as yet.
func (d *dialogue) begin(last int) {
	d.steps = nil
	for _, p := range prelude[:last+1] {
		if d.options.lmtp {
			p.sent = strings.Replace(p.sent, "EHLO", "LHLO", 1)
		}
		if p.sent != "" {
			d.steps = append(d.steps, step{line: d.line, kind: "C", text: p.sent, octets: []byte(p.sent + "\r\n")})
		}
		d.steps = append(d.steps, step{line: d.line, kind: "S", text: p.want})
	}
}

// add takes a line.
func (d *dialogue) add(number int, line string) (err error) {
	kind, text, ok := strings.Cut(line, ":")
	if !ok {
		return errors.New("no mark")
	}
	text = strings.TrimPrefix(text, " ")
	s := step{line: number, kind: kind, text: text}
	switch kind {
	case "with", "after":
		if len(d.steps) > 1 {
			return errors.New("comes before all steps, and with before after")
		}
		if kind == "with" {
			return d.setUp(text)
		}
		return d.beginAfter(text)
	case "G":
		last := &d.steps[len(d.steps)-1]
		if last.differ != nil || !strings.Contains(" S L T P ", " "+last.kind+" ") {
			return errors.New("nothing to differ from")
		}
		last.differ, err = parseDifference(text)
		return err
	case "G+":
		s.kind = "S"
		if s.differ, err = parseDifference(text); err != nil {
			return err
		}
		s.text = "none"
	case "C":
		s.octets, err = unescape(text)
		s.octets = append(s.octets, "\r\n"...)
	case "R":
		s.octets, err = unescape(text)
	case "S", "L", "T", "P", "then":
	default:
		return errors.New("unknown mark")
	}
	d.steps = append(d.steps, s)
	return err
}

var differencePattern = regexp.MustCompile(`^(.+?) +# ([a-z0-9-]+)( stop)?$`)

func parseDifference(text string) (*difference, error) {
	m := differencePattern.FindStringSubmatch(text)
	if m == nil {
		return nil, errors.New("want what go-smtp does, and # with the reason")
	}
	return &difference{want: m[1], reason: m[2], stop: m[3] != ""}, nil
}

// setUp takes a "with" line, which comes before all others.
func (d *dialogue) setUp(text string) (err error) {
	o := &d.options
	flags := map[string]*bool{"lmtp": &o.lmtp, "bare-newlines": &o.bareNewlines, "auth": &o.auth, "tls": &o.tls, "allow": &o.allow}
	limits := map[string]*int{"bytes": &o.bytes, "recipients": &o.recipients, "errors": &o.errors, "commands": &o.commands, "mails": &o.mails, "auths": &o.auths}
	for _, word := range strings.Fields(text) {
		name, value, isLimit := strings.Cut(word, "=")
		switch {
		case !isLimit && flags[name] != nil:
			*flags[name] = true
		case isLimit && limits[name] != nil:
			if *limits[name], err = strconv.Atoi(value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("no option %s", word)
		}
	}
	return nil
}

var escapePattern = regexp.MustCompile(`\{([^{}]*)\}`)

// unescape undoes what stands in braces.
func unescape(text string) (octets []byte, err error) {
	return escapePattern.ReplaceAllFunc([]byte(text), func(b []byte) []byte {
		inner := string(b[1 : len(b)-1])
		switch inner {
		case "CR":
			return []byte("\r")
		case "LF":
			return []byte("\n")
		case "CRLF":
			return []byte("\r\n")
		case "NUL":
			return []byte{0}
		case "TAB":
			return []byte("\t")
		case "SP":
			return []byte(" ")
		}
		if i := strings.LastIndexByte(inner, '*'); i >= 0 {
			if n, atoi := strconv.Atoi(inner[i+1:]); atoi == nil {
				return []byte(strings.Repeat(strings.ReplaceAll(inner[:i], "CRLF", "\r\n"), n))
			}
		}
		raw, hexErr := hex.DecodeString(strings.ReplaceAll(inner, " ", ""))
		err = cmp.Or(err, hexErr)
		return raw
	}), err
}

// octets are all that the client sends.
func (d *dialogue) octets() (all []byte) {
	for _, s := range d.steps {
		all = append(all, s.octets...)
	}
	return all
}

const (
	// patience bounds every wait for a reply.
	patience = 10 * time.Second
	// impatience is how long nothing must come of a server that hangs.
	impatience = 200 * time.Millisecond
)

// run is a dialogue under way with one of the two servers.
type run struct {
	dialogue   *dialogue
	gosmtp     bool // else it is ours
	conn       net.Conn
	r          *bufio.Reader
	unsent     []byte
	last       []string // lines of the last reply
	transcript strings.Builder
	stopped    int // the line of a difference that ended the dialogue, 0 for none
}

// dialogueError is what was wrong in a line of a dialogue.
type dialogueError struct {
	line int
	text string
}

func (e *dialogueError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// play leads the dialogue with the server at addr.
func (r *run) play(addr string) (err error) {
	if r.conn, err = net.Dial("tcp", addr); err != nil {
		return err
	}
	defer func() { r.conn.Close() }()
	r.r = bufio.NewReader(r.conn)
	for _, s := range r.dialogue.steps {
		if err := r.step(s); err != nil {
			return err
		}
		if r.gosmtp && s.differ != nil && s.differ.stop {
			r.stopped = s.line
			break
		}
	}
	return r.finish()
}

// step does what a line says.
func (r *run) step(s step) error {
	switch s.kind {
	case "C", "R":
		fmt.Fprintf(&r.transcript, "  C: %s\n", shown(s.octets))
		r.unsent = append(r.unsent, s.octets...)
	case "then":
		if err := r.send(); err != nil {
			return err
		}
		switch s.text {
		case "more": // in another segment
		case "close":
			fmt.Fprintf(&r.transcript, "  C closes\n")
			return r.conn.(interface{ CloseWrite() error }).CloseWrite()
		case "tls":
			t := tls.Client(r.conn, &tls.Config{InsecureSkipVerify: true})
			_ = r.conn.SetDeadline(time.Now().Add(patience))
			if err := t.Handshake(); err != nil {
				return &dialogueError{s.line, "handshake: " + err.Error()}
			}
			r.conn, r.r = t, bufio.NewReader(t)
		default:
			return &dialogueError{s.line, "cannot do that"}
		}
	case "S":
		return r.expect(s)
	case "L":
		return r.contains(s)
	}
	return nil
}

// send sends what the client has said, in one write.
func (r *run) send() error {
	if len(r.unsent) == 0 {
		return nil
	}
	_ = r.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := r.conn.Write(r.unsent)
	r.unsent = r.unsent[:0]
	if err != nil && !r.gosmtp {
		return fmt.Errorf("send: %w", err)
	}
	return nil // go-smtp closes with data unread; what it said is still to be read
}

// expect reads a reply.
func (r *run) expect(s step) error {
	if err := r.send(); err != nil {
		return err
	}
	want, differs := s.text, false
	if r.gosmtp && s.differ != nil && s.differ.want != "same" {
		want, differs = s.differ.want, true
	}
	wait := patience
	switch want {
	case "none":
		return nil
	case "hang":
		wait = impatience
	}
	got := r.reply(wait)
	fmt.Fprintf(&r.transcript, "  S: %s\n", strings.Join(r.last, " / "))
	switch {
	case !alike(got, want, r.gosmtp && !differs):
		return &dialogueError{s.line, fmt.Sprintf("got %q, want %q", got, want)}
	case differs && alike(got, s.text, true):
		return &dialogueError{s.line, fmt.Sprintf("got %q: that is no difference", got)}
	case !r.gosmtp:
		if err := r.checkReply(); err != nil {
			return &dialogueError{s.line, err.Error()}
		}
	}
	return nil
}

// reply is the last line of the next reply; "closed" when there is none, "hang" when none comes in time.
func (r *run) reply(wait time.Duration) string {
	r.last = nil
	_ = r.conn.SetReadDeadline(time.Now().Add(wait))
	for {
		line, err := r.r.ReadString('\n')
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.last = append(r.last, "hang")
			return "hang"
		case err != nil && line == "":
			r.last = append(r.last, "closed")
			return "closed"
		}
		r.last = append(r.last, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return r.last[len(r.last)-1]
		}
	}
}

// finish ends the dialogue. Nothing more may come, but of a server that was left alone in the middle of it.
func (r *run) finish() error {
	if err := r.send(); err != nil {
		return err
	}
	if r.stopped != 0 {
		return nil
	}
	_ = r.conn.(interface{ CloseWrite() error }).CloseWrite() // the server may have closed
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(r.r); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("after the end of the dialogue: %q, %s", rest, fmt.Sprint(err))
	}
	return nil
}

// shown is p for a transcript.
func shown(p []byte) string {
	if len(p) > 200 {
		return fmt.Sprintf("%q … (%d octets)", p[:200], len(p))
	}
	return strconv.Quote(string(p))
}
