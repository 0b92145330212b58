// Package clients tests lsmtpd as a program with the mail software that other people run: Postfix and Exim relaying to
// it, Postfix's load generator, swaks, Python's smtplib, and nodemailer. Each hands it mail by SMTP, LMTP, pipelined, in
// chunks, over TLS, with AUTH, as far as it can, and what was published is compared with what it was given. Broker and
// store are the smallest there are, except in the test of the whole way: package e2e is about those.
//
// Everything is behind the build tag integration. Postfix runs as root only.
package clients
