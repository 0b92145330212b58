// Package store holds no code: its tests, with the build tag integration, put lsmtpd's object store through its
// conformance suite on a real S3 server.
package store
