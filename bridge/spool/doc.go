// Package spool keeps on disk what lsmtpd has promised and could not deliver yet, and what it is about to do to the
// object store, so that a crash at any moment loses no acknowledged mail and leaves no object that nobody knows of.
//
// # The directory
//
//	lock      held by the one process that owns the directory
//	version   of the format, a number
//	journal   intents: what transactions are doing to the store
//	tmp/      records being written; what a crash leaves here was never acknowledged
//	new/      records that wait to be delivered
//	failed/   records set aside: damaged, refused for good, or tried too often. They are never deleted by lsmtpd
//	retry/    records that an operator wants tried again, removed/ those to be removed; both are emptied by the owner
//
// A record is written to tmp, synced, renamed to new, and the directory is synced, before anybody is told that the
// message is safe. Records written at the same time share the sync of the directory, and intents that of the journal.
//
// # Records
//
// A prepared record (ID.prepared, the id of a delivery) is a schema.Message with its destination: its objects are in
// the store, and it is fitted anew to whatever link it will be sent on. A raw record (ID.raw, the id of a transaction)
// holds the message octet for octet with its SMTP envelope. Ids are UUIDv7, so that names sort by age. A record file has
//
//	lsmtpd-spool 1 prepared 0000000000012345 0000000321 1a2b3c4d\n   format, kind, lengths in octets, CRC-32C of what follows
//	the payload: the message in JSON, or the octets as received
//	the header: one line of JSON
//	notes: a line of JSON each, added later: tries, and that a transfer was begun. A torn last one does not count.
//
// # Intents
//
// A transaction that uploads says so in the journal before its first request, and says what it is about to do to the
// objects before it does it; the states are in intent.go. A mail without uploads writes nothing there. The journal is
// one file of lines, each with its CRC-32C, appended in room that was reserved before; behind the last line it is zeros.
// When it has grown it is written anew, to the file of the journal before that one (tmp/journal), so that none of this
// needs room on a full disk.
//
// # Whose turn it is
//
// Records wait in memory by address, oldest first; raw ones wait for the store alone. Of those that are due, the one of
// the address with the fewest under way is taken, and some takers are left for addresses that have few, so that one that
// holds up its mail does not hold up that for others. A record that failed waits from 1 s up to 5 minutes; one whose
// address has no link, until it has one.
//
// # What it costs
//
// About 60 octets of memory for each waiting record. A record written alone costs a sync of its file and one of the
// directory; an intent one of the journal.
package spool
