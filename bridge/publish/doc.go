// Package publish hands deliveries to AMQP 1.0 brokers and says, of each, what
// became of it.
//
// A Publisher keeps a session and a sending link for every destination (a
// destination is an address), some tens of them on a connection to one broker of
// a list, and makes anew what was lost, with jittered backoff. Publish returns nil for one
// outcome only: the broker settled the delivery as accepted (AMQP 1.0 §3.4.2).
// Everything else is an *Error whose Outcome says how far the delivery came:
// never sent, refused for now, refused for good, in doubt, or too large.
//
// The line between never sent and in doubt is exact. A transfer frame is
// written under a gate that the frame itself opens: while the gate is unopened
// a delivery can be given up for certain, once it is open it cannot.
//
// A delivery in doubt is sent again with the same message-id while its deadline
// lasts. Link resumption (AMQP 1.0 §2.6.13) and transactions are left out.
package publish
