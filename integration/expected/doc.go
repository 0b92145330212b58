// Package expected compares what lsmtpd reads from the test messages of two other readers of mail, letters and
// enmime, with what their own tests expect: subjects, addresses, dates, texts, structures, names and content of files.
// What letters expects is read out of its tests; what enmime asserts stands here as a table. Where lsmtpd differs on
// purpose, a table of exceptions says why; a difference that is not in it fails, and so does an exception that is none.
//
// Everything is behind the build tag integration: both come from Go's module proxy.
package expected
