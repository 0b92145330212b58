//go:build failpoints

package failpoint

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
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

// clockVariable is the environment variable that says how far the clock of ids is ahead.
const clockVariable = "LSMTPD_FAILPOINT_CLOCK"

var ahead = sync.OnceValue(func() time.Duration {
	value := os.Getenv(clockVariable)
	if value == "" {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", clockVariable, err))
	}
	return d
})

// ID is u, a UUIDv7, as it would have been made by a clock that is ahead.
func ID(u uuid.UUID) uuid.UUID {
	// The first 48 bits are milliseconds (RFC 9562 §5.7).
	stamp := binary.BigEndian.Uint64(u[:8]) + uint64(ahead().Milliseconds())<<16
	binary.BigEndian.PutUint64(u[:8], stamp)
	return u
}
