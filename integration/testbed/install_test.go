package testbed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestInstalledOnceByMany(t *testing.T) {
	t.Setenv("LSMTPD_TESTBED_CACHE", t.TempDir())
	var installs atomic.Int32
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			dir, err := installed(t.Context(), "thing", func(_ context.Context, dir string) error {
				installs.Add(1)
				return os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if got := contents(filepath.Join(dir, "file")); got != "content" {
				t.Errorf("the file: got %q, want %q", got, "content")
			}
		})
	}
	wg.Wait()
	if got := installs.Load(); got != 1 {
		t.Errorf("installations: got %d, want 1", got)
	}
}

func TestInstalledAfterFailure(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("LSMTPD_TESTBED_CACHE", cache)
	broken := errors.New("the registry refuses")
	if _, err := installed(t.Context(), "thing", func(context.Context, string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("a failing installation: got %v, want %v", err, broken)
	}
	// As a killed installation leaves it.
	if err := os.MkdirAll(filepath.Join(cache, "thing.partial", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := installed(t.Context(), "thing", func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("what was installed: got %v, want the file alone", entries)
	}
}

func TestLockHeldByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := tryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = underLock(ctx, path, func(context.Context) error { t.Error("it was entered"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("while it is held: got %v, want %v", err, context.Canceled)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := underLock(t.Context(), path, func(context.Context) error { return nil }); err != nil {
		t.Errorf("after it was released: %v", err)
	}
}

func TestRunToolTellsWhatWentWrong(t *testing.T) {
	_, err := runTool(t.Context(), Command{Path: os.Args[0], Env: []string{childMode + "=fails"}})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "ready, pid=") {
		t.Errorf("got %v, want the exit status and the output", err)
	}
	_, err = runTool(t.Context(), Command{Path: "lsmtpd-no-such-program"})
	if err == nil || !strings.Contains(err.Error(), "lsmtpd-no-such-program") {
		t.Errorf("got %v, want the name of what is missing", err)
	}
}

func TestCertsVerify(t *testing.T) {
	certs, err := newCerts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(contents(certs.CA))) {
		t.Fatal("no certificate in " + certs.CA)
	}
	for _, tt := range []struct {
		name  string
		pair  KeyPair
		host  string
		usage x509.ExtKeyUsage
	}{
		{"server by name", certs.Server, "localhost", x509.ExtKeyUsageServerAuth},
		{"server by address", certs.Server, "127.0.0.1", x509.ExtKeyUsageServerAuth},
		{"client", certs.Client, "lsmtpd", x509.ExtKeyUsageClientAuth},
		{"stranger", certs.Stranger, "nobody", x509.ExtKeyUsageClientAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(tt.pair.Cert, tt.pair.Key)
			if err != nil {
				t.Fatal(err)
			}
			options := x509.VerifyOptions{Roots: roots, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{tt.usage}}
			if _, err := pair.Leaf.Verify(options); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSwaksReply(t *testing.T) {
	for _, tt := range []struct {
		name, transcript string
		code             int
		reply            string
	}{
		{"accepted", "<-  354 go on\n -> 12 lines sent\n -> .\n<-  250 2.0.0 queued as x\n -> QUIT\n<-  221 bye\n", 250, "2.0.0 queued as x"},
		{"refused at RCPT", " -> RCPT TO:<x@y>\n<** 550 5.1.1 no such user\n -> QUIT\n<-  221 bye\n", 550, "5.1.1 no such user"},
		{"several lines", "<-  250-one\n<-  250 two\n", 250, "two"},
		{"under TLS", "<-  220 2.0.0 go on\n ~> .\n<~  250 2.0.0 queued as x\n ~> QUIT\n<~  221 bye\n", 250, "2.0.0 queued as x"},
		{"refused under TLS", " ~> RCPT TO:<x@y>\n<~* 550 5.1.1 no such user\n ~> QUIT\n<~  221 bye\n", 550, "5.1.1 no such user"},
		{"nobody there", "*** Error connecting\n", 0, "*** Error connecting\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, reply := swaksReply(tt.transcript); code != tt.code || reply != tt.reply {
				t.Errorf("got %d %q, want %d %q", code, reply, tt.code, tt.reply)
			}
		})
	}
}
