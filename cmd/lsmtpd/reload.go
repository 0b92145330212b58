package main

import "errors"

// reload reads everything again, from the same places as load did, and returns the settings in force with the routes
// that are configured now, and the names of the keys whose values are others than those in force: they need a restart.
// What is in force stays as it is, also where there is an error.
func (l *loader) reload(environ []string) (s *settings, restart []string, err error) {
	again := newLoader()
	again.file = l.file
	for name, f := range l.flags {
		again.flags[name] = &rawFlag{key: again.keys[name], value: f.value, given: f.given}
	}
	configured, err := again.load(environ)
	if err != nil {
		return nil, nil, err
	}
	merged := *l.settings
	merged.routes = configured.routes
	if err := errors.Join(merged.validateRoutes(), merged.validateRaw()); err != nil {
		return nil, nil, err
	}
	for _, name := range sortedKeys(l.keys) {
		if l.keys[name].exact() != again.keys[name].exact() {
			restart = append(restart, name)
		}
	}
	return &merged, restart, nil
}
