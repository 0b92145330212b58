//go:build integration

package corpus

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed decode.py
var decodeScript string

//go:embed bodylists.py
var bodyListsScript string

// patience bounds what a witness or the program needs for all messages together.
const patience = 2 * time.Minute

// reading is what a witness makes of a message.
type reading struct {
	Parts   []part   `json:"parts"`
	Defects []string `json:"defects"`
}

// part is a leaf part of a message, with the octets it has once its transfer encoding is undone.
type part struct {
	ID     string  `json:"id"`
	Type   string  `json:"type"`
	Size   int64   `json:"size"`
	SHA256 string  `json:"sha256"`
	Name   *string `json:"name"`
}

// witness reads messages.
type witness func(*testing.T, []*delivery) []reading

// question asks a witness about a message.
type question struct {
	Octets []byte `json:"octets"`
}

func questions(all []*delivery) []question {
	var q []question
	for _, d := range all {
		q = append(q, question{d.octets})
	}
	return q
}

func cpython(t *testing.T, all []*delivery) []reading {
	t.Helper()
	return ask[question, reading](t, questions(all), "python3", "-c", decodeScript)
}

// enmime builds the program of the module of that name, and asks it.
func enmime(t *testing.T, all []*delivery) []reading {
	t.Helper()
	program := filepath.Join(t.TempDir(), "enmime")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir, build.Env = "enmime", append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build enmime: %v: %s", err, out)
	}
	return ask[question, reading](t, questions(all), program)
}

// ask runs a program that answers each line of JSON on its standard input by another, and returns its answers.
func ask[Question, Answer any](t *testing.T, questions []Question, program string, args ...string) []Answer {
	t.Helper()
	var in, complaint bytes.Buffer
	encoder := json.NewEncoder(&in)
	for _, q := range questions {
		must(t, encoder.Encode(q))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := exec.CommandContext(ctx, program, args...)
	p.Stdin, p.Stderr = &in, &complaint
	out, err := p.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, complaint.Bytes())
	}
	var answers []Answer
	for line := range bytes.Lines(out) {
		var a Answer
		must(t, json.Unmarshal(line, &a))
		answers = append(answers, a)
	}
	if len(answers) != len(questions) {
		t.Fatalf("%s: %d answers to %d questions: %s", program, len(answers), len(questions), complaint.Bytes())
	}
	return answers
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
