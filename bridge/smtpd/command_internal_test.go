package smtpd

import "testing"

func TestParseChunk(t *testing.T) {
	for _, tt := range []struct {
		arg    string
		octets int64 // -1 for an error
		last   bool
	}{
		{"0", 0, false}, {"12", 12, false}, {"12 LAST", 12, true}, {"0 last", 0, true}, {"012 LaSt", 12, true}, {"1  \tLAST", 1, true},
		{"9223372036854775807", 1<<63 - 1, false},
		{"", -1, false}, {"LAST", -1, false}, {"-0", -1, false}, {"+1", -1, false}, {"1.0", -1, false}, {"0x1", -1, false}, {"1_0", -1, false},
		{"9223372036854775808", -1, false}, {"1 LAST LAST", -1, false}, {"1 FIRST", -1, false},
		{"1 LA\u017fT", -1, false}, // a long s, which is an S to strings.EqualFold
	} {
		octets, last, err := parseChunk(tt.arg)
		if (err != nil) != (tt.octets < 0) || err == nil && (octets != tt.octets || last != tt.last) {
			t.Errorf("%q: got %d, %v, %v; want %d, %v", tt.arg, octets, last, err, tt.octets, tt.last)
		}
	}
}
