package extract

import (
	"strings"
	"testing"
)

func TestSniffType(t *testing.T) {
	tests := []struct {
		name, head, want string
	}{
		{"empty", "", "<nil>"},
		{"text", "Hello, world", "text/plain"},
		{"prose with commas is no table", strings.Repeat("Hello, world, again\r\n", 50), "text/plain"},
		{"8-bit text", "Gr\xfc\xdfe", "text/plain"},
		{"HTML", "<!DOCTYPE html><p>a", "text/html"},
		{"PDF said to be a text", "%PDF-1.7\n", "application/pdf"},
		{"PNG", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"},
		{"JPEG said to be PNG", "\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"},
		{"zip", "PK\x03\x04\x14\x00\x00\x00", "application/zip"},
		{"Word", "PK\x03\x04" + strings.Repeat("\x00", 22) + "\x13\x00\x00\x00[Content_Types].xml" + "PK\x03\x04" + strings.Repeat("\x00", 22) + "\x11\x00\x00\x00word/document.xml", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"program", "MZ\x90\x00" + strings.Repeat("\x00", 60), "application/vnd.microsoft.portable-executable"},
		{"a text like a bitmap", "BMW GmbH", "text/plain"},
		{"a bitmap", "BM\x36\x00\x0c\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28" + strings.Repeat("\x00", 40), "image/bmp"},
		{"XML", "\r\n<?xml version=\"1.0\"?><a/>", "text/xml"},
		{"ISO 2022", "\x1b$B$\"\x1b(B", "text/plain"},
		{"UTF-16", "\xff\xfea\x00", "text/plain"},
		{"RTF", "{\\rtf1\\ansi", "text/rtf"},
		{"calendar", "BEGIN:VCALENDAR\r\nVERSION:2.0", "text/calendar"},
		{"nothing known", "\x00\x01\x02\x03", "application/octet-stream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := str(SniffType([]byte(tt.head))); got != tt.want {
				t.Errorf("%q: got %s, want %s", tt.head, got, tt.want)
			}
		})
	}
}
