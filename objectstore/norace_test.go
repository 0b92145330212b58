//go:build !race

package objectstore

const slowdown = 1
