//go:build !race

package fs_test

const (
	defaultModelRuns     = 100
	defaultCrashOutcomes = 2500
)
