// Package devbroker is an AMQP 1.0 node (OASIS Standard, October 2012) whose addresses are queues in memory. It is the
// broker inside "lsmtpd demo" and, with scripted faults, the peer of the tests. It is no broker for mail that matters:
// nothing is kept on disk.
//
// # What it does
//
// SASL PLAIN, ANONYMOUS and EXTERNAL, TLS; any number of sessions and links up to the limits of Config; links on which the
// client sends and links on which it receives; session windows and link credit both ways, drain and echo; deliveries of
// many frames both ways, within the max-frame-size of either side; the max-message-size of either side; settled and unsettled
// deliveries, rcv-settle-mode first and second; all four outcomes from receivers; idle time-outs and heartbeats.
//
// An address becomes a queue when it is first attached to. A message is kept and sent on octet for octet, all its sections;
// only the delivery-count of its header is raised when a delivery failed. Receivers compete. A message goes back to its place
// in the queue when it is released, when it is modified without undeliverable-here, and when link, session or connection end before it
// is settled; the last is counted as a failed delivery. It is gone when it is accepted, rejected or undeliverable. A message that is no
// AMQP message is rejected with amqp:decode-error, one that the queue has no room for with amqp:resource-limit-exceeded.
//
// Everything has a limit, see Config. A client that does not read holds up only itself: its messages wait in the queue, and
// it is not read either once it has caused 1 MiB of replies.
//
// # What it leaves out
//
// Topics, dynamic nodes, the anonymous terminus, transactions, link recovery and link stealing, time to live, priorities,
// dead letters, browsing (distribution-mode copy is refused), and filters (a source filter is not applied, and left out of the attach that
// answers). Frames with symbolic descriptors, and arrays of described values anywhere, are legal AMQP that the codec cannot
// read: they end the connection, or get the message rejected, with amqp:decode-error. Message sections may have symbolic descriptors.
//
// # In a test
//
//	broker, url := devbroker.Start(t, devbroker.Config{})
//	in := broker.Script("in")
//	in.Delivery(1).IsRejected("amqp:resource-limit-exceeded", "full")
//	lost := in.Delivery(2).Stored().ResetsConnection() // in the queue, but its sender never learns
//
//	// ... let the code under test send to "in" at url ...
//
//	<-lost.Arrived()
//	messages, err := broker.WaitMessages(ctx, "in", 1)
package devbroker
