//go:build integration

package expected

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/mail"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // letters' dates have zones by name
)

// lettersModule is letters, MIT licence, Copyright (c) 2019 Michal Nakoneczny.
const lettersModule = "github.com/mnako/letters@v0.2.4"

// lettersEmail and the types below it mirror those of letters; Name is ours.
type lettersEmail struct {
	Headers                    lettersHeaders
	Text, EnrichedText, HTML   string
	InlineFiles, AttachedFiles []lettersFile
}

type lettersHeaders struct {
	Date                                      time.Time
	Sender                                    *mail.Address
	From, ReplyTo, To, Cc, Bcc                []*mail.Address
	MessageID                                 string
	InReplyTo, References                     []string
	Subject, Comments                         string
	Keywords                                  []string
	ResentDate                                time.Time
	ResentSender                              *mail.Address
	ResentFrom, ResentTo, ResentCc, ResentBcc []*mail.Address
	ResentMessageID                           string
	ContentType                               lettersContentType
	ContentDisposition                        lettersDisposition
	ExtraHeaders                              map[string][]string
}

type lettersContentType struct {
	ContentType string
	Params      map[string]string
}

type lettersDisposition struct {
	ContentDisposition string
	Params             map[string]string
}

type lettersFile struct {
	ContentID          string
	ContentType        lettersContentType
	ContentDisposition lettersDisposition
	Name               string // the file name of the one or else of the other
	Data               []byte
}

// lettersExpectations are the emails that letters' tests expect, by the message's path in the module.
type lettersExpectations struct {
	emails  map[string]lettersEmail
	leftOut int // cases of a parser with filters: the same messages, and less of them
}

// readLetters reads the expectations out of letters' test files.
func readLetters(t *testing.T, dir string) *lettersExpectations {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	x := &lettersExpectations{emails: map[string]lettersEmail{}}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "TestParseEmail") || strings.HasPrefix(f.Name.Name, "TestParseEmailHeaders") {
				continue // the one test of headers alone is of a message that has a test of its own
			}
			if err := x.readTest(f); err != nil {
				t.Fatalf("%s: %v", f.Name.Name, err)
			}
		}
	}
	return x
}

// readTest reads the cases of one test function.
func (x *lettersExpectations) readTest(f *ast.FuncDecl) error {
	l := &literals{
		types: map[string]reflect.Type{
			"letters.Email":                    reflect.TypeFor[lettersEmail](),
			"letters.Headers":                  reflect.TypeFor[lettersHeaders](),
			"letters.ContentTypeHeader":        reflect.TypeFor[lettersContentType](),
			"letters.ContentDispositionHeader": reflect.TypeFor[lettersDisposition](),
			"mail.Address":                     reflect.TypeFor[mail.Address](),
		},
		names: map[string]any{
			"nil":                                  nil,
			"letters.ContentDispositionAttachment": "attachment",
			"letters.ContentDispositionInline":     "inline",
		},
	}
	found := false
	for _, s := range f.Body.List {
		assign, ok := s.(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 {
			continue
		}
		var err error
		switch name(assign.Lhs[0]) {
		case "expectedDate":
			err = l.readDate(f, assign.Rhs[0])
		case "tcs":
			found = true
			err = x.readCases(l, assign.Rhs[0])
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return errors.New("no cases")
	}
	return nil
}

// readDate reads the date of a test: time.Date in the one location the test loads, inside of a call that formats it
// and parses it again, to give it the zone's name.
func (l *literals) readDate(f *ast.FuncDecl, e ast.Expr) error {
	var loc *time.Location
	var err error
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && name(call.Fun) == "time.LoadLocation" && len(call.Args) == 1 && err == nil {
			var zone any
			if zone, err = l.scalar(call.Args[0]); err == nil {
				loc, err = time.LoadLocation(fmt.Sprint(zone))
			}
		}
		return true
	})
	if err != nil || loc == nil {
		return fmt.Errorf("location of the date: %w", err)
	}
	ast.Inspect(e, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && name(call.Fun) == "time.Date" && err == nil {
			l.names["expectedDate"], err = l.date(call, loc)
		}
		return true
	})
	return err
}

// readCases reads the cases of the parser without filters.
func (x *lettersExpectations) readCases(l *literals, e ast.Expr) error {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		return errors.New("the cases are no composite literal")
	}
	for _, e := range list.Elts {
		fields := map[string]ast.Expr{}
		for _, f := range e.(*ast.CompositeLit).Elts {
			pair := f.(*ast.KeyValueExpr)
			fields[name(pair.Key)] = pair.Value
		}
		newParser, ok := fields["emailParser"].(*ast.CallExpr)
		if !ok || name(newParser.Fun) != "letters.NewEmailParser" {
			return errors.New("a case without its parser")
		}
		if len(newParser.Args) > 0 {
			x.leftOut++
			continue
		}
		path, err := l.scalar(fields["filepath"])
		if err != nil {
			return err
		}
		var email lettersEmail
		if err := l.eval(fields["expectedEmail"], reflect.ValueOf(&email).Elem()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, list := range [][]lettersFile{email.InlineFiles, email.AttachedFiles} {
			for i, f := range list {
				list[i].Name = f.ContentType.Params["name"]
				if name := f.ContentDisposition.Params["filename"]; name != "" {
					list[i].Name = name
				}
			}
		}
		if _, ok := x.emails[path.(string)]; ok {
			return fmt.Errorf("%s occurs twice", path)
		}
		x.emails[path.(string)] = email
	}
	return nil
}

// paths are the messages there are expectations of, sorted.
func (x *lettersExpectations) paths() []string { return slices.Sorted(maps.Keys(x.emails)) }
