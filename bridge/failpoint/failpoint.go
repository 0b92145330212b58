// Package failpoint kills the process at a named step, so that tests can show what a crash there leaves behind.
//
// Only a build with the tag failpoints does so: there, the environment variable LSMTPD_FAILPOINT names the step, and
// after a colon which time it is come to, the first by default ("spool.synced:3"); LSMTPD_FAILPOINT_CLOCK has the ids of
// transactions and deliveries made by a clock that is ahead by that duration, as it was before it stepped back. In every
// other build Hit is empty, and the compiler leaves it out.
package failpoint

// Names are the steps, in about the order in which a message comes to them.
var Names = []string{
	"raw.written", "raw.durable",
	"intent.uploading.written", "intent.uploading.synced",
	"upload.part", "upload.complete",
	"data.ended",
	"intent.publishing.written", "intent.publishing.synced",
	"transfer.begun", "transfer.settled",
	"spool.written", "spool.synced", "spool.renamed", "spool.durable",
	"intent.refused.synced", "undo.deleted", "intent.dropped",
	"reply.before", "reply.after",
	"replay.begun", "replay.extracted", "replay.prepared", "replay.raw.removed",
	"replay.fitted", "replay.sent.synced", "replay.settled", "replay.removed",
}
