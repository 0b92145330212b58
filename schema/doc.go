// Package schema is the message that lsmtpd publishes: one JSON document a
// delivery, in the words of JMAP. Email is RFC 8621 §4, Envelope its §7; the
// names of the fields, their types and their meaning are those of the RFC, and
// blobs say where the octets of each body part are.
//
// The package holds the Go types, their JSON encoding, what of the message
// stands in the AMQP 1.0 sections around it (properties, and application
// properties with the CloudEvents 1.0 attributes), and the algorithm of RFC
// 8621 §4.1.4 that sorts body parts into textBody, htmlBody and attachments.
// It does no I/O and imports nothing of lsmtpd, so a consumer written in Go can
// use it to read what it receives. JSONSchema is the same contract for
// everybody else (draft 2020-12), with examples beside it.
//
// What is absent is null, never left out, except the members of a blob that
// say where its octets are. The schema only grows within version 1: a consumer
// ignores members it does not know.
package schema
