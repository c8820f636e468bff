package fs_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the random tests, 0 for a new one")
	modelRuns = flag.Int("model.runs", defaultModelRuns, "how many volumes TestModel goes through")
)

var bg = context.Background()

func newSeed(t testing.TB) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return s
}
