//go:build integration

package expected

import (
	"go/ast"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// leftOut is what of enmime's tests is not reproduced.
type leftOut struct {
	file, test string // without a test: all of the file
	assertions int    // how many of the test; 0 is all of it
	why        string
}

const (
	composing   = "composing and sending of mail, which lsmtpd does not do"
	ownAPI      = "functions and options of enmime's own"
	ownParts    = "inner parts of enmime; what comes of them is asserted of whole messages"
	severity    = "enmime tells severe errors from others, lsmtpd has one kind of problem"
	htmlToText  = "plain text that enmime makes out of HTML"
	refusal     = "that enmime refuses the message: lsmtpd refuses none"
	noProperty  = "nothing of the kind is published; the header fields have it in their Raw form"
	commandLine = "commands that print what enmime read"
)

var enmimeLeftOut = []leftOut{
	{file: "builder_test.go", why: composing},
	{file: "encode_test.go", why: composing},
	{file: "sender_test.go", why: composing},
	{file: "randoption_test.go", why: composing},
	{file: "match_test.go", why: ownAPI},
	{file: "options_test.go", why: ownAPI},
	{file: "envelope_fuzz_test.go", why: ownAPI},
	{file: "example_test.go", why: ownAPI},
	{file: "dsn/example_test.go", why: ownAPI},
	{file: "cmd/example_test.go", why: commandLine},
	{file: "cmd/utils_test.go", why: commandLine},
	{file: "cmd/mime-dump/mime-dump_test.go", why: commandLine},
	{file: "cmd/mime-extractor/mime-extractor_test.go", why: commandLine},
	{file: "internal/test/golden_test.go", why: ownParts},
	{file: "internal/test/testing_test.go", why: ownParts},
	{file: "internal/textproto/header_test.go", why: ownParts},
	{file: "internal/textproto/reader_test.go", why: ownParts},
	{file: "internal/textproto/writer_test.go", why: ownParts},
	{file: "internal/stringutil/find_test.go", why: ownParts},
	{file: "internal/stringutil/split_test.go", why: ownParts},
	{file: "internal/stringutil/uuid_test.go", why: ownParts},
	{file: "internal/stringutil/wrap_test.go", why: composing},

	{file: "part_test.go", test: "TestAddChildInfiniteLoops", why: ownAPI},
	{file: "part_test.go", test: "TestMultiNoSkipMalformedPartFails", why: refusal},
	{file: "part_test.go", test: "TestClonePart", assertions: 1, why: ownAPI},
	{file: "part_test.go", test: "TestBarrenContentType", assertions: 1, why: severity},
	{file: "part_test.go", test: "TestEmptyContentTypeBadContent", assertions: 1, why: severity},
	{file: "part_test.go", test: "TestMalformedContentTypeParams", assertions: 1, why: severity},
	{file: "part_test.go", test: "TestNoClosingBoundary", assertions: 1, why: severity},
	{file: "part_test.go", test: "TestContentTypeParamMissingClosingQuote", assertions: 1, why: severity},
	{file: "part_test.go", test: "TestChardetFailure", assertions: 1, why: severity},

	{file: "envelope_test.go", test: "TestParseNonMimeHTML", assertions: 3, why: htmlToText},
	{file: "envelope_test.go", test: "TestParseHTMLOnlyInline", assertions: 3, why: htmlToText},
	{file: "envelope_test.go", test: "TestParseHTMLOnlyInlineTextDisabled", assertions: 2, why: htmlToText},
	{file: "envelope_test.go", test: "TestInlineTextBody", assertions: 1, why: htmlToText},
	{file: "envelope_test.go", test: "TestParseMultipartWOBoundaryFails", why: refusal},
	{file: "envelope_test.go", test: "TestEnvelopeGetHeader", assertions: 1, why: ownAPI},
	{file: "envelope_test.go", test: "TestEnvelopeGetHeaderKeys", assertions: 1, why: ownAPI},
	{file: "envelope_test.go", test: "TestEnvelopeAddressList", assertions: 2, why: ownAPI},
	{file: "envelope_test.go", test: "TestEnvelopeEpilogue", assertions: 1, why: "no epilogue is published"},
	{file: "envelope_test.go", test: "TestEnvelopeSetHeader", why: composing},
	{file: "envelope_test.go", test: "TestEnvelopeAddHeader", why: composing},
	{file: "envelope_test.go", test: "TestEnvelopeDeleteHeader", why: composing},
	{file: "envelope_test.go", test: "TestCloneEnvelope", why: ownAPI},
	{file: "envelope_test.go", test: "TestNilHeaderValues", why: ownAPI},
	{file: "envelope_test.go", test: "TestSetHeaderEmptyName", why: composing},
	{file: "envelope_test.go", test: "TestAddHeaderEmptyName", why: composing},
	{file: "envelope_test.go", test: "TestDeleteHeaderEmptyName", why: composing},
	{file: "envelope_test.go", test: "TestNilEnvelopeClone", why: ownAPI},

	{file: "inspect_test.go", test: "TestDecodeHeaders", assertions: 1, why: refusal},
	{file: "detect_test.go", test: "TestDetectMultipartWithoutBoundary", assertions: 1, why: ownAPI},
	{file: "detect_test.go", test: "TestDetectAttachmentHeader", why: ownParts},
	{file: "detect_test.go", test: "TestDetectTextHeader", why: ownParts},
	{file: "error_test.go", test: "TestErrorStringConversion", why: ownAPI},
	{file: "error_test.go", test: "TestErrorAddError", why: ownAPI},
	{file: "error_test.go", test: "TestErrorAddWarning", why: ownAPI},
	{file: "error_test.go", test: "TestErrorLimitOption", why: ownAPI},
	{file: "error_test.go", test: "TestErrorEnvelopeWarnings", assertions: 1, why: severity},
	{file: "header_test.go", test: "TestDecodeToUTF8Base64Header", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReader", assertions: 2, why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderParts", assertions: 2, why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderBuffer", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderEOF", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderPartialRead", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderNoMatch", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderNoTerminator", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderBufferBoundaryAbut", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderBufferBoundaryCross", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderReadErrors", why: ownParts},
	{file: "boundary_test.go", test: "TestBoundaryReaderLongLine", why: ownParts},
	{file: "boundary_test.go", test: "TestReadLenNotCap", why: ownParts},
	{file: "mediatype/mediatype_test.go", test: "TestParseMediaType", assertions: 1, why: noProperty},
	{file: "internal/coding/charsets_test.go", test: "TestFindCharsetInHTML", why: ownParts},
	{file: "internal/coding/idheader_test.go", test: "TestToIDHeader", why: composing},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPCleanerOverflow", why: ownParts},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPCleanerSmallDest", why: ownParts},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPCleanerLineBreak", why: ownParts},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPCleanerLineBreakBufferFull", why: ownParts},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPCleanerEqualSignOverflow", why: ownParts},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPPeekError", why: ownParts},
	{file: "internal/coding/quotedprint_test.go", test: "TestQPCleanerQuotedLineLength", why: ownParts},
	{file: "internal/stringutil/addr_test.go", test: "TestJoinAddressEmpty", why: composing},
	{file: "internal/stringutil/addr_test.go", test: "TestJoinAddressSingle", why: composing},
	{file: "internal/stringutil/addr_test.go", test: "TestJoinAddressMany", why: composing},
	{file: "dsn/parse_internal_test.go", why: ownParts},
}

