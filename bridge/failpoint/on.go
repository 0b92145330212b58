//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// variable is the environment variable that names the step.
const variable = "LSMTPD_FAILPOINT"

var (
	armed = sync.OnceValues(parse)
	hits  atomic.Int64
)

// parse reads the variable; a step that does not exist would be a test that cannot fail.
func parse() (name string, at int64) {
	value := os.Getenv(variable)
	if value == "" {
		return "", 0
	}
	name, count, found := strings.Cut(value, ":")
	at = 1
	if found {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 1 {
			panic(fmt.Sprintf("%s: %q is not a number from 1", variable, count))
		}
		at = n
	}
	if !slices.Contains(Names, name) {
		panic(fmt.Sprintf("%s: there is no step %q", variable, name))
	}
	return name, at
}

// Hit kills the process, with SIGKILL, when name is the step that it is to die at.
func Hit(name string) {
	step, at := armed()
	if step != name || hits.Add(1) != at {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // nothing more happens here
}
