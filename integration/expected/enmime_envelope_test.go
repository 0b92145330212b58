//go:build integration

package expected

import "time"

// enmimeEnvelopeMessages are the assertions of enmime's envelope_test.go, inspect_test.go and detect_test.go.
var enmimeEnvelopeMessages = []enmimeMessage{
	{
		tests: "TestParseHeaderOnly", file: "mail/header-only.raw",
		noHTML: true, headers: 7, date: time.Date(2012, time.October, 19, 5, 48, 39, 0, time.UTC),
	},
	{tests: "TestParseNonMime TestDetectSinglePart", file: "mail/non-mime.raw", single: true, inText: []string{"This is a test mailing"}, noHTML: true},
	{tests: "TestParseNonMimeHTML", file: "mail/non-mime-html.raw", inHTML: []string{"<span>This</span>"}},
	{
		tests: "TestParseMimeTree TestParseAttachment", file: "mail/attachment.raw",
		inText: []string{"A text section"}, noHTML: true, inlines: []enmimeFile{},
		attachments: []enmimeFile{{name: "test.html", contains: "<html>"}},
	},
	{
		tests: "TestParseInlineText TestParseInlineHTML TestParseInline TestParseNestedHeaders TestDetectMultiPart", file: "mail/html-mime-inline.raw",
		text: "Test of text section", inHTML: []string{"<html>", "Test of HTML section", ">Test of HTML section<"}, multipart: true,
		inlines:     []enmimeFile{{name: "favicon.png", prefix: pngPrefix, cid: "8B8481A2-25CA-4886-9B5A-8EB9115DD064@skynet"}},
		attachments: []enmimeFile{},
	},
	{tests: "TestParseInlineBadCharsetText", file: "mail/html-mime-bad-charset-inline.raw", text: "Test of text section"},
	{tests: "TestParseInlineBadUknownCharsetText", file: "mail/html-mime-bad-unknown-charset-inline.raw", text: "Test of text section"},
	{tests: "TestParseMultiAlernativeText", file: "mail/mime-alternative.raw", text: "Section one\n"},
	{tests: "TestParseMultiMixedText", file: "mail/mime-mixed.raw", text: "Section one\n\n--\nSection two"},
	{tests: "TestParseMultiMixedRelatedHtml", file: "mail/mime-mixed-related.raw", html: "<p>html1</p>"},
	{tests: "TestParseMultiSignedText", file: "mail/mime-signed.raw", text: "Section one\n\n--\nSection two"},
	{tests: "TestParseQuotedPrintable", file: "mail/quoted-printable.raw", inText: []string{"Phasellus sit amet arcu"}},
	{tests: "TestParseQuotedPrintableMime", file: "mail/quoted-printable-mime.raw", inText: []string{"Nullam venenatis ante"}},
	{
		tests: "TestParseAttachmentOctet", file: "mail/attachment-octet.raw",
		inText: []string{"A text section"}, noHTML: true, inlines: []enmimeFile{},
		attachments: []enmimeFile{{
			name: "ATTACHMENT.EXE",
			content: "\x03\x17\xe1\x7e\xe8\xeb\xa2\x96\x9d\x95\xa7\x67\x82\x09\xdf\x8e\x0c\x2c\x6a\x2b\x9b\xbe\x79\xa4\x69\xd8\xae\x86\xd7\xab\xa8\x72\x52\x15\xfb\x80" +
				"\x8e\x47\xe1\xae\xaa\x5e\xa2\xb2\xc0\x90\x59\xe3\x35\xf8\x60\xb7\xb1\x63\x77\xd7\x5f\x92\x58\xa8\x75",
		}},
	},
	{
		tests: "TestParseAttachmentApplication", file: "mail/attachment-application.raw",
		inlines: []enmimeFile{}, attachments: []enmimeFile{{name: "some.doc"}},
	},
	{
		tests: "TestParseOtherParts", file: "mail/other-parts.raw",
		inText: []string{"A text section"}, noHTML: true, inlines: []enmimeFile{}, attachments: []enmimeFile{},
		others: []enmimeFile{{name: "B05.gif", content: goomoji}},
	},
	{tests: "TestDetectUnknownMultiPart", file: "mail/unknown-part-type.raw", multipart: true},
	{
		tests: "TestParseOtherPartsRelated", file: "mail/other-multi-related.raw",
		inText: []string{"Plain text."}, inHTML: []string{"<i>HTML text.</i>"}, inlines: []enmimeFile{}, attachments: []enmimeFile{},
		others: []enmimeFile{
			{name: "image001.png", cid: "image001.png@01D3BA12.F6C6AEB0", prefix: pngPrefix},
			{name: "image002.png", cid: "image002.png@01D3BA12.F6C6AEB0", prefix: pngPrefix},
		},
	},
	{
		tests: "TestParseHTMLOnlyInline TestParseHTMLOnlyInlineTextDisabled", file: "mail/html-only-inline.raw",
		noText: true, inHTML: []string{">Test of HTML section<"},
		inlines: []enmimeFile{{name: "favicon.png", prefix: pngPrefix}}, attachments: []enmimeFile{},
	},
	{
		tests: "TestParseInlineMultipart", file: "mail/inlinemultipart.raw", sound: true,
		inText:      []string{"Simple text."},
		inlines:     []enmimeFile{{name: "test.txt", prefix: "Text"}},
		attachments: []enmimeFile{{name: "test.pdf"}},
	},
	{tests: "TestParseHTMLOnlyCharsetInHeaderOnly", file: "mail/non-mime-html-charset-header-only.raw", inHTML: []string{"\u00fc", "Müller"}},
	{
		tests: "TestParseMultipartWOBoundaryAsSinglepart TestDetectMultipartWithoutBoundary", file: "mail/multipart-wo-boundary.raw",
		multipart: true, inText: []string{"I'm  multipart message without boundary"},
	},
	{
		tests: "TestEnvelopeGetHeader TestEnvelopeGetHeaderKeys", file: "mail/qp-ascii-header.raw", subject: "Test QP Subject!",
		names: []string{"Date", "From", "Subject", "To", "X-Mailer"},
	},
	{
		tests: "TestEnvelopeGetHeader TestEnvelopeGetHeaderKeys TestEnvelopeAddressList TestDecodeHeaders", file: "mail/qp-utf8-header.raw",
		subject: "MIME UTF8 Test \u00a2 More Text",
		names:   []string{"Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Sender", "Subject", "To", "User-Agent"},
		to:      []string{"Mirosław Marczak <marczak@inbucket.com>"}, sender: []string{"André Pirard <PIRARD@vm1.ulg.ac.be>"}, noBCC: true,
	},
	{tests: "TestDecodeHeaders", file: "mail/qp-utf8-header-no-break.raw", to: []string{"Mirosław Marczak <marczak@inbucket.com>"}},
	{
		tests: "TestDecodeHeaders", file: "mail/qp-utf8-header-recursed.raw",
		inFrom: "WirelessCaller (203) 402-5984 WirelessCaller (203) 402-5984 WirelessCaller (203) 402-5984",
	},
	{tests: "TestDecodeHeaders", file: "low-quality/bad-header-start.raw", problem: "header-syntax"},
	{tests: "TestDetectCharacterSetInHTML", file: "mail/non-mime-missing-charset.raw", inHTML: []string{"\u20ac"}, notInHTML: "\u0080"},
	{
		tests: "TestAttachmentOnly TestDetectBinaryBody", file: "mail/attachment-only.raw",
		headers: 9, attachments: []enmimeFile{{name: "favicon.jpg", prefix: pngPrefix}}, inlines: []enmimeFile{}, noText: true,
	},
	{
		tests: "TestAttachmentOnly TestDetectBinaryBody", file: "mail/attachment-only-inline.raw",
		headers: 9, attachments: []enmimeFile{}, inlines: []enmimeFile{{name: "favicon.jpg", prefix: pngPrefix}}, noText: true,
	},
	{tests: "TestDetectBinaryBody", file: "mail/attachment-only-no-disposition.raw", attachments: []enmimeFile{{name: "favicon.jpg"}}, noText: true},
	{tests: "TestDetectBinaryBody", file: "mail/attachment-only-text-attachment.raw", attachments: []enmimeFile{{name: "test.csv"}}, noText: true},
	{tests: "TestDuplicateParamsInMime", file: "mail/mime-duplicate-param.raw", attachments: []enmimeFile{{name: "Invoice_302232133150612.pdf"}}},
	{tests: "TestUnquotedSpecialCharParamsInMime", file: "mail/mime-unquoted-tspecials-param.raw", attachments: []enmimeFile{{name: "Invoice_(302232133150612).pdf"}}},
	{tests: "TestBadAddressHeaderInMime", file: "mail/malformed-multiple-address-header-values.raw", inFrom: "Bob Dunite <bob@extern>", problem: "address-syntax"},
	{tests: "TestBadContentTypeInMime", file: "mail/mime-bad-content-type.raw", attachments: []enmimeFile{{name: "Invoice_302232133150612.pdf"}}},
	{tests: "TestBadContentTransferEncodingInMime", file: "mail/mime-bad-content-transfer-encoding.raw", problem: "base64-truncated"},
	{tests: "TestBadMime8bitFilename", file: "mail/mime-bad-8bit-filename.raw", text: "Text part\n", attachments: []enmimeFile{{name: "管理.doc"}}},
	{tests: "TestBlankMediaName", file: "mail/mime-blank-media-name.raw", attachments: []enmimeFile{{name: "Invoice_302232133150612.pdf"}}},
	{tests: "TestEnvelopeHeaders", file: "mail/ctype-bug.raw", fields: "TestEnvelopeHeaders", received: "TestEnvelopeGetHeaderValues"},
	{
		tests: "TestInlineTextBody", file: "mail/attachment-only-inline-quoted-printable.raw", fields: "TestInlineTextBody",
		inHTML: []string{"Just some html content"},
	},
	{tests: "TestBinaryOnlyBodyHeaders", file: "mail/attachment-only.raw", fields: "TestBinaryOnlyBodyHeaders"},
	{ // The epilogue is not published: that it is none of the attachment's content, and that it is noted, is what there is to see.
		tests: "TestEnvelopeEpilogue", file: "mail/epilogue-sample.raw",
		attachments: []enmimeFile{{name: "test.html", content: "<html>\n"}}, problem: "epilogue",
	},
}

const (
	pngPrefix = "\x89PNG"
	goomoji   = "GIF89a\x0f\x00\x0f\x00\xa2\x05\x00\xde\xeb\xf3\x5b\xb0\xec\x00\x89\xe3\xa3\xd0\xed\x00\x46\x74\xdd\xed\xfa\x00\x00\x00\x00\x00\x00\x21\xf9\x04\x01\x00\x00" +
		"\x05\x00\x2c\x00\x00\x00\x00\x0f\x00\x0f\x00\x00\x03\x40\x58\x25\xa4\x4b\xb0\x39\x01\x46\xa3\x23\x5b\x47\x46\x68\x9d\x20\x06\x9f\xd2\x95\x45\x44\x08\xe8\x29" +
		"\x39\x69\xeb\xbd\x0c\x41\x4a\xae\x82\xcd\x1c\x9f\xce\xaf\x1f\xc3\x34\x18\xc2\x42\xb8\x80\xf1\x18\x84\xc0\x9e\xd0\xe8\xf2\x01\xb5\x19\xad\x41\x53\x33\x9b\x00\x00\x3b"
)
