package extract

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// SniffOctets is how many octets of a part SniffType looks at, at most.
const SniffOctets = 3072

// SniffType is the media type that octets look like which begin with head,
// without parameters, nil for none. What it makes of octets that look
// like nothing it knows is application/octet-stream.
//
// What has no octets that no text has is a text, whatever file it begins like:
// "BM" begins bitmaps, and letters about cars. Texts are told apart by their
// signatures and the rules of the WHATWG alone: that they are CSV or JSON or a
// program is a guess that costs more than all the rest of a mail, and that prose with commas spoils.
func SniffType(head []byte) *string {
	if len(head) == 0 {
		return nil
	}
	head = head[:min(len(head), SniffOctets)]
	sniffed := "text/plain"
	if isBinary(head) {
		sniffed = mimetype.Detect(head).String()
	} else if start := bytes.TrimLeft(head, " \t\r\n\f"); len(start) > 0 && start[0] == '<' {
		sniffed = http.DetectContentType(head)
	} else if hasTextSignature(head) {
		sniffed = mimetype.Detect(head[:min(len(head), sniffText)]).String()
	}
	sniffed, _, _ = strings.Cut(sniffed, ";")
	return &sniffed
}

// sniffText is how many octets tell a text from other content, and one text from another (WHATWG MIME Sniffing §7.1 has 1445).
const sniffText = 512

// isBinary reports that head has octets among the first that no text has (WHATWG MIME Sniffing §3).
func isBinary(head []byte) bool {
	for _, c := range head[:min(len(head), sniffText)] {
		if c < ' ' && binaryOctets&(1<<c) != 0 {
			return true
		}
	}
	return false
}

// binaryOctets has the bits of 00 to 08, 0B, 0E to 1A and 1C to 1F.
const binaryOctets uint32 = 0x1ff | 1<<0x0b | 0x1fff<<0x0e | 0xf<<0x1c

// textSignatures are what files begin with that need have no other octets than texts, and are known by it.
var textSignatures = []string{"%PDF-", "%!PS", "{\\rtf", "BEGIN:VCARD", "BEGIN:VCALENDAR", "-----BEGIN PKCS7"}

func hasTextSignature(head []byte) bool {
	for _, s := range textSignatures {
		if len(head) >= len(s) && head[0] == s[0] && strings.EqualFold(string(head[:len(s)]), s) {
			return true
		}
	}
	return false
}
