package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Encode returns the message as the octets of the AMQP data section: JSON in
// UTF-8 without insignificant white space.
func (m *Message) Encode() ([]byte, error) {
	data, err := marshal(m)
	if err != nil {
		return nil, fmt.Errorf("schema: encode message: %w", err)
	}
	return data, nil
}

// marshal is json.Marshal without the escapes that only JSON inside HTML needs: they triple the size of markup.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Decode reads a published message. Members it does not know are ignored, a
// schema other than ID is an error. Not all that the JSON Schema demands is
// checked; but no element of SubParts is nil, and every blob has one place.
func Decode(data []byte) (*Message, error) {
	var m Message
	err := json.Unmarshal(data, &m)
	// What cannot be read of another version is no fault of the message.
	if err != nil && (m.Schema == "" || m.Schema == ID) {
		return nil, fmt.Errorf("schema: decode message: %w", err)
	}
	if m.Schema != ID {
		return nil, fmt.Errorf("schema: this is %q, want %q", m.Schema, ID)
	}
	if m.Email.BodyStructure.hasNull() {
		return nil, errors.New("schema: decode message: a part in subParts is null")
	}
	return &m, nil
}

// hasNull reports whether a part below p is nil.
func (p *BodyPart) hasNull() bool {
	return p != nil && slices.ContainsFunc(p.SubParts, func(sub *BodyPart) bool { return sub == nil || sub.hasNull() })
}
