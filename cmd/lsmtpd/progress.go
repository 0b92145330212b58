package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how much of total octets has gone by: what is written to it
// counts. Where w is not a terminal, or there is next to nothing to wait for, it shows nothing.
func progress(w io.Writer, label string, total int64) io.WriteCloser {
	f, ok := w.(*os.File)
	if !ok || total < mib || !term.IsTerminal(int(f.Fd())) {
		return discard{}
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(label), progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true), progressbar.OptionFullWidth(), progressbar.OptionThrottle(progressInterval),
		progressbar.OptionClearOnFinish())
}

// progressInterval is how often the bar is drawn.
const progressInterval = 100 * time.Millisecond

// discard is the progress that shows nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
