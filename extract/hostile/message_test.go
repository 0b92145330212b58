package hostile

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestMessages checks that messages have their octets, and the same each time.
func TestMessages(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Messages() {
		if names[m.Name] {
			t.Errorf("two kinds are named %s", m.Name)
		}
		names[m.Name] = true
		const octets = 1_000_000
		source := m.Source(octets)
		got, err := io.ReadAll(source())
		again, errAgain := io.ReadAll(source())
		if err != nil || errAgain != nil || !bytes.Equal(got, again) {
			t.Errorf("%s: %d octets, %v, then %d, %v", m.Name, len(got), err, len(again), errAgain)
		}
		if len(got) < octets/5 {
			t.Errorf("%s: only %d octets", m.Name, len(got))
		}
		if end := bytes.Index(got, []byte("\r\n\r\n")); m.Header && end+4 != len(got) && !strings.HasPrefix(m.Name, "empty lines") {
			t.Errorf("%s: a header of %d octets of %d", m.Name, end, len(got))
		}
	}
	if len(names) < 200 {
		t.Errorf("%d kinds", len(names))
	}
}

func TestPieces(t *testing.T) {
	s := &stream{pieces: []piece{once("ab"), times("cd", 3), many("efg", 7), once("")}}
	if err := iotest.TestReader(s, []byte("abcdcdcdefgefg")); err != nil {
		t.Error(err)
	}
	long, err := io.ReadAll(&stream{pieces: []piece{many("xyz", 1_000_000)}})
	if err != nil || string(long) != strings.Repeat("xyz", 333_333) {
		t.Errorf("got %d octets, %v", len(long), err)
	}
}
