// Package route tells where the mail of a recipient goes, by an ordered list of
// routes of which the first that matches wins. A route maps patterns of
// addresses to a destination: an AMQP address, and the subject and the group-id
// of what is published there.
//
// # Patterns
//
// A pattern is an address (in@example.com), a domain (example.com, *@example.com
// or @example.com: that domain, not those below it), either with * for any run of
// characters, also for none, on its side of the @ (scan+*@example.com,
// *.example.com), or a regular expression between slashes. The list of recipients
// that mail is taken for, smtp.allow, is made of the same patterns.
//
// Patterns see addresses in one form, in which what means the same is the same:
//
//   - Upper and lower case are the same. In domains they always are; in local parts
//     it is up to the host that receives (RFC 5321 §2.4), which is us, and no sender
//     is known to mean two people by Info@ and info@.
//   - A quoted local part is what it says without the quoting (RFC 5321 §4.1.2), and
//     in Unicode's normalization form C.
//   - A domain is in A-labels (RFC 5890 §2.3.2.1), without the dot that some write
//     behind it.
//
// A regular expression has Go's syntax, that of RE2, and must match all of this
// form, local part, @ and domain, whether or not it is written with ^ and $. Its
// own case does not matter, as with (?i) before it. A slash within it is written \/.
//
// # Templates
//
// An address, a subject or a group-id may hold {rcpt.domain}, the recipient's
// domain in lower case and A-labels, checked to be one. Nothing else that a client
// wrote gets into it. An address literal such as [192.0.2.1] has no domain.
//
// # Limits
//
// Addresses and domains are found in maps, and so are patterns of local parts by
// their domain, whatever the number of routes. Regular expressions and patterns of
// domains are tried one by one, up to the first route that is known to match.
//
// Opening links, and what a route's offload threshold and its wish for the raw
// message do to a message, are left to those who ask: where routes of one message
// differ, the smallest threshold counts, and the raw message is stored if any
// route wants it.
package route
