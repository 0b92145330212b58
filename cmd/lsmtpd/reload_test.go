package main

import (
	"os"
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// serving is a loader whose settings are in force: of a file with text, the environment, and flags.
func serving(t *testing.T, text string, environ []string, flags ...string) *loader {
	t.Helper()
	l, set := newLoader(), pflag.NewFlagSet("", pflag.ContinueOnError)
	l.addFlags(set, "")
	if err := set.Parse(append(flags, "--config", write(t, "lsmtpd.yaml", text))); err != nil {
		t.Fatal(err)
	}
	if _, err := l.load(environ); err != nil {
		t.Fatal(err)
	}
	return l
}

// rewrite changes the loader's file.
func rewrite(t *testing.T, l *loader, text string) {
	t.Helper()
	if err := os.WriteFile(l.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const oneRoute = "routes: [{match: in@example.com, address: a}]\n"

func TestReload(t *testing.T) {
	const noneOfThem = ""
	for _, tt := range []struct {
		name, before, after string
		address             string // of in@example.com afterwards
		restart             []string
	}{
		{"nothing changed", oneRoute, oneRoute, "a", nil},
		{"another address", oneRoute, "routes: [{match: in@example.com, address: b}]\n", "b", nil},
		{"other recipients", oneRoute, "routes: [{match: out@example.com, address: a}]\n", noneOfThem, nil},
		{"the first routes", "", oneRoute, "a", nil},
		{"no more routes", oneRoute, "", "mail", nil},
		{"another key", oneRoute, oneRoute + "smtp: {hostname: other.example}\n", "a", []string{"smtp.hostname"}},
		{"other keys and routes", oneRoute, "log: {level: warn}\nmessage: {digest: none}\nroutes: [{match: in@example.com, address: b}]\n", "b", []string{"log.level", "message.digest"}},
		{"the same value in other words", oneRoute + "store: {memory: 64MiB}\n", oneRoute + "store: {memory: '67108864'}\n", "a", nil},
		{"a size that is rounded when shown", oneRoute + "store: {memory: '67108864'}\n", oneRoute + "store: {memory: '67108865'}\n", "a", []string{"store.memory"}},
		{"a default that is spelled out", oneRoute, oneRoute + "shutdown_timeout: 30s\n", "a", nil},
		{"broker.address", "broker: {address: first}\n", "broker: {address: second}\n", "first", []string{"broker.address"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var environ []string
			if tt.name != "broker.address" {
				environ = []string{"LSMTPD_BROKER_ADDRESS=mail"}
			}
			l := serving(t, tt.before, environ, "--smtp.max_errors=7")
			before := *l.settings
			rewrite(t, l, tt.after)
			s, restart, err := l.reload(environ)
			if err != nil {
				t.Fatal(err)
			}
			if target, ok := s.routeTable().Lookup("in@example.com"); target.Address != tt.address || ok != (tt.address != noneOfThem) {
				t.Errorf("in@example.com goes to %+v, %v; want %q", target, ok, tt.address)
			}
			if !slices.Equal(restart, tt.restart) {
				t.Errorf("keys that need a restart: got %q, want %q", restart, tt.restart)
			}
			if s.smtp.hostname != before.smtp.hostname || s.smtp.maxErrors != 7 || l.settings.smtp.hostname != before.smtp.hostname || len(l.settings.routes) != len(before.routes) {
				t.Error("more than the routes changed")
			}
		})
	}
}

// What is wrong with the new configuration leaves the old one in force.
func TestReloadErrors(t *testing.T) {
	for _, tt := range []struct{ name, after, want string }{
		{"a bad route", "routes: [{match: in@, address: a}]\n", "lsmtpd.yaml:1: routes: route 1: match: "},
		{"a bad key", oneRoute + "log: {level: loud}\n", "lsmtpd.yaml:2: log.level: "},
		{"no YAML", "routes: [\n", "not YAML"},
		{"nowhere to go", "", "broker.address: missing; set it, as in mail"},
		{"an address that is not in force", "broker: {address: mail}\n", "broker.address: missing; set it, as in mail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := serving(t, oneRoute, nil)
			rewrite(t, l, tt.after)
			s, restart, err := l.reload(nil)
			if err == nil {
				t.Fatalf("got %+v, %q; want an error", s, restart)
			}
			contains(t, "error", err.Error(), tt.want)
			if target, _ := l.settings.routeTable().Lookup("in@example.com"); target.Address != "a" {
				t.Errorf("in@example.com goes to %q, want a", target.Address)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		l := serving(t, oneRoute, nil)
		if err := os.Remove(l.file); err != nil {
			t.Fatal(err)
		}
		_, _, err := l.reload(nil)
		if err == nil {
			t.Fatal("no error")
		}
		contains(t, "error", err.Error(), "--config: cannot read the file: ")
	})
}

// The file may be named by the environment, and what flags and environment say still wins over it.
func TestReloadPrecedence(t *testing.T) {
	l := newLoader()
	l.addFlags(pflag.NewFlagSet("", pflag.ContinueOnError), "")
	if err := l.flags["smtp.max_errors"].Set("7"); err != nil {
		t.Fatal(err)
	}
	path := write(t, "lsmtpd.yaml", oneRoute)
	environ := []string{configEnv + "=" + path, "LSMTPD_SMTP_MAX_COMMANDS=8"}
	if _, err := l.load(environ); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("routes: [{match: in@example.com, address: b}]\nsmtp: {max_errors: 9, max_commands: 9}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, restart, err := l.reload(environ)
	if err != nil || len(restart) != 0 {
		t.Fatalf("got keys %q, %v; want none", restart, err)
	}
	if target, _ := s.routeTable().Lookup("in@example.com"); target.Address != "b" {
		t.Errorf("in@example.com goes to %q, want b", target.Address)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err = l.reload(environ); err == nil {
		t.Fatal("no file: no error")
	}
	contains(t, "error", err.Error(), configEnv+": cannot read the file: ")
}

// Routes cannot ask for raw messages for which the memory in force is too little.
func TestReloadRaw(t *testing.T) {
	const rawRoute, little = "routes: [{match: in@example.com, address: a, raw: store}]\n", "store: {memory: 15MiB}\n"
	l := serving(t, oneRoute+little, nil)
	rewrite(t, l, rawRoute+"store: {memory: 64MiB}\n")
	if _, _, err := l.reload(nil); err == nil {
		t.Error("too little memory: no error")
	} else {
		contains(t, "error", err.Error(), "store.memory: 15728640 octets cannot hold two parts of store.part_bytes")
	}
	l = serving(t, oneRoute, nil)
	rewrite(t, l, rawRoute+little)
	if s, restart, err := l.reload(nil); err != nil || !s.storesRaw() || !slices.Equal(restart, []string{"store.memory"}) {
		t.Errorf("enough memory in force: %v, keys that need a restart %q", err, restart)
	}
}

// Every secret that changed is noticed, and none is named by its value.
func TestReloadSecrets(t *testing.T) {
	environ := func(word string) []string {
		list := []string{"LSMTPD_BROKER_ADDRESS=mail", "LSMTPD_BROKER_URL=amqp://user:" + word + "@127.0.0.1"}
		for _, k := range defaults().keys() {
			if k.secret {
				list = append(list, k.env()+"="+word)
			}
		}
		return list
	}
	l := newLoader()
	if _, err := l.load(environ("first")); err != nil {
		t.Fatal(err)
	}
	if _, restart, err := l.reload(environ("first")); err != nil || len(restart) != 0 {
		t.Errorf("the same secrets: got %q, %v; want none", restart, err)
	}
	_, restart, err := l.reload(environ("second"))
	if want := []string{"broker.password", "broker.url", "store.secret_key"}; err != nil || !slices.Equal(restart, want) {
		t.Errorf("got %q, %v; want %q", restart, err, want)
	}
}
