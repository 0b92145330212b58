package extract

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"lsmtpd/schema"
)

// maxExpansion is how many octets of UTF-8 an octet of a message becomes at
// most: three by its charset (an octet that is U+FFFD), and three times as
// many by NFC.
const maxExpansion = 9

// eachString calls f with every string in v.
func eachString(v reflect.Value, f func(string)) {
	switch v.Kind() {
	case reflect.String:
		f(v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			eachString(v.Elem(), f)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			eachString(v.Index(i), f)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			eachString(key, f)
			eachString(v.MapIndex(key), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				eachString(v.Field(i), f)
			}
		}
	}
}

// stringOctets checks every string in v, and returns how many octets they have.
func stringOctets(t *testing.T, message string, v any) (octets int) {
	t.Helper()
	eachString(reflect.ValueOf(v), func(s string) {
		if octets += len(s); !utf8.ValidString(s) || strings.Contains(s, "\x00") {
			t.Errorf("%.500q: %.200q is not UTF-8 without NUL", message, s)
		}
	})
	return octets
}

// checkBounds checks that what was read of a message is text, and not more than
// it can be: of all parts together, and of what stands in the envelope.
func checkBounds(t *testing.T, message string, got reading) {
	t.Helper()
	total, ids := 0, map[string]bool{}
	for i, part := range got.Parts {
		total += len(part)
		if id := got.IDs[i]; ids[id] {
			t.Errorf("%.500q: two parts %s", message, id)
		}
		ids[got.IDs[i]] = true
	}
	if total > len(message) {
		t.Errorf("%.500q: the parts have %d octets, the message %d", message, total, len(message))
	}
	stringOctets(t, message, got.Problems)
	nodes := 0
	most := 2 * maxExpansion * len(message) // a field, and what is read from it
	walk(got.Structure, func(p *schema.BodyPart) {
		nodes++
		if p.PartID != nil {
			most += 2 * len(*p.PartID)
		}
	})
	most += nodes * len("bapplication/octet-stream")
	if octets := stringOctets(t, message, got.Email) + stringOctets(t, message, got.Structure); octets > most {
		t.Errorf("%.500q: %d octets of text of a message of %d, want at most %d", message, octets, len(message), most)
	}
	bodies := map[string]Span{}
	for _, s := range got.Spans {
		if s.Kind == SpanBody {
			bodies[s.PartID] = s
		}
	}
	i := 0
	walk(got.Structure, func(p *schema.BodyPart) {
		if p.SubParts != nil {
			return
		}
		id := got.IDs[i]
		s := bodies[id]
		if raw := message[s.Start:s.End]; len(got.Parts[i]) > len(raw) || !hasEncoding(got, p) && got.Parts[i] != raw {
			t.Errorf("%.500q: part %s is %.200q, its octets are %.200q", message, id, got.Parts[i], raw)
		}
		i++
	})
}

// hasEncoding reports that a transfer encoding was named for p; the header of the root is the message's.
func hasEncoding(got reading, p *schema.BodyPart) bool {
	fields := p.Headers
	if p == got.Structure {
		fields = got.Email.Headers
	}
	for _, f := range fields {
		if strings.EqualFold(f.Name, "Content-Transfer-Encoding") {
			return true
		}
	}
	return false
}
