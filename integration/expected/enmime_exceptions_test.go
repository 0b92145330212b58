//go:build integration

package expected

const (
	defaultType = "enmime has no type where no media type can be read. RFC 2045 §5.2 has one for a part without the field, and wants the same for one " +
		"with a broken field: text/plain; RFC 8621 §4.1.4 has no part without a type."
	declaredCharset = "enmime replaces the charset by the one it detects. The charset of a part is the one declared (RFC 8621 §4.1.4: the value of the parameter); " +
		"that the octets do not fit is isEncodingProblem."
)

// enmimeExceptions are the differences from the assertions about enmime's messages on purpose.
var enmimeExceptions = exceptions{
	{message: "parts/missing-ctype.raw", what: "part 1 type", ours: is("text/plain"), reason: defaultType},
	{message: "parts/empty-header.raw", what: "part 1 type", ours: is("text/plain"), reason: defaultType},
	{message: "parts/barren-content-type.raw", what: "part 0 type", ours: is("text/plain"), reason: defaultType},
	{message: "parts/empty-ctype-bad-content.raw", what: "part 1 type", ours: is("text/plain"), reason: defaultType},
	{message: "parts/chardet-success-big-5.raw", what: "part 0 charset", ours: is("us-ascii"), reason: declaredCharset},
	{message: "parts/chardet-success-iso-8859-1.raw", what: "part 0 charset", ours: is("us-ascii"), reason: declaredCharset},
	{
		message: "mail/inlinemultipart.raw", what: "problems", ours: is("parameter-syntax base64-truncated duplicate-field"),
		reason: "enmime notes no error. Two parameters and a Content-Disposition occur twice, of which one has to be chosen, and the base64 ends without its padding.",
	},
	{
		message: "mail/qp-utf8-header-recursed.raw", what: "from",
		ours: is("James Hillyerd <jamehi03@jamehi03lx.noa.com>, =?UTF-8? Q?=3D=3Futf-8=3FQ=3FWirelessCaller=5F=3D28203=3D29=5F4?= 02-5984_WirelessCaller_=28203=29_402-?= " +
			"=?utf-8?Q?5984_WirelessCaller_=28203=29_402-5984?= <PIRARD@vm1.ulg.ac.be>"),
		reason: "The name was encoded twice, and the first word broken by a blank. No blank may stand in an encoded word (RFC 2047 §2), and the text of one is not " +
			"searched for others: a sender who writes about encoded words would be misread.",
	},
	{
		message: "mail/non-mime-missing-charset.raw", what: "html",
		ours: is("<html>\n  <head>\n    <meta charset=\"windows-1250\"/>\n  </head>\n  <body>\n    Unencoded Euro Sign: \u0080\n  </body>\n</html>\n\n"),
		reason: "Without a charset parameter octets that are UTF-8 are taken for it, and C2 80 is U+0080. enmime's € comes from reading them as windows-1250: Â€. " +
			"The octet 80 that the text speaks of is not in the message.",
	},
}

const (
	invalidType = "RFC 2045 §5.2: a Content-Type whose syntax is invalid is taken for text/plain; charset=us-ascii. enmime takes it for application/octet-stream."
	nameEncoded = "The whole parameter, its name and all, is an encoded word, which may not be in a parameter (RFC 2047 §5). enmime decodes the field before " +
		"it takes it apart, and so would read a parameter out of any text."
	safeName        = "The name is for showing and saving: it has no path, no blanks around it, and one blank for control characters. The value as it came is in the part's headers."
	outerQuotes     = "The quotation marks were to be those of a quoted-string, and are no part of the name that the sender meant. The value as it came is in the part's headers."
	nameWithAddress = "What stands before an address in angle brackets is its name, also where there is an @ in it: senders put addresses into names, " +
		"though RFC 5322 §3.4 wants them quoted. Nothing tells that two mailboxes were meant."
	wordInAddress = "No encoded word may be in an addr-spec (RFC 2047 §5). Decoded, it would be another address, one that nobody may ever have written."
	cidEscaped    = "The percent-encoding is that of a cid: URL (RFC 2392 §2), made from a Content-ID. The field itself has a msg-id (RFC 2045 §7), in which % and + are letters."
	noContentType = "A part without Content-Type is not malformed: it is text/plain (RFC 2045 §5.2)."
)

