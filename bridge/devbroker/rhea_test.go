//go:build integration

package devbroker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rheaVersion is the npm package the node is tried with.
const rheaVersion = "rhea@3.0.5"

// TestRhea lets testdata/rhea.js, a client of another make, send and receive.
func TestRhea(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("SKIP: rhea cannot be tried, there is no Node.js: %v", err)
	}
	modules := installRhea(t)
	for _, tc := range []struct {
		name string
		cfg  Config
		args []string
	}{
		{"anonymous", Config{}, nil},
		{"plain", Config{Username: "lsmtpd", Password: "s3cret"}, []string{"lsmtpd", "s3cret"}},
		{"small frames", Config{MaxFrameSize: 512, SessionWindow: 500, LinkCredit: 1}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, tc.cfg)
			port := url[strings.LastIndexByte(url, ':')+1:]
			if _, err := strconv.Atoi(port); err != nil {
				t.Fatalf("port of %s: %v", url, err)
			}
			cmd := exec.CommandContext(testContext(t), node, append([]string{"testdata/rhea.js", port}, tc.args...)...)
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
			out, err := cmd.CombinedOutput()
			t.Logf("rhea printed:\n%s", out)
			want := "open, product lsmtpd devbroker\nsent and accepted 4\nreceived and accepted 4\ndrained, credit 0\nclosed\n"
			if err != nil || string(out) != want {
				t.Errorf("rhea: %v, printed %q, want %q", err, out, want)
			}
			if m := b.Messages("rhea"); len(m) != 0 {
				t.Errorf("queue: got %d messages, want none", len(m))
			}
			for _, a := range b.Attachments() {
				if a.Sender && fmt.Sprint(a.Capabilities) != "[queue]" {
					t.Errorf("attachment: got %+v, want the capability queue", a)
				}
			}
		})
	}
}

// installRhea returns the node_modules folder that holds rhea, in the cache of the user.
func installRhea(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skipf("SKIP: rhea cannot be installed, there is no npm: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("SKIP: rhea cannot be installed: %v", err)
	}
	dir := filepath.Join(cache, "lsmtpd-testbed", "rhea")
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "rhea", "package.json")); err == nil {
		return modules
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-audit", "--no-fund", rheaVersion)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIP: npm install %s: %v\n%s", rheaVersion, err, out)
	}
	return modules
}
