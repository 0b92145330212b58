// Package bridge takes a mail transaction from the receiving side to settled
// deliveries, or leaves nothing behind.
//
// A server of SMTP or LMTP drives it through Session: Mail, Rcpt, Deliver. While
// Deliver reads the message, its body parts go to the envelope or to the object
// store as they arrive, and with raw: store so does the message itself, octet for
// octet; at the end of data the envelope is fitted to the link
// and published. A nil error for a recipient is the promise of a 250: every
// object is complete in the store and the broker settled the delivery as
// accepted (RFC 5321 §6.1), or the message is in the spool, on disk. Every other
// end is an *smtp.SMTPError made by replyFor, and the objects of the transaction
// are removed unless a message that refers to them may exist.
//
// The package leaves the wire to bridge/smtpd, MIME to extract, buckets to
// objectstore, links to bridge/publish and files to bridge/spool.
//
// # Faults
//
// keep.go says which deliveries go to the spool instead, raw.go which messages
// do before they are read; replay.go delivers from there. What is done to the
// store is noted in the spool's journal before it is done; resolve.go ends, after
// a crash, what was under way, and Sweeper removes what instances have left.
// Nothing is ever inferred from what a bucket holds.
//
// # Duplicates
//
// Delivery is at least once. A second copy of a message can arise where the
// first one's outcome, or the reply to it, is lost:
//
//   - The link ends, or settle_timeout does, after a transfer was begun and before
//     its outcome is known: the delivery is sent again, on another link, or from
//     the spool. The copy has the same id.
//   - The program dies after the outcome and before the record of the spool is
//     removed: the next start sends it again, with the same id.
//   - The client does not get its 250, because it or the program goes away in that
//     moment, or gets 451 4.4.2 for an outcome in doubt, and sends the mail once
//     more: a new transaction, whose deliveries have new ids. The copies have the
//     same email.sha256, mailFrom and rcptTo.
//
// So there are at most as many copies as there were deliveries in flight at such
// a moment: 128 a link and 48 from the spool, and one for each session that waits
// for its reply. Nothing else makes a copy: a slow broker has until
// settle_timeout before anything is sent again.
//
// The id is the AMQP message-id, and on Artemis the application property
// _AMQ_DUPL_ID. Artemis drops a second copy of the last 20,000 ids of an address
// (id-cache-size), and Azure Service Bus where duplicate detection is on for the
// entity, within its window; both settle the copy as accepted. Broker-J and
// RabbitMQ keep it: their consumers remember ids for as long as a copy may take,
// and whoever must not handle a mail twice that was sent twice remembers
// email.sha256 with the envelope.
package bridge
