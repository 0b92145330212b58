//go:build integration

package faults

import (
	"os"
	"slices"
	"sync/atomic"
	"testing"
)

// TestFaults is all rounds, beside each other as far as -parallel lets them, and the table of what they did.
func TestFaults(t *testing.T) {
	t.Logf("LSMTPD_FAULTS_SEED=%d", seed)
	rounds := allRounds()
	var ran atomic.Int64
	t.Run("round", func(t *testing.T) {
		for _, r := range rounds {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				ran.Add(1)
				r.run(t)
			})
		}
	})
	tooFew := counts.print(os.Stdout)
	t.Logf("LSMTPD_FAULTS_SEED=%d", seed)
	if all := ran.Load() == int64(len(rounds)); all && len(tooFew) > 0 {
		t.Errorf("too few faults: %q", tooFew)
	}
}

// namedRound is a round as a subtest.
type namedRound struct {
	name string
	run  func(*testing.T)
}

// allRounds are in the order in which they begin: those first that take longest.
func allRounds() []namedRound {
	return slices.Concat(networkRounds(), stepRounds(), brokerRounds(), awayRounds(), processRounds(), diskRounds())
}
