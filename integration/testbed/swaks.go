package testbed

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// SwaksRun is what swaks has seen.
type SwaksRun struct {
	// Code is the SMTP reply code that decided: the last one before QUIT. Zero means that there was none.
	Code int
	// Reply is the text of that reply, or what swaks said instead.
	Reply string
	// Transcript is the whole dialogue, also that under TLS in clear.
	Transcript string
}

// RunSwaks runs swaks, an SMTP client in Perl, with arguments of swaks(1). A refusal is no failure of the test: it is in
// the result.
func RunSwaks(t testing.TB, args ...string) SwaksRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sendTimeout)
	defer cancel()
	if err := installSwaks(ctx); err != nil {
		unavailable(t, "swaks", err)
	}
	var env []string
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--tls") }) {
		modules, err := installNetSSLeay(ctx)
		if err != nil {
			unavailable(t, "TLS for swaks", err)
		}
		env = []string{"PERL5LIB=" + modules}
	}
	args = append([]string{"--timeout", strconv.Itoa(int(sendTimeout.Seconds())), "--suppress-data"}, args...)
	// Its exit code only repeats which command was refused.
	out, err := runTool(ctx, Command{Path: "swaks", Args: args, Env: env})
	run := SwaksRun{Transcript: out}
	run.Code, run.Reply = swaksReply(out)
	if run.Code == 0 && err != nil {
		run.Reply = err.Error()
	}
	return run
}

// SendSwaks sends a mail to addr (host:port) with swaks, which sends the subject as it is, not encoded. A refusal is no
// failure of the test: it is in the result.
func SendSwaks(t testing.TB, addr string, m Mail) Sent {
	t.Helper()
	if m.InlineOctets != 0 || m.CAFile != "" {
		t.Fatal("SendSwaks sends neither an inline image nor over TLS: use SendSMTPLib, or RunSwaks")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("send by swaks: %v", err)
	}
	from := m.From
	if from == "" {
		from = "<>"
	}
	args := []string{"--server", host, "--port", port, "--helo", "witness.example", "--from", from,
		"--to", strings.Join(m.To, ","), "--header", "Subject: " + m.Subject, "--body", "@" + inFile(t, "text", []byte(m.Text))}
	if m.User != "" {
		args = append(args, "--auth", "PLAIN", "--auth-user", m.User, "--auth-password", m.Password)
	}
	var sent Sent
	if m.AttachmentOctets > 0 {
		path := filepath.Join(t.TempDir(), "attachment")
		sent.AttachmentSHA256 = writeOctets(t, path, m.Seed, m.AttachmentOctets)
		args = append(args, "--attach-type", "application/octet-stream", "--attach-name", m.AttachmentName, "--attach", "@"+path)
	}
	run := RunSwaks(t, args...)
	sent.Code, sent.Reply = run.Code, run.Reply
	return sent
}

// swaksLine is a reply in the transcript of swaks: an arrow, with a tilde in it under TLS, marked where the reply was
// not what it had hoped for.
var swaksLine = regexp.MustCompile(`(?m)^<(?:-|~|\*)[ *~] +([2-5][0-9][0-9]) (.*)$`)

// swaksReply finds the reply that decided: the last one before QUIT.
func swaksReply(transcript string) (code int, reply string) {
	said := transcript
	if quit := swaksQuit.FindStringIndex(transcript); quit != nil {
		said = transcript[:quit[0]]
	}
	replies := swaksLine.FindAllStringSubmatch(said, -1)
	if len(replies) == 0 {
		return 0, transcript
	}
	last := replies[len(replies)-1]
	code, _ = strconv.Atoi(last[1]) // three digits, as matched
	return code, last[2]
}

// swaksQuit is where swaks takes its leave, in clear or under TLS.
var swaksQuit = regexp.MustCompile(`(?m)^ [-~]> QUIT$`)

func installSwaks(ctx context.Context) error {
	return debianPackage(ctx, func() error {
		_, err := exec.LookPath("swaks")
		return err
	}, "swaks")
}

// installNetSSLeay returns the search path of the module of Perl that swaks wants for TLS.
func installNetSSLeay(ctx context.Context) (string, error) {
	root, err := debianUnpacked(ctx, "libnet-ssleay-perl")
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/*/perl5/*"))
	return strings.Join(append(found, filepath.Join(root, "usr/share/perl5")), ":"), err
}
