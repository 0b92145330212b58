//go:build integration

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

// wantCheck runs "lsmtpd check --connect", which has to fail, at this step, and to name this setting in its remedy.
func wantCheck(t *testing.T, s settings, step, setting string, command ...string) {
	t.Helper()
	check := testbed.Run(t, testbed.Command{Path: command[0], Args: append(command[1:], "check", "--connect"), Env: s.Env()})
	if code := check.ExitCode(t, time.Minute); code != 1 {
		t.Errorf("check --connect: exit code %d, want 1", code)
	}
	for line := range strings.Lines(check.Stdout()) {
		if strings.HasPrefix(line, "FAILED  "+step) {
			_, remedy, _ := strings.Cut(line, "; ")
			if !strings.Contains(remedy, setting) {
				t.Errorf("check --connect says %q, want a remedy that names %s", line, setting)
			}
			return
		}
	}
	t.Errorf("check --connect has not failed at %q:\n%s%s", step, check.Stdout(), check.Stderr())
}

// TestBrokerRefuses has settings that only the broker can find wrong.
func TestBrokerRefuses(t *testing.T) {
	for _, c := range []struct {
		name, broker  string
		change        func(*testbed.AMQPBroker) settings
		reason        string // in /readyz
		step, setting string
	}{
		{"wrong password", "Artemis", wrongPassword, "SASL PLAIN", "broker: connect and log in", "broker.password"},
		{"wrong password", "Broker-J", wrongPassword, "SASL PLAIN", "broker: connect and log in", "broker.password"},
		{"missing queue", "Artemis", missingQueue("fixed.missing"), "amqp:not-found", `broker: attach to "fixed.missing"`, "broker.address"},
		{"missing queue", "Broker-J", missingQueue("missing"), "amqp:not-found", `broker: attach to "missing"`, "broker.address"},
		{"no right to send", "Artemis", readOnly, "amqp:unauthorized-access", "broker: attach to ", "broker.address"},
		{"no login", "Artemis", noLogin, "amqp:unauthorized-access", "broker: ", "broker.username"},
	} {
		t.Run(c.name+", "+c.broker, func(t *testing.T) {
			broker := testbed.Artemis
			if c.broker == "Broker-J" {
				broker = testbed.BrokerJ
			}
			s := &site{broker: broker(t), objects: newDirectory(t)}
			s.queue = s.broker.Queue(t)
			drain(t, s, 0) // makes the queue, which the user may not have the right to
			wrong := s.settings().With(c.change(s.broker))
			d := serve(t, wrong)
			d.waitBroker(t, c.reason)
			wantNoMail(t, d)
			wantLog(t, d, "broker unavailable", c.setting)
			wantCheck(t, wrong, c.step, c.setting, testbed.Build(t))
			d.stop(t) // so it ran until now
		})
	}
}

// TestNoRightToSendBrokerJ is apart because Broker-J attaches the link of a user who may not send, and detaches it at the
// first message: so it shows then, and not to "check --connect", which sends nothing. The link is attached again
// sooner or later, so that mail may or may not be tried when /readyz is asked; why it is refused stands there in any case.
func TestNoRightToSendBrokerJ(t *testing.T) {
	s := brokerJDirectory(t)
	d := serve(t, s.settings().With(readOnly(s.broker)).With(settings{"broker.settle_timeout": "2s"}))
	client := dial(t, d.smtp)
	client.begin("<a@example.org>", "in@example.com")
	client.want("451 4.", client.data(crlf("From: a@example.org\n\ntext\n")))
	d.WaitFor(t, "/readyz to say why mail is refused", patience, func() bool {
		return strings.Contains(d.readyz(t).Broker, "amqp:not-allowed")
	})
	wantLog(t, d, "link lost", "broker.address")
	d.stop(t)
	drain(t, s, 0)
}

func wrongPassword(*testbed.AMQPBroker) settings { return settings{"broker.password": "wrong"} }

func missingQueue(name string) func(*testbed.AMQPBroker) settings {
	return func(*testbed.AMQPBroker) settings { return settings{"broker.address": name} }
}

func readOnly(b *testbed.AMQPBroker) settings { return settings{"broker.url": b.ReadOnlyURL} }

func noLogin(b *testbed.AMQPBroker) settings { return settings{"broker.url": b.AnonymousURL} }

// TestStoreRefuses has settings that only the store can find wrong.
func TestStoreRefuses(t *testing.T) {
	run := func(name string, change func(*testing.T, bucket) settings, reason, setting string, prefix func(*testing.T) []string) {
		t.Run(name, func(t *testing.T) {
			s := artemisMinIO(t)
			wrong := s.settings().With(change(t, s.objects.(bucket)))
			command := append(prefix(t), testbed.Build(t))
			d := serveBy(t, wrong, append(command, "serve")...)
			d.waitStore(t, reason)
			wantSmallMailOnly(t, s, d)
			wantLog(t, d, "store unavailable", setting)
			wantCheck(t, wrong, "store: put", setting, command...)
			d.stop(t)
		})
	}
	plain := func(*testing.T) []string { return nil }
	run("missing bucket", func(_ *testing.T, b bucket) settings {
		server := *b.server
		server.Bucket = "missing-bucket"
		return settings{"store.url": server.StoreURL(b.prefix)}
	}, "no such bucket", "store.url", plain)
	run("wrong secret key", func(*testing.T, bucket) settings { return settings{"store.secret_key": "wrong-secret"} }, "SignatureDoesNotMatch", "store.secret_key", plain)
	run("wrong access key", func(*testing.T, bucket) settings { return settings{"store.access_key": "stranger"} }, "InvalidAccessKeyId", "store.access_key", plain)
	run("directory below a regular file", func(t *testing.T, _ bucket) settings {
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, nil, 0o600))
		return directoryAt(filepath.Join(file, "objects"))
	}, "not a directory", "store.url", plain)
	run("directory without the right to write", func(t *testing.T, _ bucket) settings {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o555))
		t.Cleanup(func() { must(t, os.Chmod(dir, 0o755)) })
		return directoryAt(dir)
	}, "permission denied", "directory", boundByPermissions)
}

// directoryAt also takes back what only an S3 store has.
func directoryAt(dir string) settings {
	return settings{"store.url": "file://" + dir, "store.access_key": "", "store.secret_key": ""}
}

// boundByPermissions is the beginning of a command line that runs a program for which permission bits count: the
// superuser's do not, unless it gives that capability away.
func boundByPermissions(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	command := []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"}
	if out, err := exec.Command(command[0], append(command[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("SKIP: as root this needs setpriv and the right to drop capabilities: %v", errors.Join(err, errors.New(string(out))))
	}
	return command
}
