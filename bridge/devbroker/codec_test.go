package devbroker

import (
	"errors"
	"strings"
	"testing"

	"github.com/absmach/fluxmq/amqp1/message"
	"github.com/absmach/fluxmq/amqp1/types"
)

// What skipValue lets pass, the codec reads without harm.
func TestSkipValue(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		rest     int // -1: malformed
	}{
		{"null", "\x40rest", 4},
		{"ulong", "\x80\x00\x00\x00\x00\x00\x00\x00\x01", 0},
		{"uuid", "\x98" + strings.Repeat("u", 16) + "x", 1},
		{"string", "\xa1\x02abc", 1},
		{"empty list", "\x45", 0},
		{"list", "\xc0\x03\x02\x40\x41x", 1},
		{"map", "\xc1\x04\x02\x43\xa0\x00", 0},
		{"array of ubytes", "\xe0\x04\x02\x50\x01\x02", 0},
		{"array of strings", "\xe0\x06\x02\xa1\x01a\x01b", 0},
		{"described", "\x00\x53\x75\xa0\x01xyz", 2},
		{"nothing", "", -1},
		{"half a ulong", "\x80\x00\x00", -1},
		{"string of 4 GiB", "\xb1\xff\xff\xff\xffabc", -1},
		{"string longer than the rest", "\xa1\x04abc", -1},
		{"list that counts too many", "\xc0\x02\x02\x40", -1},
		{"list that counts too few", "\xc0\x03\x01\x40\x40", -1},
		{"list of 4 G elements", "\xd0\x00\x00\x00\x05\xff\xff\xff\xff\x40", -1},
		{"map of one and a half entries", "\xc1\x04\x03\x43\x43\x43", -1},
		{"array of many elements of no octets", "\xf0\x00\x00\x00\x05\x7f\xff\xff\xff\x41", -1},
		{"array of described values", "\xe0\x06\x01\x00\x53\x75\xa0\x00", -1},
		{"array without a constructor", "\xe0\x01\x00", -1},
		{"unknown constructor", "\x13", -1},
		{"nested too deep", strings.Repeat("\x00\x43", maxDepth) + "\x40", -1},
		{"nested just not too deep", strings.Repeat("\x00\x43", maxDepth-1) + "\x40", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rest, err := skipValue([]byte(tc.in), maxDepth)
			if tc.rest < 0 {
				if !errors.Is(err, errMalformed) {
					t.Errorf("%q: got %d octets left, %v, want %v", tc.in, len(rest), err, errMalformed)
				}
				return
			}
			if err != nil || len(rest) != tc.rest {
				t.Errorf("%q: got %d octets left, %v, want %d", tc.in, len(rest), err, tc.rest)
			}
		})
	}
}

// A map with a key that Go cannot hash passes skipValue, and makes the codec panic.
func TestDecodePanicIsAnError(t *testing.T) {
	body := []byte("\x00\x53\x18\xc0\x07\x01\xc1\x04\x02\xa0\x00\x40")
	if _, _, err := decodePerformative(body); !errors.Is(err, errMalformed) {
		t.Errorf("decode: got %v, want %v", err, errMalformed)
	}
}

func TestWithDeliveryCount(t *testing.T) {
	body := string(dataSection("x"))
	for _, tc := range []struct{ name, in, want string }{
		{"no header", body, "\x00\x53\x70\xd0\x00\x00\x00\x0a\x00\x00\x00\x05\x40\x40\x40\x42\x52\x02" + body},
		{"durable only: what was absent stays absent", "\x00\x53\x70\xc0\x02\x01\x41" + body,
			"\x00\x53\x70\xd0\x00\x00\x00\x0a\x00\x00\x00\x05\x41\x40\x40\x42\x52\x02" + body},
		{"all fields", "\x00\x53\x70\xc0\x09\x05\x41\x50\x09\x52\x64\x41\x52\x07" + body,
			"\x00\x53\x70\xd0\x00\x00\x00\x0c\x00\x00\x00\x05\x41\x50\x09\x52\x64\x42\x52\x09" + body},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := withDeliveryCount([]byte(tc.in), 2)
			if err != nil || string(got) != tc.want {
				t.Errorf("%q: got %q, %v, want %q", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestMessageID(t *testing.T) {
	for _, tc := range []struct {
		name string
		id   any
		want string
	}{
		{"string", "0197-a", "0197-a"},
		{"ulong", uint64(77), "77"},
		{"uuid", types.UUID{0xde, 0xad}, "dead0000-0000-0000-0000-000000000000"},
		{"binary", []byte{0xbe, 0xef}, "beef"},
		{"none", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			octets, err := (&message.Message{Properties: &message.Properties{MessageID: tc.id}, Data: [][]byte{{1}}}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			sections, err := sectionsOf(octets)
			if got := messageID(sections); err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}
