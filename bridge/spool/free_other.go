//go:build !linux && !darwin && !freebsd

package spool

// freeBytes is not known here: spool.min_free_bytes has no effect.
func freeBytes(string) (int64, bool) { return 0, false }
