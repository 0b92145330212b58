package objectstore

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run side by side than there are processors: those of hanging servers spend their time waiting.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
