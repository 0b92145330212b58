package route

import "math"

// Patterns is a list of patterns to look addresses up in. It is safe for concurrent use.
type Patterns struct {
	exact   map[string]int     // folded addresses
	domains map[string]int     // with any local part
	within  map[string][]entry // patterns of local parts, by their domain
	others  []entry
}

// entry is a pattern and its number; entries are in the order of numbers.
type entry struct {
	Pattern
	number int
}

// none is more than any number of a pattern.
const none = math.MaxInt

// NewPatterns puts a list together for looking up.
func NewPatterns(list []Pattern) *Patterns {
	ps := &Patterns{exact: map[string]int{}, domains: map[string]int{}, within: map[string][]entry{}}
	for _, p := range list {
		ps.add(p, 0)
	}
	return ps
}

// Match reports whether a pattern matches address, a mailbox without angle brackets. What has no domain is matched by none.
func (ps *Patterns) Match(address string) bool {
	m, ok := parseMailbox(address)
	return ok && ps.first(m) != none
}

// Len is the number of different patterns.
func (ps *Patterns) Len() int {
	n := len(ps.exact) + len(ps.domains) + len(ps.others)
	for _, entries := range ps.within {
		n += len(entries)
	}
	return n
}

// add takes p in under a number, none of which may be less than the one before.
func (ps *Patterns) add(p Pattern, number int) {
	switch {
	case p.expression != nil || !p.domain.isLiteral():
		ps.others = append(ps.others, entry{p, number})
	case p.local.isLiteral():
		addFirst(ps.exact, p.local[0]+"@"+p.domain[0], number)
	case p.local.isAny():
		addFirst(ps.domains, p.domain[0], number)
	default:
		ps.within[p.domain[0]] = append(ps.within[p.domain[0]], entry{p, number})
	}
}

func addFirst(m map[string]int, key string, number int) {
	if _, ok := m[key]; !ok {
		m[key] = number
	}
}

// first is the least number of a pattern that matches m, or none.
func (ps *Patterns) first(m mailbox) int {
	best := none
	if number, ok := ps.exact[m.text]; ok {
		best = number
	}
	if number, ok := ps.domains[m.domain]; ok {
		best = min(best, number)
	}
	best = firstOf(ps.within[m.domain], m, best)
	return firstOf(ps.others, m, best)
}

// firstOf is the number of the first entry that matches m, where it is less than best.
func firstOf(entries []entry, m mailbox, best int) int {
	for i := range entries {
		e := &entries[i]
		if e.number >= best {
			break
		}
		if e.matches(m) {
			return e.number
		}
	}
	return best
}
