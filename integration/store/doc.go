// Package store holds no code: its tests, with the build tag integration, put lsmtpd's object store through its
// conformance suite on real S3 servers: MinIO and versitygw.
package store
