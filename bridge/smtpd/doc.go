// Package smtpd receives mail: listeners for SMTP, SMTP over TLS and LMTP,
// sessions, and an orderly end of both. What is received goes to a Session, a
// bridge.Session in the program, and the replies come from there.
//
// It implements RFC 5321 for a receiver, with the extensions SIZE (RFC 1870),
// PIPELINING (2920), CHUNKING and BINARYMIME (3030), 8BITMIME (6152), SMTPUTF8
// (6531), ENHANCEDSTATUSCODES (2034), STARTTLS (3207), AUTH (4954; PLAIN and
// LOGIN), LIMITS (9422), Postfix's XCLIENT and HAProxy's PROXY protocol, and
// LMTP (2033). DSN and REQUIRETLS are not offered: they bind a host that sends mail.
//
// A session is one goroutine. It reads commands, and while a message arrives
// the Session reads it straight from the connection: nothing is read ahead of
// it, so a slow store or broker slows the sender by TCP. An idle connection
// holds a window of a kilobyte.
//
// How a message ends is decided in data.go and chunks.go and nowhere else: after
// CRLF.CRLF, or after all octets of a last chunk. Every other end, by FIN, by a
// TLS close, by a reset, a timeout or another command, is an error that no
// reader can take for it.
package smtpd
