// Package e2e holds no code: its tests, with the build tag integration, run the lsmtpd program as it is shipped
// between real SMTP clients, AMQP brokers, object stores and consumers, and look at what came out of it on the other
// side with none of lsmtpd's own code, except for the types of package schema.
//
// LSMTPD_TEST_LARGE_MB is the size of the large attachment in megabytes, 500 unless set. What else the environment can
// say is described in package testbed. The tests do not run in parallel: they stop and start the servers they share.
//
// What needs strace and the right to trace, the right to mount a tmpfs, or that to give capabilities away, is skipped
// without it.
package e2e
