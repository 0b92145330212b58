// Package faults breaks everything around lsmtpd, and lsmtpd itself, while many clients send it numbered mails, and then
// compares what was promised with what is there.
//
// Every mail has a number and content made from the seed and that number. A client sends it as a relay would, again and
// again until it gets its 250; the ledger notes every try and every reply. After a round of faults, rhea empties the
// queues, and then:
//
//   - every acknowledged mail is there, for each of its destinations, as it was sent, and every object it refers to
//     exists and has the right digest;
//   - no message refers to an object that is missing;
//   - no object is left that no message refers to, except those that "lsmtpd sweep" lists as in doubt, and no upload is
//     left unfinished;
//   - copies of one delivery have one id, copies of one mail one SHA-256, and there are no more copies than there were
//     deliveries in flight when something was cut;
//   - nothing was set aside.
//
// There is one test, TestFaults, with a subtest for each round. It prints a table of the faults by kind and the seed,
// and fails when a kind had fewer than its minimum. README.md says what the kinds are, and how to run it for long.
package faults