// enmimeTableTests are the tests of enmime whose tables TestEnmimeTables reads.
const enmimeTableTests = "TestParseMediaType TestFixMangledMediaType TestFixUnquotedSpecials TestFixUnEscapedQuotes TestRemoveTrailingHTMLTags " +
	"TestDecodePlainPassthrough TestDecodeFailurePassthrough TestDecodeAsciiB64 TestDecodeAsciiQ TestDecodeSpacing TestDecodeCharsets TestRfc2047Decode " +
	"TestDecodeRFC2047 TestParseAddressListNoFailures TestParseAddressListResult TestEnvelopeAddressListInDifferentFormats TestCommaDelimitedAddressLists " +
	"TestReadHeader TestBoundaryReader TestBoundaryReaderParts TestBase64Cleaner TestBase64CleanerErrors TestQPCleaner TestCharsetReader " +
	"TestConvertToUTF8String TestInvalidCharsetReader TestFromIDHeader TestErrorEnvelopeWarnings TestParseReport"

// TestEnmimeWhole counts what is reproduced of enmime's tests: each of them either stands in a table or is left out,
// with a reason. An assertion is a place in the source where a test can fail.
func TestEnmimeWhole(t *testing.T) {
	dir := moduleDir(t, enmimeModule)
	tests := allEnmimeTests(t, dir)
	reproduced := map[string]bool{}
	names := strings.Fields(enmimeTableTests)
	for _, m := range slices.Concat(enmimePartMessages, enmimeEnvelopeMessages) {
		names = append(names, strings.Fields(m.tests+" "+m.fields+" "+m.received)...)
	}
	for _, name := range names {
		reproduced[name] = true
	}
	total, left, reasons := 0, 0, map[string]int{}
	rows := enmimeLeftOut
	for file, functions := range tests {
		for name, f := range functions {
			n := assertions(f)
			total += n
			row := slices.IndexFunc(rows, func(r leftOut) bool { return r.file == file && (r.test == "" || r.test == name) })
			switch {
			case row < 0 && !reproduced[name]:
				t.Errorf("%s: %s is neither in a table nor left out", file, name)
			case row >= 0 && reproduced[name] != (rows[row].assertions > 0):
				t.Errorf("%s: %s: left out %d, in a table: %v", file, name, rows[row].assertions, reproduced[name])
			case row >= 0 && rows[row].assertions > n:
				t.Errorf("%s: %s has %d assertions, %d left out", file, name, n, rows[row].assertions)
			case row >= 0:
				if rows[row].assertions > 0 {
					n = rows[row].assertions
				}
				left += n
				reasons[rows[row].why] += n
			}
			delete(reproduced, name)
		}
	}
	for name := range reproduced {
		t.Errorf("enmime has no test %s", name)
	}
	for _, r := range enmimeLeftOut {
		if functions, ok := tests[r.file]; !ok || r.test != "" && functions[r.test] == nil {
			t.Errorf("left out %s %s: there is no such test", r.file, r.test)
		}
	}
	t.Logf("of %d assertions %d are reproduced, %d are left out", total, total-left, left)
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("left out %3d: %s", reasons[why], why)
	}
}

// allEnmimeTests are all test functions of enmime, by file and name.
func allEnmimeTests(t *testing.T, dir string) map[string]map[string]*ast.FuncDecl {
	t.Helper()
	tests := map[string]map[string]*ast.FuncDecl{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		tests[filepath.ToSlash(file)] = enmimeTests(t, dir, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
