//go:build race

package fs_test

const (
	defaultModelRuns     = 25
	defaultCrashOutcomes = 400
)
