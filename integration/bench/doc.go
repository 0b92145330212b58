// Command bench measures lsmtpd as it is shipped: a static binary in a process
// of its own, default settings, real SMTP over loopback.
//
//	go run ./integration/bench memory
//	go run ./integration/bench speed
//
// "memory" sends the loads of the memory promise, each to a fresh lsmtpd, and
// compares the peak of its resident set (VmHWM of proc_pid_status(5), so on
// Linux only) with the promised limit; once with the directory store and once
// with S3. It exits with 1 when a limit is exceeded or a mail is not accepted.
//
// "speed" measures wire octets and mails per second beside a ceiling measured
// in the same run, and prints ratios. It asserts nothing.
//
// The broker is the node of bridge/devbroker, in the memory of this command and
// never in lsmtpd's. The S3 server is MinIO, in a process of its own, or what
// --s3 names; objects stay in the bucket of the latter. All else is ended and
// removed, also on an interrupt; only SIGKILL leaves the folder
// lsmtpd-bench-* among the temporary files, though no process on Linux. What
// this leaves out: other brokers, TLS, and networks that are not loopback.
package main
