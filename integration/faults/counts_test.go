//go:build integration

package faults

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"text/tabwriter"
)

// The kinds of faults. Those of a network have the link in front.
const (
	killAtStep        = "kill -9 at a step"
	killAtRandom      = "kill -9 at a random time"
	artemisKilled     = "Artemis killed and started again"
	rabbitMQKilled    = "RabbitMQ killed and started again"
	minIOKilled       = "MinIO killed and started again"
	memoryAlarm       = "RabbitMQ's memory alarm"
	queueFull         = "queue full, "    // and the broker
	queueDeleted      = "queue deleted, " // and the broker
	diskFull          = "spool disk full"
	diskReadOnly      = "spool disk read-only"
	terminated        = "SIGTERM in an upload"
	clockBack         = "clock stepped back"
	descriptors       = "no descriptors left"
	sweepBeside       = "killed while the other sweeps"
	brokerAway        = "broker away, with a spool"
	brokerAwayNoSpool = "broker away, without a spool"
)

// The links and what happens to them.
var (
	links        = []string{"client", "broker", "store"}
	networkKinds = []string{"cut", "stall", "latency", "slow close"}
)

// minimum is how many faults of a kind there have to be.
type minimum struct {
	kind     string
	ci, long int
}

// longTotal is how many faults the long run has at least.
const longTotal = 10_000

// minima are those of all kinds but the kills at steps, whose number follows from the steps.
func minima() []minimum {
	list := []minimum{
		{killAtStep, stepKills(), 5 * stepKills()},
		{killAtRandom, 20, 300},
		{artemisKilled, 3, 15}, {rabbitMQKilled, 3, 15}, {minIOKilled, 3, 15},
		{memoryAlarm, 1, 5},
	}
	for _, b := range []string{"Artemis", "Broker-J", "RabbitMQ"} {
		list = append(list, minimum{queueFull + b, 1, 5}, minimum{queueDeleted + b, 1, 5})
	}
	for _, l := range links {
		for _, k := range networkKinds {
			list = append(list, minimum{l + ": " + k, 10, 800})
		}
	}
	return append(list, minimum{diskFull, 1, 5}, minimum{diskReadOnly, 1, 5}, minimum{terminated, 2, 10}, minimum{clockBack, 1, 5},
		minimum{descriptors, 1, 5}, minimum{sweepBeside, 2, 10}, minimum{brokerAway, 1, 5}, minimum{brokerAwayNoSpool, 1, 5})
}

// The environment: LSMTPD_FAULTS=long for the long run, LSMTPD_FAULTS_SEED for the seed of another one.
var (
	long = os.Getenv("LSMTPD_FAULTS") == "long"
	seed = runSeed()
)

func runSeed() uint64 {
	text := os.Getenv("LSMTPD_FAULTS_SEED")
	if text == "" {
		return uint64(rand.Uint32())
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("LSMTPD_FAULTS_SEED is no number: %v", err))
	}
	return n
}

// wanted is how many faults of a kind this run has.
func wanted(kind string) int {
	for _, m := range minima() {
		if m.kind == kind && long {
			return m.long
		}
		if m.kind == kind {
			return m.ci
		}
	}
	panic("no kind is called " + kind)
}

// tally counts faults by kind.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

var counts = tally{counts: map[string]int{}}

func (c *tally) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[kind]++
}

// print writes the table and returns the kinds that had too few faults.
func (c *tally) print(w io.Writer) (tooFew []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "fault\tcount\twanted\t\n")
	total := 0
	for _, m := range minima() {
		n, want := c.counts[m.kind], wanted(m.kind)
		total += n
		fmt.Fprintf(table, "%s\t%d\t%d\t\n", m.kind, n, want)
		if n < want {
			tooFew = append(tooFew, m.kind)
		}
	}
	want := 0
	if long {
		want = longTotal
	}
	fmt.Fprintf(table, "all\t%d\t%d\t\n", total, want)
	if total < want {
		tooFew = append(tooFew, "all")
	}
	_ = table.Flush() // to a test's output
	return tooFew
}
