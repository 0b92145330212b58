package extract

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"lsmtpd/schema"
)

// The codes of schema.Problem that this package gives: what was malformed, and
// what was made of it. The list is closed; a code keeps its meaning once it is here.
const (
	// Of header blocks, of the message and of its parts.

	CodeHeaderTooLarge    = "header-too-large"    // a header block is larger than what Limits.MaxHeaderBytes leaves: the rest is not read as fields, a part is opaque
	CodeFieldTooLarge     = "field-too-large"     // a field whose value is longer than 16 KiB, of lists of addresses and identifiers 64 KiB: only as much of it is interpreted
	CodeHeaderSyntax      = "header-syntax"       // a line of a header block is no field and was skipped, or a field name is none of RFC 5322's and was kept
	CodeHeaderCharset     = "header-charset"      // octets in a header that are not UTF-8: U+FFFD in its Raw form, read as likely as can be in what is decoded
	CodeHeaderNUL         = "header-nul"          // NULs in a header, dropped
	CodeBareNewline       = "bare-newline"        // lines of a header that end in LF alone, read as lines
	CodeMboxFrom          = "mbox-from"           // an mbox "From " line before the header, skipped
	CodeLeadingBlankLines = "leading-blank-lines" // empty lines before the header, skipped
	CodeMissingHeader     = "missing-header"      // a message or part begins with a line that is no field, and no field follows: all of it is body
	CodeMissingBlankLine  = "missing-blank-line"  // no empty line between header and body: the body begins with the first line that is no field, or there is none
	CodeDuplicateField    = "duplicate-field"     // a field that may occur once occurs again: of Content-… the first counts, of others the last (RFC 8621 §4.1.3)
	CodeAddressSyntax     = "address-syntax"      // an address field nothing or not all could be read from
	CodeMessageIDSyntax   = "message-id-syntax"   // a field of message identifiers nothing could be read from
	CodeDateSyntax        = "date-syntax"         // a Date in no form of RFC 5322: sentAt is what could be read of it, or null

	// Of Content-Type and the other fields of RFC 2045.

	CodeContentTypeSyntax = "content-type-syntax" // no media type could be read: text/plain, RFC 2045 §5.2
	CodeParameterSyntax   = "parameter-syntax"    // a parameter of Content-Type or Content-Disposition was repaired or skipped
	CodeEncodingSyntax    = "encoding-syntax"     // a Content-Transfer-Encoding with something around its word, taken as that word
	CodeUnknownEncoding   = "unknown-encoding"    // an unknown Content-Transfer-Encoding: the octets are kept as they are
	CodeMultipartEncoding = "multipart-encoding"  // a multipart with an encoding other than 7bit, 8bit, binary (RFC 2045 §6.4): ignored

	// Of the structure.

	CodeMissingBoundary       = "missing-boundary"        // a multipart without a usable boundary parameter: guessed, or its content is one text/plain part
	CodeDuplicateBoundary     = "duplicate-boundary"      // a multipart with the boundary of one around it: until its close delimiter it is the inner one's
	CodeMissingDelimiter      = "missing-delimiter"       // the boundary did not come where it should: the text before it, or instead of it, is a text/plain part
	CodeMissingCloseDelimiter = "missing-close-delimiter" // a multipart that ended without its close delimiter
	CodeDelimiterSyntax       = "delimiter-syntax"        // a close delimiter with something behind it that can be in no boundary, taken as one
	CodeEpilogue              = "epilogue"                // text after a close delimiter, dropped
	CodeTooDeep               = "too-deep"                // a multipart deeper than Limits.MaxDepth: an opaque leaf of its own type
	CodeTooManyParts          = "too-many-parts"          // more leaf parts than Limits.MaxParts: the last holds all the rest

	// Of texts and reports.

	CodeReportSyntax    = "report-syntax"    // a line in the part of a report for programs is no field and was skipped, or there are more than are listed
	CodeUnknownCharset  = "unknown-charset"  // a charset nobody knows: the text is read as the one the detail says
	CodeCharsetMismatch = "charset-mismatch" // octets do not fit the charset that is said or implied: the text is read as the detail says

	// Of the transfer encodings.

	CodeBase64Garbage      = "base64-garbage"       // octets outside the base64 alphabet, skipped
	CodeBase64AfterPadding = "base64-after-padding" // base64 data after its padding, decoded as well
	CodeBase64Truncated    = "base64-truncated"     // base64 data ends inside a group of four or without its padding
	CodeQuotedPrintable    = "quoted-printable"     // an "=" that begins no escape and no soft line break, kept

	// CodeMore stands for the problems left out; its detail says how many.
	CodeMore = "more-problems"
)

const (
	maxProblems      = 100 // listed of one message, without CodeMore
	maxProblemDetail = 200 // octets
)

// problems collects what was malformed, bounded in number and length.
type problems struct {
	list    []schema.Problem
	dropped int
}

// add notes a problem of the leaf part partID, or of the message or a multipart where it is nil.
func (p *problems) add(partID *string, code, detail string) {
	if len(p.list) >= maxProblems {
		p.dropped++
		return
	}
	if partID != nil {
		id := *partID
		partID = &id
	}
	p.list = append(p.list, schema.Problem{PartID: partID, Code: code, Detail: printable(detail, maxProblemDetail)})
}

// addOnce notes a problem of the message, the first time.
func (p *problems) addOnce(code, detail string) {
	if !slices.ContainsFunc(p.list, func(q schema.Problem) bool { return q.Code == code }) {
		p.add(nil, code, detail)
	}
}

// all returns the list, with CodeMore at its end where some were left out.
func (p *problems) all() []schema.Problem {
	list := append([]schema.Problem{}, p.list...)
	if p.dropped > 0 {
		list = append(list, schema.Problem{Code: CodeMore, Detail: fmt.Sprintf("%d more problems are not listed", p.dropped)})
	}
	return list
}

// printable makes s valid UTF-8 without control characters, of at most limit octets.
func printable(s string, limit int) string {
	if len(s) > limit+utf8.UTFMax {
		s = s[:limit+utf8.UTFMax]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return cutString(s, limit)
}

// cutString cuts s, valid UTF-8, to at most limit octets at the end of a character.
func cutString(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
