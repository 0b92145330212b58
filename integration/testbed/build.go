package testbed

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// Build builds lsmtpd, once per test binary, as it is shipped (a static file, CGO_ENABLED=0), and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	needMain(t)
	path, err := bed.binary.get(func() (string, error) {
		dir, err := serverDir("build")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "lsmtpd")
		ctx, cancel := context.WithTimeout(bed.ctx, 10*time.Minute)
		defer cancel()
		_, err = runTool(ctx, Command{Path: "go", Args: []string{"build", "-o", path, "lsmtpd/cmd/lsmtpd"}, Env: []string{"CGO_ENABLED=0"}})
		return path, err
	})
	if err != nil {
		t.Fatalf("build lsmtpd: %v", err)
	}
	return path
}
