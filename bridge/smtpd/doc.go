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
// holds a window of four kilobytes.
//
// How a message ends is decided in data.go and chunks.go and nowhere else: after
// CRLF.CRLF, or after all octets of a last chunk. Every other end, by FIN, by a
// TLS close, by a reset, a timeout or another command, is an error that no
// reader can take for it.
//
// # Limits
//
// Each limit is a setting, and counted by its name in
// lsmtpd_smtp_limit_reached_total. What it does, and its default:
//
//	smtp.max_connections         1000    421 4.7.0 in the place of the greeting; an smtps connection is closed
//	smtp.max_connections_per_ip  50      the same; of the client that a PROXY header names, and none for a peer in smtp.xclient_from
//	smtp.max_message_bytes       1 GiB   552 5.3.4 to MAIL with SIZE, else after the end of data
//	smtp.max_recipients          1000    452 4.5.3 to RCPT
//	smtp.max_transactions        10000   421 4.7.0 to MAIL, close
//	smtp.max_commands            1000    421 4.7.0, close: commands since the last message, taken or refused, but accepted RCPT, DATA and BDAT
//	smtp.max_errors              50      421 4.7.0, close: replies of 5xx since the last message, taken or refused
//	smtp.auth.max_attempts       3       421 4.7.0, close
//	smtp.allow                   all     550 5.1.1 to RCPT
//	smtp.bare_newlines           reject  550 5.6.0 after the end of data
//	smtp.proxy_from              none    close, without a PROXY header
//	smtp.command_timeout         5 min   421 4.4.2, close: for all of a command line
//	smtp.handshake_timeout       1 min   close
//	smtp.data_timeout            3 min   421 4.4.2, close: nothing arrives of a message
//	smtp.min_rate                100     421 4.4.2, close: octets a second of a message, averaged over a minute of waiting for the client,
//	                                     of which a single pause counts for 30 s at most
//	smtp.write_timeout           1 min   close
//	smtp.reply_timeout           9 min   the transaction is ended, and answered as the promise says
//	smtp.drain_bytes             64 MiB  the reply of the refusal, 421 4.7.0, close
//	smtp.drain_timeout           30 s    the same
//
// Two more are no settings: a command line may have 12,288 octets, else 500
// 5.5.2, and one that does not end within 64 KiB is answered 421 4.7.0 and
// closed (counted as command_line); so are requests of HTTP (http).
package smtpd
