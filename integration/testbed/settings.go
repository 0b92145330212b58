package testbed

import (
	"maps"
	"slices"
	"strings"
)

// Settings are values of lsmtpd's configuration by key.
type Settings map[string]string

// With returns s with others in their place.
func (s Settings) With(others Settings) Settings {
	all := maps.Clone(s)
	maps.Copy(all, others)
	return all
}

// Env is the environment that says the same.
func (s Settings) Env() []string {
	var env []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		env = append(env, "LSMTPD_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+s[key])
	}
	return env
}
