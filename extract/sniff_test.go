package extract

import (
	"strings"
	"testing"

	"lsmtpd/schema"
)

func TestSniffType(t *testing.T) {
	named := "a"
	tests := []struct {
		name, mediaType string
		file            *string
		head, want      string
	}{
		{"empty", "text/plain", nil, "", "<nil>"},
		{"text", "text/plain", nil, "Hello, world", "text/plain"},
		{"prose with commas is no table", "application/octet-stream", &named, strings.Repeat("Hello, world, again\r\n", 50), "text/plain"},
		{"8-bit text", "application/octet-stream", nil, "Gr\xfc\xdfe", "text/plain"},
		{"HTML", "text/plain", nil, "<!DOCTYPE html><p>a", "text/html"},
		{"PDF said to be a text", "text/plain", nil, "%PDF-1.7\n", "application/pdf"},
		{"PNG", "application/octet-stream", nil, "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"},
		{"JPEG said to be PNG", "image/png", nil, "\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"},
		{"zip", "application/octet-stream", nil, "PK\x03\x04\x14\x00\x00\x00", "application/zip"},
		{"Word", "application/octet-stream", nil, "PK\x03\x04" + strings.Repeat("\x00", 22) + "\x13\x00\x00\x00[Content_Types].xml" + "PK\x03\x04" + strings.Repeat("\x00", 22) + "\x11\x00\x00\x00word/document.xml", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"program", "application/pdf", nil, "MZ\x90\x00" + strings.Repeat("\x00", 60), "application/vnd.microsoft.portable-executable"},
		{"RTF", "application/msword", &named, "{\\rtf1\\ansi", "text/rtf"},
		{"calendar", "application/octet-stream", nil, "BEGIN:VCALENDAR\r\nVERSION:2.0", "text/calendar"},
		{"nothing known", "application/pdf", nil, "\x00\x01\x02\x03", "application/octet-stream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &schema.BodyPart{BodyProperties: schema.BodyProperties{Type: tt.mediaType, Name: tt.file}}
			if got := str(SniffType(p, []byte(tt.head))); got != tt.want {
				t.Errorf("%q: got %s, want %s", tt.head, got, tt.want)
			}
		})
	}
}
