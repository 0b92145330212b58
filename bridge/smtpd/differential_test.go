package smtpd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge/route"
	"lsmtpd/bridge/smtpd"
)

const dialogueFolder = "testdata/dialogues"

// TestDialogues leads each dialogue with this engine and with go-smtp's server, in front of a backend of the same kind.
// Where the two differ, the dialogue says so, with a reason of the list in differences.txt.
func TestDialogues(t *testing.T) {
	list, err := parseDialogues(dialogueFolder)
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := readReasons(filepath.Join(dialogueFolder, "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if problems := checkReasons(list, reasons); len(problems) > 0 {
		t.Fatalf("%s", strings.Join(problems, "\n"))
	}
	tlsConfig := testTLS(t)
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			o, config := d.options, tlsConfig
			if !o.tls {
				config = nil
			}
			ours := &recorder{maxBytes: int64(o.bytes), maxRecipients: o.recipients}
			addr, stop := startOurs(t, o, ours.backend(), config)
			check(t, &run{dialogue: d}, addr, stop, ours)

			theirs := &recorder{maxBytes: int64(o.bytes), maxRecipients: o.recipients}
			addr, stop = startGosmtp(t, o, theirs.backend(), config)
			check(t, &run{dialogue: d, gosmtp: true}, addr, stop, theirs)
		})
	}
}

// check leads the dialogue, and compares what was recorded.
func check(t *testing.T, r *run, addr string, stop func(), rec *recorder) {
	t.Helper()
	defer stop()
	err := r.play(addr)
	stop() // what is not answered is recorded then
	if err == nil {
		err = compare(r, rec.transactions())
	}
	if err != nil {
		server := "this engine"
		if r.gosmtp {
			server = "go-smtp"
		}
		t.Errorf("%s:%d: with %s: %v\n%s", r.dialogue.file, r.dialogue.line, server, err, r.transcript.String())
	}
}

// alike reports whether a reply is what was wanted; loosely means that only the codes count.
func alike(got, want string, loosely bool) bool {
	if loosely && len(got) >= 3 && len(want) >= 3 {
		return got[:3] == want[:3]
	}
	return strings.HasPrefix(got, want)
}

var replyPattern = regexp.MustCompile(`^([2345][0-5][0-9])[ -](?:([245])\.\d{1,3}\.\d{1,3} )?[\t -~]*$`)

// checkReply holds the last reply to RFC 5321 §4.2 and §4.5.3.1.5, RFC 2034 §4 and RFC 6531 §3.7.4.2.
func (r *run) checkReply() error {
	utf8 := bytes.Contains(r.dialogue.octets(), []byte("SMTPUTF8"))
	for _, line := range r.last {
		if line == "closed" {
			continue
		}
		ascii := line
		if utf8 {
			ascii = strings.Map(func(c rune) rune { return min(c, '~') }, line)
		}
		m := replyPattern.FindStringSubmatch(ascii)
		if m == nil || len(line) > 510 || m[1] != r.last[0][:3] || m[2] != "" && m[2] != m[1][:1] {
			return fmt.Errorf("%q is not a line of a reply", line)
		}
	}
	return nil
}

// contains looks for a line in the last reply.
func (r *run) contains(s step) error {
	found := false
	for _, line := range r.last {
		found = found || len(line) > 4 && line[4:] == s.text
	}
	if want := !r.gosmtp || s.differ == nil; found != want {
		return &dialogueError{s.line, fmt.Sprintf("got %q, want a line %q: %v", r.last, s.text, want)}
	}
	return nil
}

// compare holds what was recorded to the T and P lines. Of go-smtp, messages count that came to their end: whether
// one by BDAT that was given up has reached the backend is chance there.
func compare(r *run, got []transaction) error {
	var last *transaction
	for _, s := range r.dialogue.steps {
		if r.stopped != 0 && s.line > r.stopped {
			break
		}
		want := s.text
		if r.gosmtp && s.differ != nil {
			want = s.differ.want
		}
		switch {
		case s.kind == "T" && want != "none":
			w, err := parseTransaction(want)
			if err != nil {
				return &dialogueError{s.line, err.Error()}
			}
			if r.gosmtp && w.end != "" {
				continue
			}
			for r.gosmtp && len(got) > 0 && got[0].end != nil {
				got = got[1:]
			}
			if len(got) == 0 {
				return &dialogueError{s.line, "no such transaction was recorded"}
			}
			last, got = &got[0], got[1:]
			if err := w.compare(*last); err != nil {
				return &dialogueError{s.line, err.Error()}
			}
		case s.kind == "P":
			if err := comparePeer(last, want, r.gosmtp); err != nil {
				return &dialogueError{s.line, err.Error()}
			}
		}
	}
	for _, t := range got {
		if !r.gosmtp || t.end == nil {
			return fmt.Errorf("also recorded: %s | %s, end %s", t, shown(t.body), fmt.Sprint(t.end))
		}
	}
	return nil
}

// comparePeer holds the peer of a transaction to a P line: the protocol, of which go-smtp knows nothing, and the name of
// the client.
func comparePeer(t *transaction, want string, gosmtp bool) error {
	if t == nil {
		return errors.New("no transaction was recorded")
	}
	got := t.peer.Protocol + " " + t.peer.Helo
	if gosmtp {
		got = t.peer.Helo
		_, want, _ = strings.Cut(want, " ")
	}
	if got != want {
		return fmt.Errorf("peer %q, want %q", got, want)
	}
	return nil
}

// wantedTransaction is a T line.
type wantedTransaction struct {
	envelope string // as transaction.String has it
	body     []byte
	anyBody  bool
	end      string // "", "incomplete" or "refused"
}

