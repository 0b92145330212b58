//go:build integration

package expected

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"
)

// moduleTimeout bounds one download.
const moduleTimeout = 5 * time.Minute

// moduleDir is the folder of a Go module, path@version, downloaded where it is not in the module cache.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), moduleTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir() // no module: go.mod here is not touched
	out, err := cmd.Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil || err != nil || answer.Dir == "" {
		t.Fatalf("go mod download %s: %v %s", module, err, answer.Error)
	}
	return answer.Dir
}
