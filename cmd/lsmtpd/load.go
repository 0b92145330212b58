package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
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

func (f *rawFlag) String() string     { return f.key.get() }
func (f *rawFlag) Type() string       { return f.key.kind }
func (f *rawFlag) Set(v string) error { f.value, f.given = v, true; return nil }

// addFlags gives set a flag for every key whose name begins with one of prefixes, and --config.
func (l *loader) addFlags(set *pflag.FlagSet, prefixes ...string) {
	set.StringVar(&l.file, "config", os.Getenv("LSMTPD_CONFIG"), "configuration `file`, YAML (environment: LSMTPD_CONFIG)")
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

// load applies file, environment and flags to the defaults, in this order.
func (l *loader) load(environ []string) (*settings, error) {
	if l.file != "" {
		l.loadFile(l.file)
	}
	l.loadEnvironment(environ)
	for _, name := range sortedKeys(l.flags) {
		if f := l.flags[name]; f.given {
			l.apply("--"+name, name, f.value)
		}
	}
	return l.settings, errors.Join(l.errs...)
}

// apply sets a key that came from place.
func (l *loader) apply(place, name, value string) {
	k := l.keys[name]
	if err := k.set(value); err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %s: %w", place, name, err))
	}
}

func (l *loader) loadFile(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("--config: cannot read the file: %w", err))
		return
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil {
		if len(bytes.TrimSpace(data)) > 0 {
			l.errs = append(l.errs, fmt.Errorf("%s: not YAML: %w", path, err))
		}
		return
	}
	l.loadNode(path, "", doc.Content[0])
}

// loadNode applies the mapping node, whose keys stand below prefix.
func (l *loader) loadNode(path, prefix string, node *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		l.errs = append(l.errs, fmt.Errorf("%s:%d: %swant keys with values, as smtp: {listen: …}", path, node.Line, strings.TrimSuffix(prefix, ".")))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := prefix+node.Content[i].Value, node.Content[i+1]
		place := fmt.Sprintf("%s:%d", path, node.Content[i].Line)
		switch {
		case seen[name]:
			l.errs = append(l.errs, fmt.Errorf("%s: %s: given twice", place, name))
		case l.keys[name] != nil:
			l.loadValue(place, name, value)
		case l.isGroup(name):
			l.loadNode(path, name+".", value)
		default:
			l.errs = append(l.errs, fmt.Errorf("%s: %s: unknown key%s", place, name, l.nearest(name)))
		}
		seen[name] = true
	}
}

func (l *loader) loadValue(place, name string, value *yaml.Node) {
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		// A key without a value is as good as absent.
	case value.Kind == yaml.ScalarNode:
		l.apply(place, name, value.Value)
	case value.Kind == yaml.SequenceNode && l.keys[name].kind == "list":
		texts := make([]string, len(value.Content))
		for i, n := range value.Content {
			texts[i] = n.Value
		}
		l.apply(place, name, strings.Join(texts, ","))
	default:
		l.errs = append(l.errs, fmt.Errorf("%s: %s: want a %s, not a list or a group of keys", place, name, l.keys[name].kind))
	}
}

// isGroup reports whether name is the beginning of keys.
func (l *loader) isGroup(name string) bool {
	for k := range l.keys {
		if strings.HasPrefix(k, name+".") {
			return true
		}
	}
	return false
}

// loadEnvironment applies the LSMTPD_ variables. One that is unknown is a
// warning only: orchestrators inject such names for services of that name.
func (l *loader) loadEnvironment(environ []string) {
	byEnv := map[string]*key{}
	for _, k := range l.keys {
		byEnv[k.env()] = k
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		k := byEnv[strings.TrimSuffix(name, "_FILE")]
		switch {
		case !strings.HasPrefix(name, "LSMTPD_") || name == "LSMTPD_CONFIG":
		case byEnv[name] != nil:
			l.apply(name, byEnv[name].name, value)
		case k != nil && k.secret && strings.HasSuffix(name, "_FILE"):
			l.loadSecretFile(name, k, value)
		default:
			l.warnings = append(l.warnings, fmt.Sprintf("unknown environment variable %s%s", name, l.nearest(name)))
		}
	}
}

func (l *loader) loadSecretFile(place string, k *key, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %s: cannot read the file: %w", place, k.name, err))
		return
	}
	l.apply(place, k.name, strings.TrimRight(string(data), "\r\n"))
}

// nearest suggests the key that was probably meant.
func (l *loader) nearest(name string) string {
	name = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "LSMTPD_"), "_", "."))
	best, bestDistance := "", len(name)/3+1
	for _, k := range sortedKeys(l.keys) {
		if d := distance(name, strings.ReplaceAll(k, "_", ".")); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return "; lsmtpd serve --help lists them"
	}
	return "; did you mean " + best + "?"
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
