//go:build race

package store_test

// The race detector makes everything about ten times slower.
const defaultCrashCuts = 1000
