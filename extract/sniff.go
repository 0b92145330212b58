package extract

import (
	"net/http"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"lsmtpd/schema"
)

// SniffOctets is how many octets of a part SniffType looks at, at most.
const SniffOctets = 3072

// SniffType is the media type that a part looks like which begins with head,
// without parameters, nil for an empty one. What it makes of octets that look
// like nothing it knows is application/octet-stream.
//
// Texts are told apart by the rules of the WHATWG alone: what else they may be,
// CSV or JSON or a program, is a guess that costs more than all the rest of a
// mail, and that prose with commas spoils.
func SniffType(p *schema.BodyPart, head []byte) *string {
	if len(head) == 0 {
		return nil
	}
	head = head[:min(len(head), SniffOctets)]
	sniffed := http.DetectContentType(head)
	switch {
	case !strings.HasPrefix(sniffed, "text/"):
		sniffed = mimetype.Detect(head).String()
	case p.Name != nil || !strings.HasPrefix(p.Type, "text/"):
		sniffed = sniffText(head, sniffed)
	}
	sniffed, _, _ = strings.Cut(sniffed, ";")
	return &sniffed
}

// textSignatures are what files begin with that are texts and known by it.
var textSignatures = []string{"{\\rtf", "%!PS", "BEGIN:VCARD", "BEGIN:VCALENDAR", "<?xml", "<svg", "-----BEGIN PKCS7"}

// sniffText looks at the beginning of a text for the signatures of some kinds of texts.
func sniffText(head []byte, otherwise string) string {
	const most = 512
	for _, s := range textSignatures {
		if len(head) >= len(s) && strings.EqualFold(string(head[:len(s)]), s) {
			return mimetype.Detect(head[:min(len(head), most)]).String()
		}
	}
	return otherwise
}
