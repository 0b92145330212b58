//go:build integration

package expected

// enmimePartMessages are the assertions of enmime's part_test.go.
var enmimePartMessages = []enmimeMessage{
	{
		tests: "TestPlainTextPart", file: "parts/textplain.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "us-ascii", encoding: "7bit", contains: "Test of text/plain section"}},
	},
	{
		tests: "TestQuotedPrintablePart", file: "parts/quoted-printable.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "us-ascii", encoding: "quoted-printable", content: "Start=ABC=Finish"}},
	},
	{
		tests: "TestQuotedPrintableInvalidPart", file: "parts/quoted-printable-invalid.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "utf-8", disposition: "inline", encoding: "quoted-printable", contains: "Stuffs’s Weekly Summary"}},
	},
	{
		tests: "TestMultiAlternParts", file: "parts/multialtern.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/alternative", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "A text section"},
			{id: "2", mediaType: "text/html", charset: "us-ascii", contains: "An HTML section"},
		},
	},
	{
		tests: "TestRootMissingContentType", file: "parts/missing-ctype-root.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "us-ascii"}},
	},
	{
		tests: "TestPartMissingContentType", file: "parts/missing-ctype.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/alternative", inner: true},
			{id: "1", next: true, contains: "A text section"},
			{id: "2", mediaType: "text/html", charset: "us-ascii", contains: "An HTML section"},
		},
	},
	{
		tests: "TestPartEmptyHeader", file: "parts/empty-header.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/alternative", inner: true},
			{id: "1", next: true, contains: "A text section"},
			{id: "2", mediaType: "text/html", charset: "us-ascii", contains: "An HTML section"},
		},
	},
	{
		tests: "TestPartHeaders", file: "parts/header-only.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/html", name: "file.html", charset: "utf-8", disposition: "inline", cid: "part123456@inbucket.org"}},
	},
	{
		tests: "TestMultiMixedParts", file: "parts/multimixed.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/mixed", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "Section one"},
			{id: "2", mediaType: "text/plain", charset: "us-ascii", contains: "Section two"},
		},
	},
	{ // The malformed part that enmime leaves out is our part 2; its own numbers agree.
		tests: "TestMultiSkipMalformedPart", file: "parts/multi-malformed.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/mixed", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "Section one"},
			{id: "3", mediaType: "text/plain", charset: "us-ascii", contains: "Section two"},
		},
		problem: "missing-header",
	},
	{ // enmime has policies for broken content; ours is the one that keeps it.
		tests: "TestReadPartErrorPolicy", file: "parts/extra-base64-character.raw",
		subject: "Each part contains 1 extra base64 character (4*n + 1)",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/alternative", inner: true},
			{id: "1", mediaType: "text/plain", charset: "utf-8", next: true, encoding: "base64", content: "Hello World!", problem: "base64-truncated"},
			{id: "2", mediaType: "text/html", charset: "utf-8", encoding: "base64", content: "<p>Hello World</p>", problem: "base64-truncated"},
		},
	},
	{
		tests: "TestMultiOtherParts TestClonePart", file: "parts/multiother.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/x-enmime", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "Section one"},
			{id: "2", mediaType: "text/plain", charset: "us-ascii", contains: "Section two"},
		},
	},
	{
		tests: "TestNestedAlternParts", file: "parts/nestedmulti.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/alternative", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "A text section"},
			{id: "2.0", mediaType: "multipart/related", inner: true},
			{id: "2.1", mediaType: "text/html", charset: "us-ascii", next: true, contains: "An HTML section"},
			{id: "2.2", mediaType: "text/plain", disposition: "inline", name: "attach.txt", next: true, contains: "An inline text attachment"},
			{id: "2.3", mediaType: "text/plain", disposition: "inline", name: "attach2.txt", contains: "Another inline text attachment"},
		},
	},
	{
		tests: "TestPartSimilarBoundary", file: "parts/similar-boundary.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/mixed", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "Section one"},
			{id: "2.0", mediaType: "multipart/alternative", inner: true},
			{id: "2.1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "A text section"},
			{id: "2.2", mediaType: "text/html", charset: "us-ascii", contains: "An HTML section"},
		},
	},
	{
		tests: "TestBinaryDecode", file: "parts/bin-attach.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/mixed", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "A text section"},
			{
				id: "2", mediaType: "application/octet-stream", charset: "us-ascii", disposition: "attachment", name: "test.bin",
				content: "\x50\x4B\x03\x04\x14\x00\x08\x00\x08\x00\xC2\x02\x29\x4A\x00\x00",
			},
		},
	},
	{
		tests: "TestMultiBase64Parts", file: "parts/multibase64.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/mixed", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true, contains: "A text section"},
			{id: "2", mediaType: "text/html", disposition: "attachment", name: "test.html", contains: "<html>"},
		},
	},
	{
		tests: "TestBadBoundaryTerm", file: "parts/badboundary.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/alternative", inner: true},
			{id: "1", mediaType: "text/plain", charset: "us-ascii", next: true},
			{id: "2", mediaType: "text/html", charset: "us-ascii", next: true, contains: "An HTML section"},
		},
	},
	{
		tests: "TestHtmlPartHasBoundary", file: "parts/html-with-boundary.raw",
		parts: []enmimePart{
			{id: "0", mediaType: "multipart/mixed", inner: true},
			{id: "1", mediaType: "text/html", charset: "UTF-8", contains: "An HTML section"},
		},
	},
	{
		tests: "TestBarrenContentType", file: "parts/barren-content-type.raw",
		parts: []enmimePart{{id: "0", disposition: "attachment", problem: "content-type-syntax"}},
	},
	{
		tests: "TestEmptyContentTypeBadContent", file: "parts/empty-ctype-bad-content.raw",
		parts: []enmimePart{{id: "1", problem: "content-type-syntax"}},
	},
	{
		tests: "TestMalformedContentTypeParams", file: "parts/malformed-content-type-params.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/html", problem: "parameter-syntax"}},
	},
	{
		tests: "TestContentTypeParamUnquotedSpecial", file: "parts/unquoted-ctype-param-special.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/calendar", disposition: "attachment", name: "calendar.ics"}},
	},
	{
		tests: "TestNoClosingBoundary", file: "parts/multimixed-no-closing-boundary.raw",
		parts:   []enmimePart{{id: "1", mediaType: "text/html", charset: "UTF-8"}},
		problem: "missing-close-delimiter",
	},
	{
		tests: "TestContentTypeParamMissingClosingQuote", file: "parts/missing-closing-param-quote.raw",
		parts: []enmimePart{{
			id: "0", mediaType: "text/html", problem: "parameter-syntax unknown-charset " + encodingProblem,
			charset: "UTF-8Return-Path: bounce-810_HTML-769869545-477063-1070564-43@bounce.email.oflce57578375.com",
		}},
	},
	{
		tests: "TestChardetFailure", file: "parts/chardet-fail.raw",
		parts: []enmimePart{{
			id: "0", mediaType: "text/plain", cid: "part3.E34FF3C4.059DAD00@example.com", name: "rzkly.txt", octets: chardetFailure, problem: "charset-mismatch " + encodingProblem,
		}},
	},
	{
		tests: "TestChardetFailure", file: "parts/chardet-fail-non-txt.raw", sound: true,
		parts: []enmimePart{{id: "0", mediaType: "image/gif", cid: "part3.E34FF3C4.059DAD00@example.com", name: "rzkly.gif", octets: chardetFailure}},
	},
	{
		tests: "TestChardetFailure", file: "parts/chardet-fail-not-long-enough.raw", sound: true,
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "UTF-8", octets: "和弟弟\r\n"}},
	},
	{
		tests: "TestChardetSuccess", file: "parts/chardet-success-big-5.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "Big5", problem: "charset-mismatch " + encodingProblem}},
	},
	{
		tests: "TestChardetSuccess", file: "parts/chardet-success-iso-8859-1.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "ISO-8859-1", problem: "charset-mismatch " + encodingProblem}},
	},
	{
		tests: "TestCtypeInvalidCharacters", file: "parts/ctype-invalid-characters.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain"}},
	},
	{
		tests: "TestDisableCharacterDetectionPart TestCharacterDetectionRunes", file: "parts/chardet-detection.raw",
		parts: []enmimePart{{id: "0", mediaType: "text/plain", charset: "utf-8"}},
	},
}

const chardetFailure = "GIF89ad\x00\x04\x00\x80\x00\x00\x00f\xccf\xff\x99!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00d\x00\x04\x00\x00\x02\x1a\x8c\x8f\xa9\xcb\xed" +
	"\x0f\xa3\x9c\xb4\xda\xeb\x80\u07bc\xfb\x0f\x86\xe2H\x96扦\xea*\x16\x00;"
