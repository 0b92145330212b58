package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"lsmtpd/bridge/devbroker"
)

// s3Stub answers every request with one error of S3, or, well, as a store that has no such upload.
type s3Stub struct {
	status int
	code   string
	well   atomic.Bool
}

func (s *s3Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, code := s.status, s.code
	if s.well.Load() {
		status, code = http.StatusNotFound, "NoSuchUpload"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>stub</Message><Resource>%s</Resource></Error>`, code, r.URL.Path)
}

// A store that misbehaves ends nothing: mail that needs it waits, other mail flows.
func TestStoreFaults(t *testing.T) {
	const denied = "check store.access_key and store.secret_key"
	tests := []struct {
		name   string
		status int
		code   string
		reason string
		remedy string
	}{
		{"missing bucket", http.StatusNotFound, "NoSuchBucket", "no such bucket", "make the bucket, or set store.url to one that exists"},
		{"unknown access key", http.StatusForbidden, "InvalidAccessKeyId", "access denied", denied},
		{"wrong secret key", http.StatusForbidden, "SignatureDoesNotMatch", "access denied", denied},
		{"read-only", http.StatusForbidden, "AccessDenied", "access denied", denied},
		{"unreachable", 0, "", "store unavailable", "check that the store runs, has room, and is where store.url says"},
		{"full", http.StatusInsufficientStorage, "XMinioStorageFull", "store is full", "check that the store runs, has room"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stub := &s3Stub{status: tt.status, code: tt.code}
			server := httptest.NewServer(stub)
			t.Cleanup(server.Close)
			endpoint := server.URL
			if tt.status == 0 {
				endpoint = "http://" + newPlace(t).at
			}
			storeFault(t, "s3://bucket/prefix?endpoint="+endpoint, tt.reason, tt.remedy)
			p, c := storeDown(t, "s3://bucket/prefix?endpoint="+endpoint, tt.reason, tt.remedy)
			if tt.status != 0 {
				stub.well.Store(true)
				p.await(`msg="store available again"`)
				c.do("250 ", "MAIL FROM:<a@example.org> SIZE=1000000")
			}
		})
	}
}

// storeFault wants check --connect to name the step that failed, and what to do.
func storeFault(t *testing.T, storeURL, reason, remedy string) {
	t.Helper()
	_, broker := devbroker.Start(t, devbroker.Config{})
	code, out, _ := runs(t, storeEnvironment(t, broker, storeURL), "check", "--connect")
	if code != exitFailed {
		t.Errorf("check --connect: exit code %d, want %d", code, exitFailed)
	}
	contains(t, "check --connect", out, "FAILED  store: put: ", reason, remedy, `ok      broker: attach to "mail"`)
}

func storeEnvironment(t *testing.T, broker, storeURL string) []string {
	return environment(t, "LSMTPD_BROKER_URL="+broker, "LSMTPD_STORE_URL="+storeURL, "LSMTPD_STORE_ACCESS_KEY=key", "LSMTPD_STORE_SECRET_KEY="+secretText)
}

// storeDown starts serve with a store that does not work, shows that mail which needs none flows, and returns it with a session.
func storeDown(t *testing.T, storeURL, reason, remedy string) (*process, *client) {
	t.Helper()
	node, broker := devbroker.Start(t, devbroker.Config{})
	p := start(t, storeEnvironment(t, broker, storeURL), "", "serve", "--admin.listen=127.0.0.1:0")
	contains(t, "log", p.await(`level=WARN msg="store unavailable"[^\n]*`), reason, remedy)
	c := dialSMTP(t, p.listens("smtp"))
	c.do("451 4.3.1 ", "MAIL FROM:<a@example.org> SIZE=1000000")
	c.send("250 2.0.0 ", small)
	published(t, node, 1)
	c.send("451 4.3.1 ", large)
	if status, _, store := ready(t, p); status != http.StatusOK || !strings.Contains(store, reason) {
		t.Errorf("/readyz: %d, store %q; want 200, mail flows, and %q", status, store, reason)
	}
	return p, c
}

// large is a message whose body goes to the store.
var large = "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 2000)

func TestDirectoryFault(t *testing.T) {
	t.Parallel()
	parent := filepath.Join(t.TempDir(), "parent")
	if err := os.WriteFile(parent, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	storeURL := (&url.URL{Scheme: "file", Path: filepath.Join(parent, "objects")}).String()
	const reason, remedy = "not a directory", "store.url"
	storeFault(t, storeURL, reason, remedy)
	p, c := storeDown(t, storeURL, reason, remedy)
	if err := os.Remove(parent); err != nil {
		t.Fatal(err)
	}
	p.await(`msg="store available again"`)
	c.send("250 2.0.0 ", large)
	p.signals <- syscall.SIGTERM
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("the superuser may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	storeURL := (&url.URL{Scheme: "file", Path: dir}).String()
	const reason, remedy = "permission denied", "who may write to it and whether it is mounted read-only"
	storeFault(t, storeURL, reason, remedy)
	p, _ := storeDown(t, storeURL, reason, remedy)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.await(`msg="store available again"`)
}
