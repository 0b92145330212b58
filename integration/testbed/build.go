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
	return build(t, &bed.binary, "")
}

// BuildFailpoints is Build with the tag failpoints: the environment of that program says at which step it dies.
func BuildFailpoints(t testing.TB) string {
	t.Helper()
	return build(t, &bed.failpoints, "failpoints")
}

func build(t testing.TB, binary *lazy[string], tags string) string {
	t.Helper()
	needMain(t)
	path, err := binary.get(func() (string, error) {
		dir, err := serverDir("build")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "lsmtpd")
		ctx, cancel := context.WithTimeout(bed.ctx, 10*time.Minute)
		defer cancel()
		_, err = runTool(ctx, Command{Path: "go", Args: []string{"build", "-tags", tags, "-o", path, "lsmtpd/cmd/lsmtpd"}, Env: []string{"CGO_ENABLED=0"}})
		return path, err
	})
	if err != nil {
		t.Fatalf("build lsmtpd: %v", err)
	}
	return path
}
