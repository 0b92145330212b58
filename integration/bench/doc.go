// Command bench measures lsmtpd as it is shipped, a static binary in a process
// of its own, default settings, real SMTP over loopback; and its SMTP engine
// alone.
//
//	go run ./integration/bench memory
//	go run ./integration/bench memory --huge
//	go run ./integration/bench speed --before PROGRAM
//	go run ./integration/bench engine
//	go run ./integration/bench connections
//	go run ./integration/bench hostile
//
// "memory" sends the loads of the memory promise, each to a fresh lsmtpd, and
// compares the peak of its resident set (VmHWM of proc_pid_status(5), so on
// Linux only) with the promised limit; once with the directory store and once
// with S3. It exits with 1 when a limit is exceeded or a mail is not accepted.
// With --huge it sends mails of 5 GB instead, by DATA and by BDAT, which are
// made while they are sent, with a store that throws everything away.
//
// "hostile" reads the messages of extract/hostile, of some four hundred kinds,
// in this very process as the bridge reads them, and prints what of processors
// that takes as a ratio to a plain copy of the same octets with SHA-256. It
// exits with 1 when a ratio is above 10 with the default limits, or above 30
// with the limits raised out of the way. Linux only.
//
// The others assert nothing; they print ratios. "speed" measures wire octets
// and mails per second beside a ceiling measured in the same run, and beside
// another lsmtpd where --before names one. "engine" measures bridge/smtpd beside
// go-smtp's server, both with a Session that throws mail away, and beside a
// reader that looks at nothing. "connections" measures the memory of idle
// connections, and mail that flows beside 10,000 of them. In these three the
// server has a processor for itself, and this command, with its clients, node
// and null store, another: Linux only, two processors. As machines are seldom
// quiet, the processor time of the server is printed beside each rate, and its
// ratio is the steadier one.
//
// The broker is the node of bridge/devbroker, in the memory of this command and
// never in lsmtpd's. The S3 server of "memory" is MinIO, in a process of its
// own, or what --s3 names; objects stay in the bucket of the latter. The null
// store is an S3 server in the memory of this command that keeps nothing but
// lengths. All else is ended and removed, also on an interrupt; only SIGKILL
// leaves the folder lsmtpd-bench-* among the temporary files, though no process
// on Linux. What this leaves out: other brokers, TLS but for "connections", and
// networks that are not loopback.
package main
