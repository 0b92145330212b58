// Package bridge takes a mail transaction from the receiving side to one
// settled delivery, or leaves nothing behind.
//
// A server of SMTP or LMTP drives it through Session: Mail, Rcpt, Deliver. While
// Deliver reads the message, its body parts go to the envelope or to the object
// store as they arrive; at the end of data the envelope is fitted to the link
// and published. A nil error for a recipient is the promise of a 250: every
// object is complete in the store and the broker settled the delivery as
// accepted (RFC 5321 §6.1). Every other end is an *smtp.SMTPError made by
// replyFor, and the objects of the transaction are removed unless the broker
// may hold a message that refers to them.
//
// The package leaves the wire to bridge/smtpd, MIME to extract, buckets to
// objectstore and links to bridge/publish.
package bridge
