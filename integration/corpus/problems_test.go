//go:build integration

package corpus

import (
	"slices"
	"strings"
	"testing"

	"lsmtpd/extract"
)

// answers are the problems that answer a defect a witness tells: one of them has to be there. None says that the defect
// is none.
var answers = map[string][]string{
	// CPython's email.errors
	"CloseBoundaryNotFoundDefect":                   {extract.CodeMissingCloseDelimiter, extract.CodeDelimiterSyntax},
	"FirstHeaderLineIsContinuationDefect":           {extract.CodeHeaderSyntax},
	"InvalidHeaderDefect":                           {extract.CodeHeaderSyntax},
	"InvalidBase64CharactersDefect":                 {extract.CodeBase64Garbage},
	"InvalidBase64LengthDefect":                     {extract.CodeBase64Truncated},
	"InvalidBase64PaddingDefect":                    {extract.CodeBase64Truncated},
	"InvalidMultipartContentTransferEncodingDefect": {extract.CodeMultipartEncoding},
	"MissingHeaderBodySeparatorDefect":              {extract.CodeHeaderSyntax, extract.CodeMissingHeader, extract.CodeMissingBlankLine},
	"MultipartInvariantViolationDefect":             {extract.CodeMissingBoundary, extract.CodeMissingDelimiter},
	"NoBoundaryInMultipartDefect":                   {extract.CodeMissingBoundary},
	"StartBoundaryNotFoundDefect":                   {extract.CodeMissingDelimiter, extract.CodeMissingBoundary, extract.CodeDuplicateBoundary},

	// enmime
	"Character Set Declaration Mismatch": {},
	"Content Encoding":                   {extract.CodeUnknownEncoding},
	"Malformed Base64":                   {extract.CodeBase64Garbage, extract.CodeBase64Truncated},
	"Malformed Header":                   {extract.CodeParameterSyntax, extract.CodeMboxFrom, extract.CodeHeaderSyntax, extract.CodeMissingHeader, extract.CodeMissingBlankLine},
	"Missing Boundary":                   {extract.CodeMissingCloseDelimiter, extract.CodeMissingBoundary},
	"Missing Content-Type":               {}, // RFC 2045 §5.2 says what such a part is
	"fatal":                              {extract.CodeHeaderSyntax, extract.CodeMissingHeader, extract.CodeContentTypeSyntax, extract.CodeMissingBoundary},
}

// TestProblems wants a problem for each defect that a witness sees in a message, but for those that were reviewed.
func TestProblems(t *testing.T) {
	all := delivered(t)
	t.Run("CPython", func(t *testing.T) { wantProblems(t, all, cpython, cpythonDefects) })
	t.Run("enmime", func(t *testing.T) { wantProblems(t, all, enmime, enmimeDefects) })
	count, codes := 0, map[string]int{}
	for _, d := range all.bdat {
		if len(d.published.Problems) > 0 {
			count++
		}
		for _, p := range d.published.Problems {
			codes[p.Code]++
		}
	}
	t.Logf("%d of %d messages have problems: %v", count, len(all.bdat), codes)
}

func wantProblems(t *testing.T, all *deliveries, w witness, table []reviewed) {
	var missed []string
	defects := map[string]int{}
	for i, reading := range w(t, all.bdat) {
		d := all.bdat[i]
		for _, defect := range reading.Defects {
			name, _, _ := strings.Cut(defect, ": ")
			wanted, known := answers[name]
			if !known {
				t.Errorf("%s: which problems answer the defect %q is not known", d.name, defect)
			}
			defects[name]++
			if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(code string) bool { return hasProblem(d.published, code) }) {
				missed = append(missed, d.name+": "+name)
			}
		}
	}
	t.Logf("%d defects without an answer, of %v", len(missed), defects)
	wantReviewed(t, all.complete, missed, table)
}
