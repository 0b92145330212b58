package schema_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

func TestProperties(t *testing.T) {
	m := filledMessage()
	want := schema.Properties{
		MessageID: testID, CorrelationID: "1@example.org", ContentType: "application/json",
		CreationTime: time.Date(2026, 11, 23, 12, 46, 1, 123e6, time.UTC),
	}
	if diff := cmp.Diff(want, m.Properties()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCorrelationID(t *testing.T) {
	long := strings.Repeat("x", 115) + "@example.org" // 127 octets
	tests := []struct {
		name      string
		messageID []string
		want      string
	}{
		{"none", nil, ""},
		{"empty list", []string{}, ""},
		{"empty", []string{""}, ""},
		{"one", []string{"a@example.org"}, "a@example.org"},
		{"the first of several", []string{"a@example.org", "b@example.org"}, "a@example.org"},
		{"without an at sign", []string{"4711"}, "4711"},
		{"127 octets", []string{long}, long},
		{"128 octets", []string{"x" + long}, "x" + long},
		{"129 octets", []string{"xx" + long}, ""},
		{"not ASCII", []string{"ä@example.org"}, ""},
		{"blank", []string{"a b@example.org"}, ""},
		{"control character", []string{"a\x01@example.org"}, ""},
		{"line end", []string{"a\r\n@example.org"}, ""},
		{"DEL", []string{"a\x7f@example.org"}, ""},
		{"all that is printable", []string{`!"#$%&'()*+,-./09:;<=>?@AZ[\]^_` + "`az{|}~"}, `!"#$%&'()*+,-./09:;<=>?@AZ[\]^_` + "`az{|}~"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := bareMessage()
			m.Email.MessageID = test.messageID
			if got := m.Properties().CorrelationID; got != test.want {
				t.Errorf("Message-ID %q: got correlation-id %q, want %q", test.messageID, got, test.want)
			}
		})
	}
}

func TestApplicationProperties(t *testing.T) {
	m := filledMessage()
	m.Email.ReceivedAt = m.Email.ReceivedAt.In(time.FixedZone("", 3600))
	want := map[string]any{
		"cloudEvents_specversion": "1.0",
		"cloudEvents_id":          testID,
		"cloudEvents_type":        "lsmtpd.email.received.v1",
		"cloudEvents_source":      "//mx.example.com/lsmtpd",
		"cloudEvents_time":        "2026-11-23T12:46:01.123Z",
		"cloudEvents_dataschema":  "urn:lsmtpd:email:1",
		"hasAttachment":           false,
		"size":                    int64(123456),
		"mailFromDomain":          "example.org",
		"rcptDomain":              "example.com",
	}
	if diff := cmp.Diff(want, m.ApplicationProperties("//mx.example.com/lsmtpd")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	m.Email.HasAttachment = true
	if got := m.ApplicationProperties("")["hasAttachment"]; got != true {
		t.Errorf("hasAttachment: got %v, want true", got)
	}
}

func TestMailFromDomain(t *testing.T) {
	longest := strings.Repeat("d.", 126) + "com" // 255 octets
	tests := []struct {
		name, mailFrom string
		want           any // nil where the property is left out
	}{
		{"plain", "a@example.org", "example.org"},
		{"upper case", "A@EXAMPLE.Org", "example.org"},
		{"null reverse-path", "", nil},
		{"no domain", "postmaster", nil},
		{"empty domain", "a@", nil},
		{"at sign in the local part", `"a@b"@example.org`, "example.org"},
		{"address literal", "a@[192.0.2.1]", "[192.0.2.1]"},
		{"255 octets", "a@" + longest, longest},
		{"256 octets", "a@x" + longest, nil},
		{"not ASCII", "a@bücher.example", nil},
		{"A-label", "a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"blank", "a@exam ple.org", nil},
		{"control character", "a@example\x00.org", nil},
		{"line end", "a@example.org\r\nX: y", nil},
		{"not UTF-8", "a@ex\xffmple.org", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := bareMessage()
			m.Envelope.MailFrom.Email = test.mailFrom
			if got := m.ApplicationProperties("")["mailFromDomain"]; got != test.want {
				t.Errorf("%q: got %v, want %v", test.mailFrom, got, test.want)
			}
		})
	}
}

func TestRcptDomain(t *testing.T) {
	tests := []struct {
		name string
		rcpt []string
		want any // nil where the property is left out
	}{
		{"one recipient", []string{"a@example.com"}, "example.com"},
		{"all in one domain", []string{"a@example.com", "b@EXAMPLE.com", "c@example.com"}, "example.com"},
		{"two domains", []string{"a@example.com", "b@example.net"}, nil},
		{"two domains, the first again", []string{"a@example.com", "b@example.net", "c@example.com"}, nil},
		{"a subdomain", []string{"a@example.com", "b@mx.example.com"}, nil},
		{"postmaster", []string{"postmaster"}, nil},
		{"postmaster before another", []string{"postmaster", "a@example.com"}, nil},
		{"postmaster after another", []string{"a@example.com", "postmaster"}, nil},
		{"unfit domain before another", []string{"a@exämple.com", "a@example.com"}, nil},
		{"unfit domain after another", []string{"a@example.com", "a@exämple.com"}, nil},
		{"none", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := bareMessage()
			m.Envelope.RcptTo = nil
			for _, r := range test.rcpt {
				m.Envelope.RcptTo = append(m.Envelope.RcptTo, schema.Address{Email: r})
			}
			if got := m.ApplicationProperties("")["rcptDomain"]; got != test.want {
				t.Errorf("%q: got %v, want %v", test.rcpt, got, test.want)
			}
		})
	}
}

// JMS names are Java identifiers that no selector takes for something else; its
// values are those that both JMS and AMQP have.
func TestApplicationPropertiesFitJMS(t *testing.T) {
	identifier := regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)
	reserved := []string{"NULL", "TRUE", "FALSE", "NOT", "AND", "OR", "BETWEEN", "LIKE", "IN", "IS", "ESCAPE"}
	p := filledMessage().ApplicationProperties("//mx.example.com/lsmtpd")
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !identifier.MatchString(name) || slices.Contains(reserved, strings.ToUpper(name)) || strings.HasPrefix(name, "JMS") {
			t.Errorf("%q is no name of a JMS property", name)
		}
		switch v := p[name].(type) {
		case bool, int64:
		case string:
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s is %q, want printable ASCII", name, v)
			}
		default:
			t.Errorf("%s is a %T, want bool, int64 or string", name, v)
		}
	}
	message := amqp.Message{ApplicationProperties: p}
	data, err := message.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got amqp.Message
	if err := got.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got.ApplicationProperties); diff != "" {
		t.Errorf("over AMQP (-sent +received):\n%s", diff)
	}
}
