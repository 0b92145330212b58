// Package devbroker is an AMQP 1.0 node (OASIS Standard, October 2012) whose addresses are queues in memory: the broker
// inside "lsmtpd demo", and, with scripted faults, the peer of the tests. It is no broker for mail that matters: nothing is
// kept on disk.
package devbroker
