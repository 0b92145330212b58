// Package smtpd receives mail: listeners for SMTP, SMTP over TLS and LMTP,
// sessions, and an orderly end of both. What is received goes through
// bridge.Session, one for each transaction, and the replies come from there.
//
// The protocol itself is go-smtp's server for now (RFC 5321 with PIPELINING,
// 8BITMIME, SIZE, CHUNKING, BINARYMIME, SMTPUTF8, STARTTLS, ENHANCEDSTATUSCODES).
// Its limits are named in the README.
package smtpd
