package schema

import _ "embed"

// JSONSchema is the JSON Schema (draft 2020-12) of the published message, the
// file email-1.schema.json; its $id is ID. It allows members it does not know,
// because version 1 may grow. A validator must assert formats to check dates
// and URLs with it. Callers must not change the slice.
//
//go:embed email-1.schema.json
var JSONSchema []byte
