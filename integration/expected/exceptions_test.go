//go:build integration

package expected

import (
	"path"
	"strings"
	"testing"
)

// exception is where lsmtpd differs on purpose.
type exception struct {
	message, what string                   // the message, and the value as the test names it; with a star, patterns of path.Match
	ours          func(want string) string // what lsmtpd gives where want is expected
	reason        string                   // why that is right
	used          bool
}

// is is what lsmtpd gives, whatever is expected.
func is(value string) func(string) string { return func(string) string { return value } }

func (e *exception) covers(t *testing.T, message, what, got, want string) bool {
	t.Helper()
	return matches(t, e.message, message) && matches(t, e.what, what) && got == e.ours(want)
}

func matches(t *testing.T, pattern, name string) bool {
	t.Helper()
	if !strings.Contains(pattern, "*") {
		return pattern == name
	}
	ok, err := path.Match(pattern, name)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// exceptions is a table of them.
type exceptions []exception

// check compares what was got with what is wanted; a difference is an error, except where the table has it.
func (x exceptions) check(t *testing.T, message, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	for i := range x {
		if x[i].covers(t, message, what, got, want) {
			x[i].used = true
			return
		}
	}
	t.Errorf("%s: %s\n got %q\nwant %q", message, what, got, want)
}

// allApply fails for each exception there was no difference for. It is for the end of a test that read all messages.
func (x exceptions) allApply(t *testing.T) {
	t.Helper()
	for _, e := range x {
		if !e.used {
			t.Errorf("the exception %q, %s no longer applies", e.message, e.what)
		}
		if e.reason == "" {
			t.Errorf("the exception %q, %s has no reason", e.message, e.what)
		}
	}
}
