package route

import "slices"

// Unreachable reports whether the routes before routes[i] leave it no recipient, and returns the numbers, from 0, of
// those that take them. It tells where a pattern matches all that another matches as far as their texts show it: the
// same pattern, a domain before its addresses, * before anything, but nothing of what two regular expressions have in
// common. Recipients that a template before cannot be made for count only where they are address literals.
func Unreachable(routes []Route, i int) (by []int, unreachable bool) {
	for _, p := range routes[i].Match {
		number := slices.IndexFunc(routes[:i], func(r Route) bool { return r.takes(p) })
		if number < 0 {
			return nil, false
		}
		if !slices.Contains(by, number) {
			by = append(by, number)
		}
	}
	return by, len(by) > 0
}

// takes reports whether r matches all that p matches. What a template cannot be made for, r does not match.
func (r *Route) takes(p Pattern) bool {
	if !r.Address.isStatic() && p.mayLackDomain() {
		return false
	}
	if p.expression == nil && p.domain.isLiteral() {
		if _, ok := r.Address.expand(p.domain[0]); !ok {
			return false
		}
	}
	return slices.ContainsFunc(r.Match, func(earlier Pattern) bool { return earlier.covers(p) })
}

// mayLackDomain reports whether p may match an address literal.
func (p Pattern) mayLackDomain() bool {
	if p.expression != nil {
		return true
	}
	first, last := p.domain[0], p.domain[len(p.domain)-1]
	return first == "" && last == "" || first != "" && first[0] == '['
}

// covers reports whether p can be told to match all that q matches. The stars of a pattern are taken for letters: as
// no other pattern has that letter, only a star of p can match them, and it would match whatever they stand for.
func (p Pattern) covers(q Pattern) bool {
	switch {
	case p.expression == nil && p.local.isAny() && p.domain.isAny():
		return true
	case p.expression != nil && q.expression != nil:
		return p.text == q.text
	case q.expression != nil:
		return false
	case p.expression != nil && !(q.local.isLiteral() && q.domain.isLiteral()):
		return false
	}
	local, domain := q.local.text(), q.domain.text()
	return p.matches(mailbox{local: local, domain: domain, text: local + "@" + domain})
}
