//go:build integration

package expected

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// enmimeModule is enmime, MIT licence, Copyright (c) 2012-2016 James Hillyerd. What its tests assert in code stands in
// the tables of this package, where they name the test; what they have as tables is read out of them.
const enmimeModule = "github.com/jhillyerd/enmime/v2@v2.3.0"

// enmimeTests are the functions of a test file of enmime, by name.
func enmimeTests(t *testing.T, dir, file string) map[string]*ast.FuncDecl {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]*ast.FuncDecl{}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
			tests[f.Name.Name] = f
		}
	}
	return tests
}

// enmimeTable evaluates the variable of this name in a test of enmime: a table, or what is wanted. Names are those of
// other variables and constants that occur in it.
func enmimeTable[T any](t *testing.T, dir, file, test, variable string, names map[string]any) T {
	t.Helper()
	var table T
	f := enmimeTests(t, dir, file)[test]
	if f == nil {
		t.Fatalf("%s has no %s", file, test)
	}
	l := &literals{names: map[string]any{"nil": nil, "true": true, "false": false}}
	for name, value := range names {
		l.names[name] = value
	}
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		value := assigned(n, variable)
		if value == nil || found {
			return true
		}
		found = true
		if err := l.eval(value, reflect.ValueOf(&table).Elem()); err != nil {
			t.Fatalf("%s: %s: %v", test, variable, err)
		}
		return false
	})
	if !found {
		t.Fatalf("%s has no %s", test, variable)
	}
	return table
}

// assigned is what n gives a variable, nil where it does not.
func assigned(n ast.Node, variable string) ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if len(n.Lhs) == 1 && len(n.Rhs) == 1 && name(n.Lhs[0]) == variable {
			return n.Rhs[0]
		}
	case *ast.ValueSpec:
		if len(n.Names) == 1 && len(n.Values) == 1 && n.Names[0].Name == variable {
			return n.Values[0]
		}
	}
	return nil
}

// assertions counts the places in a test of enmime where it can fail.
func assertions(f *ast.FuncDecl) int {
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		pkg, fun, _ := strings.Cut(name(call.Fun), ".")
		switch {
		case pkg == "t" && (strings.HasPrefix(fun, "Error") || strings.HasPrefix(fun, "Fatal")),
			pkg == "test" && (strings.HasPrefix(fun, "Compare") || strings.HasPrefix(fun, "Content") || strings.HasPrefix(fun, "Diff")),
			pkg == "assert", pkg == "require":
			n++
		}
		return true
	})
	return n
}
