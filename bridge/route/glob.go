package route

import (
	"slices"
	"strings"
)

// glob is what stands before, between and behind the stars.
type glob []string

func parseGlob(s string) glob { return strings.Split(s, "*") }

// text is what g was parsed from.
func (g glob) text() string { return strings.Join(g, "*") }

func (g glob) isLiteral() bool { return len(g) == 1 }

// isAny reports whether g is nothing but stars.
func (g glob) isAny() bool {
	return len(g) > 1 && !slices.ContainsFunc(g, func(run string) bool { return run != "" })
}

// matches never goes back: the first place where a run fits leaves the most room for the next ones.
func (g glob) matches(s string) bool {
	first, last := g[0], g[len(g)-1]
	if g.isLiteral() {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, run := range g[1 : len(g)-1] {
		i := strings.Index(s, run)
		if i < 0 {
			return false
		}
		s = s[i+len(run):]
	}
	return true
}
