//go:build integration

package expected

import (
	"fmt"
	"go/ast"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// literals evaluates the composite literals of a test written in Go, into values of our own types. It knows what occurs
// in letters' tests: an expression it does not know is an error, never a zero value.
type literals struct {
	types map[string]reflect.Type // by their name in the source
	names map[string]any          // variables and constants by theirs
}

// eval sets v to the value of e.
func (l *literals) eval(e ast.Expr, v reflect.Value) error {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return l.evalComposite(e, v)
	case *ast.UnaryExpr:
		if e.Op != token.AND || v.Kind() != reflect.Pointer {
			return fmt.Errorf("operator %s of a %s", e.Op, v.Type())
		}
		v.Set(reflect.New(v.Type().Elem()))
		return l.eval(e.X, v.Elem())
	case *ast.CallExpr:
		if len(e.Args) == 1 && l.isConversion(e.Fun) {
			return l.eval(e.Args[0], v)
		}
		return fmt.Errorf("call of %s", name(e.Fun))
	}
	value, err := l.scalar(e)
	if err != nil || value == nil {
		return err // a nil leaves the zero value
	}
	got := reflect.ValueOf(value)
	isText := v.Kind() == reflect.String || v.Type() == reflect.TypeFor[[]byte]()
	if !got.CanConvert(v.Type()) || (got.Kind() == reflect.String) != isText {
		return fmt.Errorf("a %s where a %s should be", got.Type(), v.Type())
	}
	v.Set(got.Convert(v.Type()))
	return nil
}

// isConversion reports that fun is a type, not a function.
func (l *literals) isConversion(fun ast.Expr) bool {
	switch fun.(type) {
	case *ast.ArrayType, *ast.MapType:
		return true
	}
	return l.types[name(fun)] != nil
}

// scalar is the value of an expression without parts: a string, an int, a time, nil.
func (l *literals) scalar(e ast.Expr) (any, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		switch e.Kind {
		case token.STRING:
			return strconv.Unquote(e.Value)
		case token.INT:
			n, err := strconv.ParseInt(e.Value, 0, 64)
			return int(n), err
		case token.CHAR:
			r, _, _, err := strconv.UnquoteChar(e.Value[1:], '\'')
			return int(r), err
		}
	case *ast.BinaryExpr:
		x, errX := l.scalar(e.X)
		y, errY := l.scalar(e.Y)
		a, okA := x.(string)
		b, okB := y.(string)
		if errX == nil && errY == nil && okA && okB && e.Op == token.ADD {
			return a + b, nil
		}
	case *ast.Ident, *ast.SelectorExpr:
		if value, ok := l.names[name(e)]; ok {
			return value, nil
		}
		return nil, fmt.Errorf("unknown name %q", name(e))
	}
	return nil, fmt.Errorf("unknown expression %T", e)
}

func (l *literals) evalComposite(lit *ast.CompositeLit, v reflect.Value) error {
	if v.Kind() == reflect.Pointer { // an element &T{} written as {}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if want := l.types[name(lit.Type)]; lit.Type != nil && want != nil && want != v.Type() {
		return fmt.Errorf("a %s where a %s should be", want, v.Type())
	}
	switch v.Kind() {
	case reflect.Struct:
		return l.evalStruct(lit, v)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(lit.Elts), len(lit.Elts)))
		for i, e := range lit.Elts {
			if err := l.eval(e, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Map:
		return l.evalMap(lit, v)
	}
	return fmt.Errorf("composite literal of a %s", v.Type())
}

// evalStruct matches fields by their names, whatever the case, or, where the literal has none, by their order.
func (l *literals) evalStruct(lit *ast.CompositeLit, v reflect.Value) error {
	for i, e := range lit.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			if len(lit.Elts) != v.NumField() {
				return fmt.Errorf("%d fields of a %s", len(lit.Elts), v.Type())
			}
			if err := l.eval(e, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		f := v.FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, name(pair.Key)) })
		if !f.IsValid() {
			return fmt.Errorf("%s has no field %s", v.Type(), name(pair.Key))
		}
		if err := l.eval(pair.Value, f); err != nil {
			return fmt.Errorf("%s: %w", name(pair.Key), err)
		}
	}
	return nil
}

func (l *literals) evalMap(lit *ast.CompositeLit, v reflect.Value) error {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range lit.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return fmt.Errorf("element of a %s without its key", v.Type())
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := l.eval(pair.Key, key); err != nil {
			return err
		}
		if err := l.eval(pair.Value, value); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

// name is a name as it stands in the source: x, or pkg.x.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	}
	return ""
}

// date evaluates time.Date(…) whose location is loc.
func (l *literals) date(call *ast.CallExpr, loc *time.Location) (time.Time, error) {
	if name(call.Fun) != "time.Date" || len(call.Args) != 8 {
		return time.Time{}, fmt.Errorf("call of %s with %d arguments", name(call.Fun), len(call.Args))
	}
	var n [7]int
	for i := range n {
		if month, ok := strings.CutPrefix(name(call.Args[i]), "time."); i == 1 && ok {
			m, err := time.Parse("January", month)
			if err != nil {
				return time.Time{}, err
			}
			n[i] = int(m.Month())
			continue
		}
		value, err := l.scalar(call.Args[i])
		number, ok := value.(int)
		if err != nil {
			return time.Time{}, fmt.Errorf("argument %d of time.Date: %w", i, err)
		}
		if !ok {
			return time.Time{}, fmt.Errorf("argument %d of time.Date is no number", i)
		}
		n[i] = number
	}
	return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6], loc), nil
}
