//go:build !race

package store_test

const defaultCrashCuts = 12000
