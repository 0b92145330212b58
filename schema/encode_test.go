package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

func TestEncodeWritesWhatIsAbsentAsNull(t *testing.T) {
	data, err := bareMessage().Encode()
	if err != nil {
		t.Fatal(err)
	}
	const part = `"partId":"1","blobId":"b1","size":0,"name":null,"type":"text/plain","sniffedType":null,"charset":null,` +
		`"disposition":null,"cid":null,"language":null,"location":null`
	want := `{"schema":"urn:lsmtpd:email:1","id":"` + testID + `","transactionId":"` + testTransactionID + `",` +
		`"envelope":{"mailFrom":{"email":"","parameters":null},"rcptTo":[{"email":"in@example.com","parameters":null}],` +
		`"helo":"","clientAddress":"","protocol":"SMTP","tls":null,"authenticatedAs":null},` +
		`"email":{"blobId":null,"size":0,"sha256":null,"receivedAt":"2026-11-23T12:46:01.123Z",` +
		`"headers":[],"headersBlobId":null,"headersTruncated":false,"messageId":null,"inReplyTo":null,"references":null,` +
		`"from":null,"sender":null,"to":null,"cc":null,"bcc":null,"replyTo":null,"subject":null,"sentAt":null,` +
		`"hasAttachment":false,"preview":"","report":null,"bodyStructure":{` + part + `,"headers":[],"rawName":null,"format":null,"delSp":false,"subParts":null},` +
		`"textBody":[],"htmlBody":[],"attachments":[],"bodyValues":{}},` +
		`"blobs":{"b1":{"size":0,"sha256":null,"inline":""}},"problems":[]}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

func TestEncodeAndDecode(t *testing.T) {
	for name, m := range map[string]*schema.Message{"bare": bareMessage(), "filled": filledMessage()} {
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := schema.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s (-encoded +decoded):\n%s", name, diff)
		}
	}
}

// Neither the message nor a blob has the escapes for HTML, and no line end follows.
func TestEncodeIsPlain(t *testing.T) {
	data, err := filledMessage().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, escape := range []string{`\u003c`, `\u003e`, `\u0026`, "\n"} {
		if bytes.Contains(data, []byte(escape)) {
			t.Errorf("%s contains %q", data, escape)
		}
	}
	for _, want := range []string{`"subject":"<S> & T"`, `"name":"<ä & ö>.txt"`, `"key":"p&q/1"`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
}

func TestEncodeBlob(t *testing.T) {
	stored := &schema.Stored{URL: "s3://b/k", Bucket: new("b"), Key: "k", ETag: new("e")}
	tests := []struct {
		name string
		blob schema.Blob
		want string // "" for an error
	}{
		{"value", schema.Blob{Size: 1, SHA256: new("aa"), Value: new("2.1")}, `{"size":1,"sha256":"aa","value":"2.1"}`},
		{"inline", schema.Blob{Size: 3, Inline: []byte{0xfb, 0xff, 0}}, `{"size":3,"sha256":null,"inline":"+/8A"}`},
		{"inline of no octets", schema.Blob{Inline: []byte{}}, `{"size":0,"sha256":null,"inline":""}`},
		{"bucket", schema.Blob{Size: 9, Stored: stored},
			`{"size":9,"sha256":null,"url":"s3://b/k","bucket":"b","key":"k","etag":"e","versionId":null}`},
		{"directory", schema.Blob{Size: 9, Stored: &schema.Stored{URL: "file:///d/k", Key: "k"}},
			`{"size":9,"sha256":null,"url":"file:///d/k","bucket":null,"key":"k","etag":null,"versionId":null}`},
		{"no place", schema.Blob{Size: 9}, ""},
		{"value and inline", schema.Blob{Value: new("1"), Inline: []byte{}}, ""},
		{"value and object", schema.Blob{Value: new("1"), Stored: stored}, ""},
		{"inline and object", schema.Blob{Inline: []byte{}, Stored: stored}, ""},
		{"all places", schema.Blob{Value: new("1"), Inline: []byte{}, Stored: stored}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := bareMessage()
			m.Blobs = map[string]schema.Blob{"b1": test.blob}
			data, err := m.Encode()
			if test.want == "" {
				if err == nil || !strings.Contains(err.Error(), "exactly one of value, inline and url") {
					t.Errorf("got %s and %v, want an error that says what a blob has", data, err)
				}
				return
			}
			if err != nil || !bytes.Contains(data, []byte(`"blobs":{"b1":`+test.want+`}`)) {
				t.Errorf("got %s and %v, want %s in it", data, err, test.want)
			}
		})
	}
}

func TestDecodeBlob(t *testing.T) {
	tests := []struct {
		name string
		json string
		want *schema.Blob // nil for an error
	}{
		{"value", `{"size":1,"sha256":"aa","value":"1"}`, &schema.Blob{Size: 1, SHA256: new("aa"), Value: new("1")}},
		{"inline of no octets", `{"size":0,"sha256":null,"inline":""}`, &schema.Blob{Inline: []byte{}}},
		{"object", `{"size":1,"sha256":null,"url":"file:///k","bucket":null,"key":"k","etag":null,"versionId":null}`,
			&schema.Blob{Size: 1, Stored: &schema.Stored{URL: "file:///k", Key: "k"}}},
		{"member added later", `{"size":1,"sha256":null,"value":"1","crc":"1"}`, &schema.Blob{Size: 1, Value: new("1")}},
		{"no place", `{"size":1,"sha256":null}`, nil},
		{"only the key of an object", `{"size":1,"sha256":null,"key":"k"}`, nil},
		{"inline null", `{"size":1,"sha256":null,"inline":null}`, nil},
		{"two places", `{"size":1,"sha256":null,"value":"1","inline":""}`, nil},
		{"three places", `{"size":1,"sha256":null,"value":"1","inline":"","url":"file:///k"}`, nil},
		{"inline that is no base64", `{"size":1,"sha256":null,"inline":"*"}`, nil},
		{"size as text", `{"size":"1","sha256":null,"value":"1"}`, nil},
		{"key that is a number", `{"size":1,"sha256":null,"url":"file:///k","key":1}`, nil},
		{"null", `null`, nil},
		{"list", `[]`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := schema.Decode([]byte(`{"schema":"` + schema.ID + `","blobs":{"b1":` + test.json + `}}`))
			if test.want == nil {
				if err == nil {
					t.Errorf("%s: got %+v, want an error", test.json, m.Blobs)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", test.json, err)
			}
			if diff := cmp.Diff(map[string]schema.Blob{"b1": *test.want}, m.Blobs); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.json, diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"nothing", ``, "unexpected end"},
		{"no JSON", `hello`, "invalid character"},
		{"two messages", `{"schema":"urn:lsmtpd:email:1"}{"schema":"urn:lsmtpd:email:1"}`, "after top-level value"},
		{"list", `[]`, "cannot unmarshal array"},
		{"null", `null`, `this is ""`},
		{"no schema", `{}`, `this is "", want "urn:lsmtpd:email:1"`},
		{"another schema", `{"schema":"urn:example:order"}`, `this is "urn:example:order", want "urn:lsmtpd:email:1"`},
		{"another version that cannot be read", `{"schema":"urn:lsmtpd:email:2","id":7,"blobs":{"b1":{}}}`, `this is "urn:lsmtpd:email:2"`},
		{"id as a number", `{"schema":"urn:lsmtpd:email:1","id":7}`, "id"},
		{"null among the parts", `{"schema":"urn:lsmtpd:email:1","email":{"bodyStructure":{"subParts":[{},{"subParts":[null]}]}}}`, "subParts is null"},
		{"bad time", `{"schema":"urn:lsmtpd:email:1","email":{"receivedAt":"yesterday"}}`, "yesterday"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := schema.Decode([]byte(test.json))
			if err == nil || m != nil || !strings.Contains(err.Error(), test.want) || strings.Count(err.Error(), "schema: ") != 1 {
				t.Errorf("%s: got %v and error %v, want one that contains %q and names the package once", test.json, m, err, test.want)
			}
		})
	}
}

// Whatever is read can be written and is read the same again.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("examples/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"schema":"urn:lsmtpd:email:1","blobs":{"b1":{"size":1,"inline":""}},"email":{"bodyStructure":{"subParts":[null,{}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := schema.Decode(data)
		if err != nil {
			if m != nil {
				t.Errorf("got %+v with error %v", m, err)
			}
			return
		}
		m.Properties()
		m.ApplicationProperties("//host/lsmtpd")
		for range m.Email.BodyStructure.Leaves() {
		}
		m.Email.SortBody()
		once, err := m.Encode()
		if err != nil {
			t.Fatalf("%s: read but not written: %v", data, err)
		}
		if !json.Valid(once) {
			t.Fatalf("wrote %s", once)
		}
		again, err := schema.Decode(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("first %s\n then %s, %v", once, twice, err)
		}
	})
}