// parseTransaction reads the envelope and the body of a T line, and how it ended where it is not whole.
func parseTransaction(text string) (w wantedTransaction, err error) {
	fields := strings.Split(text, " | ")
	if len(fields) < 3 || len(fields) > 4 {
		return w, fmt.Errorf("%q: want sender | recipients | message, and | incomplete or refused", text)
	}
	from, to := strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1])
	switch {
	case from == "=":
		from = "<a@client.example>"
	case strings.HasPrefix(from, "= "):
		from = "<a@client.example> " + from[2:]
	}
	if to == "=" {
		to = "<b@mx.example>"
	}
	envelope, err := unescape(from + " | " + to)
	if err != nil {
		return w, err
	}
	w.envelope = string(envelope)
	w.anyBody = fields[2] == "*"
	if fields[2] != "-" { // an empty message
		w.body, err = unescape(fields[2])
	}
	if len(fields) == 4 {
		w.end = fields[3]
	}
	return w, err
}

func (w wantedTransaction) compare(got transaction) error {
	var reply *smtp.SMTPError
	end := "incomplete"
	switch {
	case got.end == nil:
		end = ""
	case errors.Is(got.end, errNotRead) || errors.As(got.end, &reply):
		end = "refused"
	}
	switch {
	case got.String() != w.envelope:
		return fmt.Errorf("recorded %s, want %s", got, w.envelope)
	case end != w.end:
		return fmt.Errorf("recorded an end %q (%s), want %q", end, fmt.Sprint(got.end), w.end)
	case !w.anyBody && string(got.body) != string(w.body):
		return fmt.Errorf("recorded the message %s, want %s", shown(got.body), shown(w.body))
	}
	return nil
}

// startOurs serves until stop is called, which waits for all sessions.
func startOurs(t *testing.T, o options, backend smtpd.Backend, tlsConfig *tls.Config) (addr string, stop func()) {
	t.Helper()
	cfg := smtpd.Config{
		Listen: []smtpd.Endpoint{{Scheme: "smtp", Network: "tcp", Address: "127.0.0.1:0"}}, Hostname: "mx.example",
		MaxMessageBytes: int64(o.bytes), MaxRecipients: o.recipients, MaxErrors: 50, MaxCommands: 1000,
		AcceptBareNewlines: o.bareNewlines, AllowInsecureAuth: true, MaxAuthAttempts: 3,
		CommandTimeout: patience, DataTimeout: patience, WriteTimeout: patience, HandshakeTimeout: patience,
		DrainTimeout: patience, DrainBytes: 1 << 20, ShutdownTimeout: patience, TLS: tlsConfig, Logger: slog.New(slog.DiscardHandler),
	}
	if o.lmtp {
		cfg.Listen[0].Scheme = "lmtp"
	}
	if o.auth {
		cfg.Users = alice{}
	}
	if o.allow {
		allowed, err := route.ParsePattern("@allowed.example")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Allow = smtpd.NewRecipients([]route.Pattern{allowed})
	}
	for _, limit := range []struct {
		field *int
		value int
	}{{&cfg.MaxErrors, o.errors}, {&cfg.MaxCommands, o.commands}, {&cfg.MaxTransactions, o.mails}, {&cfg.MaxAuthAttempts, o.auths}} {
		if limit.value > 0 {
			*limit.field = limit.value
		}
	}
	srv, err := smtpd.Listen(cfg, backend)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, context.Background()) }()
	return srv.Addrs()[0].String(), sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * patience):
			t.Error("Run has not returned")
		}
	})
}

// testTLS is a server's configuration with a certificate of nobody.
func testTLS(t *testing.T) *tls.Config {
	srv := httptest.NewTLSServer(nil)
	t.Cleanup(srv.Close)
	return &tls.Config{Certificates: srv.TLS.Certificates}
}

var reasonPattern = regexp.MustCompile(`^([a-z0-9-]+): (RFC \d+ §[0-9.]+(?:, (?:RFC \d+ )?§[0-9.]+)*): (.{20,})$`)

// readReasons reads the list of differences: a key, the sections that decide, and who does what.
func readReasons(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reasons := map[string]string{}
	for i, line := range strings.Split(string(content), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		m := reasonPattern.FindStringSubmatch(line)
		if m == nil || reasons[m[1]] != "" {
			return nil, fmt.Errorf("%s:%d: %q: want another key, the section of an RFC, and a reason", file, i+1, line)
		}
		reasons[m[1]] = m[2]
	}
	return reasons, nil
}

// checkReasons finds differences without a reason, reasons without a difference, and names given twice.
func checkReasons(list []*dialogue, reasons map[string]string) (problems []string) {
	used, names := map[string]bool{}, map[string]bool{}
	for _, d := range list {
		if names[d.name] {
			problems = append(problems, fmt.Sprintf("%s:%d: the name %q is given twice", d.file, d.line, d.name))
		}
		names[d.name] = true
		for _, s := range d.steps {
			if s.differ == nil {
				continue
			}
			used[s.differ.reason] = true
			if s.differ.want == s.text {
				problems = append(problems, fmt.Sprintf("%s:%d: that is no difference", d.file, s.line))
			}
			if reasons[s.differ.reason] == "" {
				problems = append(problems, fmt.Sprintf("%s:%d: no reason %q is in differences.txt", d.file, s.line, s.differ.reason))
			}
		}
	}
	for key := range reasons {
		if !used[key] {
			problems = append(problems, fmt.Sprintf("differences.txt: nothing differs for the reason %q", key))
		}
	}
	return problems
}
