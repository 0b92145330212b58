package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// loader reads settings from everywhere they can come from. Each error names
// the place, the key, what was wrong and what would be right.
type loader struct {
	settings *settings
	keys     map[string]*key
	flags    map[string]*rawFlag
	file     string // --config
	warnings []string
	errs     []error
}

func newLoader() *loader {
	l := &loader{settings: defaults(), keys: map[string]*key{}, flags: map[string]*rawFlag{}}
	for _, k := range l.settings.keys() {
		l.keys[k.name] = k
	}
	return l
}

// rawFlag keeps a flag's text until its turn comes: flags win over all else, so they are applied last.
type rawFlag struct {
	key   *key
	value string
	given bool
}

func (f *rawFlag) String() string { return f.key.get() }
func (f *rawFlag) Type() string   { return f.key.kind }

// Set keeps v. A list may be given element by element, in several flags.
func (f *rawFlag) Set(v string) error {
	if f.given && f.key.kind == "list" {
		v = f.value + "," + v
	}
	f.value, f.given = v, true
	return nil
}

// addFlags gives set a flag for every key whose name begins with one of prefixes, and --config.
func (l *loader) addFlags(set *pflag.FlagSet, prefixes ...string) {
	set.StringVar(&l.file, "config", "", "configuration `file`, YAML (environment: "+configEnv+")")
	for _, k := range l.settings.keys() {
		if k.secret || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k.name, p) }) {
			continue
		}
		f := &rawFlag{key: l.keys[k.name]}
		l.flags[k.name] = f
		flag := set.VarPF(f, k.name, "", k.help)
		if k.kind == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// configEnv is the environment variable that stands for --config.
const configEnv = "LSMTPD_CONFIG"

// load applies file, environment and flags to the defaults, in this order.
func (l *loader) load(environ []string) (*settings, error) {
	place, file := "--config", l.file
	for _, entry := range environ {
		if path, ok := strings.CutPrefix(entry, configEnv+"="); ok && file == "" {
			place, file = configEnv, path
		}
	}
	if file != "" {
		l.loadFile(place, file)
	}
	l.loadEnvironment(environ)
	for _, name := range sortedKeys(l.flags) {
		if f := l.flags[name]; f.given {
			l.apply("--"+name, f.key, f.value)
		}
	}
	return l.settings, errors.Join(l.errs...)
}

// apply sets a key; where it came from is what an error begins with.
func (l *loader) apply(where string, k *key, value string) {
	if err := k.set(value); err != nil {
		l.fail("%s: %w", where, err)
	}
}

// fail notes an error.
func (l *loader) fail(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

// loadEnvironment applies the LSMTPD_ variables. One that is unknown is a
// warning only: orchestrators inject such names for services of that name.
func (l *loader) loadEnvironment(environ []string) {
	byEnv, given := map[string]*key{}, map[string]string{}
	for _, k := range l.keys {
		byEnv[k.env()] = k
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		k, fromFile := byEnv[name], false
		if secretKey := byEnv[strings.TrimSuffix(name, "_FILE")]; k == nil && secretKey != nil && secretKey.secret {
			k, fromFile = secretKey, true
		}
		switch {
		case !strings.HasPrefix(name, "LSMTPD_") || name == configEnv:
		case k == nil:
			l.warnings = append(l.warnings, fmt.Sprintf("unknown environment variable %s%s", name, l.nearestVariable(name)))
		case given[k.name] != "" && given[k.name] != name:
			l.fail("%s and %s: both set; unset one of them", given[k.name], name)
		case fromFile:
			l.loadSecretFile(name, k, value)
		default:
			l.apply(name+": "+k.name, k, value)
		}
		if k != nil {
			given[k.name] = name
		}
	}
}

func (l *loader) loadSecretFile(place string, k *key, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		l.fail("%s: %s: cannot read the file: %w", place, k.name, err)
		return
	}
	l.apply(place+": "+k.name, k, strings.TrimRight(string(data), "\r\n"))
}

// nearest suggests the key that was probably meant.
func (l *loader) nearest(name string) string {
	return suggestion(nearest(name, append(sortedKeys(l.keys), routesKey)))
}

// nearestVariable suggests the environment variable that was probably meant.
func (l *loader) nearestVariable(name string) string {
	const prefix = "LSMTPD_"
	if name == prefix+strings.ToUpper(routesKey) {
		return "; routes stand in the configuration file"
	}
	names := []string{strings.TrimPrefix(configEnv, prefix)}
	for _, k := range l.keys {
		names = append(names, strings.TrimPrefix(k.env(), prefix))
	}
	slices.Sort(names)
	best := nearest(strings.TrimPrefix(name, prefix), names)
	if best != "" {
		best = prefix + best
	}
	return suggestion(best)
}

func suggestion(name string) string {
	if name == "" {
		return "; lsmtpd serve --help lists them"
	}
	return "; did you mean " + name + "?"
}

// nearest is the one of names that is spelled most like name, "" where none is like it.
func nearest(name string, names []string) string {
	best, bestDistance := "", max(len(name)/3+1, 3) // two letters exchanged are a distance of 2
	for _, n := range names {
		if d := distance(name, n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	return best
}

// distance is the number of single-octet edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(cost, previous+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
