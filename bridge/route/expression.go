package route

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// expressionEnd is where a regular expression between slashes ends that s begins with: behind the first slash after
// the opening one that no backslash takes the meaning of. It is -1 where there is none.
func expressionEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '/':
			return i + 1
		}
	}
	return -1
}

// parseExpression reads a regular expression, slashes and all, as one for whole addresses in any case.
func parseExpression(s string) (*regexp.Regexp, error) {
	switch end := expressionEnd(s); {
	case end < 0:
		return nil, errors.New(`ends in \/, which is a slash of the expression; put another / behind it`)
	case end < len(s):
		return nil, errors.New(`has a / within the expression; write it \/`)
	}
	expression := s[1 : len(s)-1]
	tree, err := syntax.Parse(expression, syntax.Perl) // alone: what it leaves open must not take in what is put around it
	if err != nil {
		return nil, expressionError(err)
	}
	if !hasAt(tree) {
		return nil, errors.New("matches no address, as no @ can be in what it matches; it is compared with all of an address")
	}
	re, err := regexp.Compile(`(?i)\A(?:` + expression + `)\z`)
	if err != nil {
		return nil, expressionError(err)
	}
	return re, nil
}

// expressionError is a regexp error without what is the same in all of them.
func expressionError(err error) error {
	var s *syntax.Error
	if !errors.As(err, &s) {
		return err
	}
	if strings.Contains(s.Expr, `\A(?:`) { // all of it, so it was valid alone
		return errors.New(`is not a regular expression: \Q without \E`)
	}
	return fmt.Errorf("is not a regular expression: %s: %s", s.Code, s.Expr)
}

// hasAt reports whether there can be an @ in what re matches.
func hasAt(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r == '@' {
				return true
			}
		}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if re.Rune[i] <= '@' && '@' <= re.Rune[i+1] {
				return true
			}
		}
	}
	for _, sub := range re.Sub {
		if hasAt(sub) {
			return true
		}
	}
	return false
}
