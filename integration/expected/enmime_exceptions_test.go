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
		reason: "enmime notes no error. Two parameters and a Content-Disposition occur twice (RFC 2045 §5.1, RFC 5322 §3.6), and the base64 ends without its padding.",
	},
	{
		message: "mail/qp-utf8-header-recursed.raw", what: "from",
		ours: is("James Hillyerd <jamehi03@jamehi03lx.noa.com>, =?UTF-8? Q?=3D=3Futf-8=3FQ=3FWirelessCaller=5F=3D28203=3D29=5F4?= 02-5984_WirelessCaller_=28203=29_402-?=\n" +
			" =?utf-8?Q?5984_WirelessCaller_=28203=29_402-5984?= <PIRARD@vm1.ulg.ac.be>"),
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
