package schema_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"lsmtpd/schema"
)

// parse reads any JSON, numbers kept exact.
func parse(t *testing.T, data []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

func compile(t *testing.T, document any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource(schema.ID, document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schema.ID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSchema(t *testing.T) *jsonschema.Schema { return compile(t, parse(t, schema.JSONSchema)) }

// strictSchema is the JSON Schema without its permission to grow: a member that
// it does not describe is refused.
func strictSchema(t *testing.T) *jsonschema.Schema {
	document := parse(t, schema.JSONSchema)
	places(document.(map[string]any), func(_ string, s map[string]any) { s["unevaluatedProperties"] = false })
	return compile(t, document)
}

// places calls f with every schema of a place in the message: the root, and
// each member, item and map value. Schemas that only combine others for the
// same place ($defs, allOf, oneOf, if …) are passed through.
func places(root map[string]any, f func(path string, s map[string]any)) {
	var walk func(path string, s map[string]any, place bool)
	each := func(path string, v any, place bool) {
		for name, sub := range v.(map[string]any) {
			walk(path+"/"+name, sub.(map[string]any), place)
		}
	}
	walk = func(path string, s map[string]any, place bool) {
		for _, keyword := range slices.Sorted(maps.Keys(s)) {
			v, at := s[keyword], path+"/"+keyword
			switch keyword {
			case "properties":
				// Below then and else, a place is looked at again that has its schema already.
				each(at, v, !strings.HasSuffix(path, "/then") && !strings.HasSuffix(path, "/else") && !strings.HasSuffix(path, "/if"))
			case "$defs":
				each(at, v, false)
			case "items", "additionalProperties":
				walk(at, v.(map[string]any), true)
			case "if", "then", "else":
				walk(at, v.(map[string]any), false)
			case "allOf", "anyOf", "oneOf":
				for i, sub := range v.([]any) {
					walk(at+"/"+strconv.Itoa(i), sub.(map[string]any), false)
				}
			}
		}
		if place {
			f(path, s)
		}
	}
	walk("", root, true)
}

func TestJSONSchemaName(t *testing.T) {
	document := parse(t, schema.JSONSchema).(map[string]any)
	if document["$id"] != schema.ID || document["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$id %v, $schema %v; want %q of draft 2020-12", document["$id"], document["$schema"], schema.ID)
	}
	member := document["properties"].(map[string]any)["schema"].(map[string]any)
	if member["const"] != schema.ID {
		t.Errorf("member schema is %v, want %q", member["const"], schema.ID)
	}
}

// Every object says which members it must have: all of them, but for the places of a blob.
func TestJSONSchemaIsComplete(t *testing.T) {
	document := parse(t, schema.JSONSchema).(map[string]any)
	objects := maps.Clone(document["$defs"].(map[string]any))
	objects["(root)"] = document
	for name, v := range objects {
		s := v.(map[string]any)
		if s["description"] == nil {
			t.Errorf("%s has no description", name)
		}
		properties, ok := s["properties"].(map[string]any)
		if !ok {
			continue
		}
		var required []string
		for _, r := range s["required"].([]any) {
			required = append(required, r.(string))
		}
		if name == "blob" {
			required = append(required, "value", "inline", "url", "bucket", "key", "etag", "versionId")
		}
		slices.Sort(required)
		if members := slices.Sorted(maps.Keys(properties)); !slices.Equal(members, required) {
			t.Errorf("%s: got members %v, required %v; want them equal", name, members, required)
		}
		for member, p := range properties {
			p := p.(map[string]any)
			if p["description"] == nil && p["$ref"] == nil {
				t.Errorf("%s.%s has no description", name, member)
			}
			if p["type"] == nil && p["$ref"] == nil && p["anyOf"] == nil && p["enum"] == nil && p["const"] == nil {
				t.Errorf("%s.%s has no type", name, member)
			}
		}
	}
}

// The codes of problems are written in other packages, which this one must not import.
func TestJSONSchemaListsProblemCodes(t *testing.T) {
	problem := parse(t, schema.JSONSchema).(map[string]any)["$defs"].(map[string]any)["problem"].(map[string]any)
	var got []string
	for _, v := range problem["properties"].(map[string]any)["code"].(map[string]any)["anyOf"].([]any) {
		if code, ok := v.(map[string]any)["const"].(string); ok {
			got = append(got, code)
		}
	}
	var want []string
	for _, dir := range []string{"extract", "bridge"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no source files (%v)", dir, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				want = append(want, problemCodes(t, file)...)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("codes in the JSON Schema and in the source differ\n got %q\nwant %q", got, want)
	}
}

// problemCodes are the string constants of a file whose names begin with Code or code.
func problemCodes(t *testing.T, file string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "code") {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			code, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	return codes
}

// What Go writes has all the members of the schema and no others, whether they are filled or not.
func TestGoTypesFitJSONSchema(t *testing.T) {
	strict := strictSchema(t)
	for name, m := range map[string]*schema.Message{"all members null": bareMessage(), "all members filled": filledMessage()} {
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := strict.Validate(parse(t, data)); err != nil {
			t.Errorf("%s: %s\n%#v", name, data, err)
		}
	}
}

// A later release may add members, and a consumer of this one goes on.
func TestJSONSchemaMayGrow(t *testing.T) {
	open, strict := openSchema(t), strictSchema(t)
	for _, at := range []string{"", "envelope", "envelope.mailFrom", "envelope.rcptTo.0", "envelope.tls", "email", "email.from.0",
		"email.headers.0", "email.bodyStructure", "email.bodyStructure.subParts.0", "email.textBody.0", "email.bodyValues.1",
		"blobs.b1", "blobs.b2", "blobs.b3", "problems.0"} {
		m := filledJSON(t)
		member(t, m, at).(map[string]any)["addedLater"] = json.Number("1")
		if err := open.Validate(m); err != nil {
			t.Errorf("another member in %q: %v, want it allowed", at, err)
		}
		if err := strict.Validate(m); err == nil {
			t.Errorf("another member in %q: the strict variant takes it, so it would not notice what Go adds", at)
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schema.Decode(data); err != nil {
			t.Errorf("another member in %q: Decode: %v", at, err)
		}
	}
	m := filledJSON(t)
	member(t, m, "problems.0").(map[string]any)["code"] = "added-later"
	if err := open.Validate(m); err != nil {
		t.Errorf("another code of problem: %v, want it allowed", err)
	}
}

// absent as a value takes the member away.
var absent = struct{}{}

// refused are changes to filledMessage that make it invalid.
var refused = []struct {
	name  string
	at    string // the member, with the path to it
	value any
}{
	{"no schema", "schema", absent},
	{"schema of another version", "schema", "urn:lsmtpd:email:2"},
	{"no id", "id", absent},
	{"id is no UUID", "id", "4711"},
	{"id of version 4", "id", "019ab0ed-52a1-4c3e-9d10-6f2b8a4c1e07"},
	{"id of another variant", "id", "019ab0ed-52a1-7c3e-cd10-6f2b8a4c1e07"},
	{"id in upper case", "id", "019AB0ED-52A1-7C3E-9D10-6F2B8A4C1E07"},
	{"transactionId of version 1", "transactionId", "019ab0ed-52a1-1c3e-9d10-6f2b8a4c1e07"},
	{"no recipients", "envelope.rcptTo", []any{}},
	{"no recipient list", "envelope.rcptTo", nil},
	{"no parameters member", "envelope.mailFrom.parameters", absent},
	{"parameter in upper case", "envelope.mailFrom.parameters.SIZE", "1"},
	{"parameter that is a number", "envelope.mailFrom.parameters.size", json.Number("1")},
	{"no tls member", "envelope.tls", absent},
	{"tls that is a string", "envelope.tls", "TLS 1.3"},
	{"tls without cipher suite", "envelope.tls.cipherSuite", absent},
	{"no member subject", "email.subject", absent},
	{"negative size", "email.size", json.Number("-1")},
	{"size with a fraction", "email.size", json.Number("1.5")},
	{"size as a string", "email.size", "12"},
	{"raw blob of another name", "email.blobId", "b1"},
	{"header blob of another name", "email.headersBlobId", "raw"},
	{"truncated headers without a blob", "email.headersBlobId", nil},
	{"digest of the email in upper case", "email.sha256", strings.Repeat("AB", 32)},
	{"receivedAt in another zone", "email.receivedAt", "2026-11-23T13:46:01+01:00"},
	{"receivedAt without time", "email.receivedAt", "2026-11-23"},
	{"receivedAt null", "email.receivedAt", nil},
	{"sentAt as in the header field", "email.sentAt", "Mon, 23 Nov 2026 13:46:01 +0100"},
	{"sentAt on a day that is none", "email.sentAt", "2026-02-30T13:46:01Z"},
	{"headers null", "email.headers", nil},
	{"header field without name", "email.headers.0.name", ""},
	{"header field without value", "email.headers.0.value", absent},
	{"address as a string", "email.from.0", "a@example.org"},
	{"address without name", "email.from.0.name", absent},
	{"messageId as a string", "email.messageId", "a@example.org"},
	{"preview of 257 characters", "email.preview", strings.Repeat("ä", 257)},
	{"no structure", "email.bodyStructure", nil},
	{"root with headers", "email.bodyStructure.headers", []any{map[string]any{"name": "A", "value": "b"}}},
	{"multipart with a partId", "email.bodyStructure.partId", "1"},
	{"multipart with a size", "email.bodyStructure.size", json.Number("1")},
	{"multipart with a leaf's type", "email.bodyStructure.type", "text/plain"},
	{"leaf without partId", "email.bodyStructure.subParts.0.partId", nil},
	{"leaf without blobId", "email.bodyStructure.subParts.0.blobId", nil},
	{"leaf without subParts", "email.bodyStructure.subParts.0.subParts", absent},
	{"flaw in a part of a part", "email.bodyStructure.subParts.1.subParts.0.size", json.Number("-1")},
	{"partId 0", "email.bodyStructure.subParts.0.partId", "0"},
	{"partId that is a number", "email.bodyStructure.subParts.0.partId", json.Number("1")},
	{"media type in upper case", "email.bodyStructure.subParts.0.type", "Text/Plain"},
	{"media type with parameters", "email.bodyStructure.subParts.0.type", "text/plain; charset=utf-8"},
	{"empty file name", "email.bodyStructure.subParts.0.name", ""},
	{"a multipart in a body list", "email.textBody.0.partId", nil},
	{"body list without size", "email.textBody.0.size", absent},
	{"attachments null", "email.attachments", nil},
	{"bodyValue under a blobId", "email.bodyValues.b1", map[string]any{"value": "", "isEncodingProblem": false, "isTruncated": false}},
	{"bodyValue as a string", "email.bodyValues.1", "text"},
	{"bodyValue without isTruncated", "email.bodyValues.1.isTruncated", absent},
	{"blobs null", "blobs", nil},
	{"blob null", "blobs.b1", nil},
	{"blob without size", "blobs.b1.size", absent},
	{"blob without digest", "blobs.b1.sha256", absent},
	{"short digest", "blobs.b1.sha256", "abc"},
	{"digest in base64", "blobs.b1.sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
	{"blob without a place", "blobs.b1.value", absent},
	{"blob with value and inline", "blobs.b1.inline", "YQ=="},
	{"blob with value and url", "blobs.b1.url", "s3://mail/1"},
	{"blob with value and key", "blobs.b1.key", "1"},
	{"blob with inline and url", "blobs.b3.inline", "YQ=="},
	{"blob with value null", "blobs.b2.value", nil},
	{"value that is a blobId", "blobs.b1.value", "b1"},
	{"inline without padding", "blobs.b2.inline", "YQ"},
	{"inline for URLs", "blobs.b2.inline", "_-8="},
	{"inline in lines", "blobs.b2.inline", "YWJj\nYWJj"},
	{"url of HTTP", "blobs.b3.url", "https://mail.s3.example.com/1"},
	{"url with a blank", "blobs.b3.url", "s3://mail/a b"},
	{"object without key", "blobs.b3.key", absent},
	{"object without versionId", "blobs.b3.versionId", absent},
	{"object without url", "blobs.b3.url", absent},
	{"key that begins with a slash", "blobs.b3.key", "/2026/1"},
	{"problems null", "problems", nil},
	{"problem without partId", "problems.0.partId", absent},
	{"code with blanks", "problems.0.code", "Base64 garbage"},
}

func TestJSONSchemaRefuses(t *testing.T) {
	s := openSchema(t)
	if err := s.Validate(filledJSON(t)); err != nil {
		t.Fatalf("before any change: %v", err)
	}
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			m := filledJSON(t)
			parent, name := "", test.at
			if dot := strings.LastIndexByte(test.at, '.'); dot >= 0 {
				parent, name = test.at[:dot], test.at[dot+1:]
			}
			switch p := member(t, m, parent).(type) {
			case map[string]any:
				if p[name] = test.value; test.value == absent {
					delete(p, name)
				}
			case []any:
				i, err := strconv.Atoi(name)
				if err != nil {
					t.Fatal(err)
				}
				p[i] = test.value
			}
			if err := s.Validate(m); err == nil {
				t.Errorf("%s = %v: valid, want it refused", test.at, test.value)
			}
		})
	}
}

// member follows a path like "email.from.0" down from m.
func member(t *testing.T, m any, path string) any {
	t.Helper()
	if path == "" {
		return m
	}
	for name := range strings.SplitSeq(path, ".") {
		switch p := m.(type) {
		case map[string]any:
			m = p[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(p) {
				t.Fatalf("%s: no item %q", path, name)
			}
			m = p[i]
		}
		if m == nil {
			t.Fatalf("%s: nothing at %q", path, name)
		}
	}
	return m
}
