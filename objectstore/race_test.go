//go:build race

package objectstore

// slowdown is what the race detector makes of the time that a request takes.
const slowdown = 3
