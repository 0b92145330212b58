// Package corpus holds no code: its tests, with the build tag integration, send every message of every corpus of mail
// that package testbed knows, as it is, through the lsmtpd program, and compare what was published with the octets that
// were sent and with what others make of them: CPython's email package, enmime, and RFC 8621's algorithm of body lists
// written down once more.
//
// No two readers of malformed mail agree. Where lsmtpd reads something else than a witness, a table in the tests says
// why; a difference that is in no table fails, and so does a row that no difference is left for.
package corpus
