// Package extract reads an RFC 5322 message with its MIME structure (RFC 2045,
// 2046, 2047, 2183, 2231) as a stream, in one pass: first the header block, then
// every leaf part at every depth, in order, with its octets decoded. What it
// finds it says in the terms of RFC 8621 §4.1, as types of package schema.
//
// Malformed MIME never fails a message. Each irregularity has a rule by which
// something useful is read, is listed as a problem with a code of problem.go,
// and loses no content: text where none should be becomes a part, except for
// the preamble before a first delimiter and the epilogue behind a last one.
// Only an error of the source is an error, and it never looks like the end of a part.
//
// Memory is bounded by Limits, whatever the message. A Reader and all it has
// returned hold at most
//
//	192 KiB + 24 × MaxHeaderBytes + MaxParts × (1 KiB + 4 × MaxDepth)
//
// octets: buffers, of them a window of 64 KiB on the source; header fields,
// each octet of which may be an address or an identifier of its own; and the
// structure, where an identifier of a part grows with its depth. That is 26 MiB
// with the default limits for a message made to reach it, and 200 KiB for one
// that is not. CPU grows with the octets, whatever the structure: one search
// finds the delimiters of all open multiparts.
//
// Processor time is bounded, too: of a field no more is interpreted than 16 KiB,
// of a list of addresses or identifiers 64 KiB, and no more than eight texts of
// a message are searched for what charset they are in.
//
// The octets of a part are never converted between charsets; Part.Text does that
// for those who show them. SniffType says what they look like, Report what a
// delivery status, disposition or feedback report says, and Trace what each octet
// of the message is part of. Left out are the content of message/rfc822 parts,
// which are leaves, and formats that are not MIME: uuencode, TNEF, S/MIME.
package extract
