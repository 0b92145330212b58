//go:build integration

package corpus

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"lsmtpd/schema"
)

// TestSchema wants what was published of each message to be valid by the JSON Schema.
func TestSchema(t *testing.T) {
	all := delivered(t)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.AssertContent()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema))
	must(t, err)
	must(t, compiler.AddResource(schema.ID, document))
	validator, err := compiler.Compile(schema.ID)
	must(t, err)
	for _, d := range all.all() {
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.body))
		if err == nil {
			err = validator.Validate(instance)
		}
		if err != nil {
			t.Errorf("%s by %s: %v in the published message:\n%.2000s", d.name, d.way, err, d.body)
		}
	}
	t.Logf("%d published messages are valid", len(all.all()))
}
