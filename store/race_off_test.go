//go:build !race

package store_test

const defaultCrashCuts = 12000

// raced is whether the race detector watches.
const raced = false
