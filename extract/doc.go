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
// Memory is about 160 KiB of buffers, of them a window of 64 KiB on the source,
// the header fields within Limits.MaxHeaderBytes, and the structure within
// Limits.MaxParts and MaxDepth. CPU grows with the octets, whatever the
// structure: one search finds the delimiters of all open multiparts.
//
// The octets of a part are never converted between charsets; Text does that
// for those who show them. Left out are the content of message/rfc822 parts,
// which are leaves, and formats that are not MIME: uuencode, TNEF, S/MIME.
package extract