// enmimeTableExceptions are the differences from the tables in enmime's tests on purpose. The message is the input.
var enmimeTableExceptions = exceptions{
	{
		message: "application/octet-stream;=?UTF-8?B?bmFtZT0iw7DCn8KUwoo=?=You've got a new voice miss call.msg",
		what:    "TestFixMangledMediaType name", ours: is(""), reason: nameEncoded,
	},
	{
		message: "application/octet-stream; =?UTF-8?B?bmFtZT3DsMKfwpTCii5tc2c=?=",
		what:    "TestFixMangledMediaType name", ours: is(""), reason: nameEncoded,
	},
	{message: `one/; name="file.two"; name="file.two"`, what: "TestFixMangledMediaType type", ours: is("text/plain"), reason: invalidType},
	{message: `charset=binary; name="logoleft.jpg"`, what: "TestFixMangledMediaType type", ours: is("text/plain"), reason: invalidType},
	{message: `charset=binary; name="logoleft.jpg"`, what: "TestFixMangledMediaType charset", ours: is("us-ascii"), reason: invalidType},
	{message: `application/octet-stream; name=" value 1"`, what: "TestFixUnquotedSpecials name", ours: is("value 1"), reason: safeName},
	{message: "application/octet-stream; name=\"\tvalue 1\"", what: "TestFixUnquotedSpecials name", ours: is("value 1"), reason: safeName},
	{message: "application/octet-stream; name=\"value\t1\"", what: "TestFixUnquotedSpecials name", ours: is("value 1"), reason: safeName},
	{
		message: `application/octet-stream; name="=?utf-8?B?T3V0bG9vay1Mb2dvCgpEZXNj?="`, what: "TestParseMediaType name", ours: is("Outlook-Logo Desc"),
		reason: safeName,
	},
	{message: `application/pdf; name=\"pdf\"pdf\"`, what: "TestFixUnquotedSpecials name", ours: is(`pdf"pdf`), reason: outerQuotes},
	{
		message: `application/rtf; charset=iso-8859-1; name=""V047411.rtf".rtf"`, what: "TestFixUnEscapedQuotes name", ours: is(`V047411.rtf".rtf`),
		reason: outerQuotes,
	},
	{message: `application/rtf; charset=utf-8; name=""žába".jpg"`, what: "TestFixUnEscapedQuotes name", ours: is(`žába".jpg`), reason: outerQuotes},
	{message: "application/octet-stream; name=value/1", what: "TestFixUnquotedSpecials name", ours: is("1"), reason: safeName},
	{
		message: `application/msword;name=15管理.doc"`, what: "TestFixUnquotedSpecials name", ours: is(`15管理.doc"`),
		reason: `What enmime makes of it has an encoded word of a quoted-pair, \", in which the backslash is for its own parser: in the field there is none.`,
	},
	{
		message: "application/msword;name=\xe2\x28\xa1.doc", what: "TestFixUnquotedSpecials name", ours: is("â(¡.doc"),
		reason: "Octets that are not UTF-8 are read as windows-1252, which loses none of them, and not as U+FFFD.",
	},
	{
		message: `application/rtf; charset=iso-8859-1; name="V047411.rtf".rtf`, what: "TestFixUnEscapedQuotes name", ours: is("V047411.rtf"),
		reason: "A value that begins with a quotation mark ends with the next one (RFC 2045 §5.1). What follows without a semicolon is none of it, and a problem.",
	},
	{
		message: `application/rtf; charset=iso-8859-1; name="V047411.rtf;".rtf`, what: "TestFixUnEscapedQuotes name", ours: is("V047411.rtf;"),
		reason: "As the one before.",
	},
	{
		message: "=?utf-8?b?PT9VUy1BU0NJST9xP0hlbGxvPTIwV29ybGQ/PQ==?=", what: "TestRfc2047Decode", ours: is("=?US-ASCII?q?Hello=20World?="),
		reason: "The text of an encoded word is not searched for others: whoever writes about encoded words encodes one like this.",
	},
	{
		message: "=?ABC-1?Q?FooBar?=", what: "TestDecodeRFC2047", ours: is("FooBar"),
		reason: "All octets of the word are ASCII, which is part of nearly every charset. RFC 2047 §6.2 leaves it to the reader how to show a charset it does not know.",
	},
	{
		message: "=?UTF-8?B?dGVzdG5hbWU=?= <=?UTF-8?B?dGVzdG5hbWU=?=@example.com>", what: "Test*AddressList*",
		ours: is("testname <=?UTF-8?B?dGVzdG5hbWU=?=@example.com>"), reason: wordInAddress,
	},
	{
		message: "Jimmy John <jimmy.john@company.com> joe@company.com John Company <other@company.com>", what: "TestCommaDelimitedAddressLists",
		ours: is("Jimmy John <jimmy.john@company.com>, joe@company.com John Company <other@company.com>"), reason: nameWithAddress,
	},
	{
		message: "A Group:Ed Jones <c@a.test> joe@where.test John <jdoe@one.test>;", what: "TestCommaDelimitedAddressLists",
		ours: is("Ed Jones <c@a.test>, joe@where.test John <jdoe@one.test>"), reason: nameWithAddress,
	},
	{
		message: "no space before continuation", what: "TestReadHeader value", ours: is("line1=foo;"),
		reason: "A line that is not indented goes on with the field before it only where that ends in a semicolon and the line begins with a parameter of a Content-Type or " +
			"Content-Disposition: senders who wrap badly tear those off. Any other is no part of a field, and a problem.",
	},
	{
		message: "space in name", what: "TestReadHeader correct", ours: is("false"),
		reason: "enmime notes no error. A field name has no blanks (RFC 5322 §2.2): it is kept, and a problem.",
	},
	{
		message: "XYZ===", what: "TestBase64Cleaner errors", ours: is("true"),
		reason: "enmime notes no error. Three characters are padded by one (RFC 4648 §4): the two others are a problem. The octets are the same.",
	},
	{
		message: "=", what: "TestQPCleaner", ours: is(""),
		reason: "A last = is a soft line break whose line end has become part of the delimiter after it (RFC 2045 §6.7 rule 5, RFC 2046 §5.1.1).",
	},
	{message: "<foo%25bar>", what: "TestFromIDHeader", ours: is("foo%25bar"), reason: cidEscaped},
	{message: "foo+bar", what: "TestFromIDHeader", ours: is("foo+bar"), reason: cidEscaped},
	{message: "missing-content-type2.raw", what: "TestErrorEnvelopeWarnings", ours: is(""), reason: noContentType},
	{message: "empty-header.raw", what: "TestErrorEnvelopeWarnings", ours: is(""), reason: noContentType},
	{
		message: "unk-charset-html-only.raw", what: "TestErrorEnvelopeWarnings", ours: is(""),
		reason: "The charset nobody knows is in a meta element, which is no part of the message's format, and all octets are ASCII.",
	},
}
