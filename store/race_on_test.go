//go:build race

package store_test

// The race detector makes everything about ten times slower.
const defaultCrashCuts = 1000

// raced is whether the race detector watches.
const raced = true
