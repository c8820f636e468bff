package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

const block = 4096

// overwriter overwrites blocks of one object at random.
type overwriter struct {
	s      *store.Store
	rng    *rand.Rand
	blocks int
	data   []byte
	waits  []time.Duration // of each write
}

// write writes n blocks, committing after every so many.
func (o *overwriter) write(n, commitEvery int, next func(i int) int) error {
	ctx := context.Background()
	for i := range n {
		began := time.Now()
		if err := o.put(next(i)); err != nil {
			return fmt.Errorf("block %d of %d: %w", i, n, err)
		}
		if i%commitEvery == commitEvery-1 {
			if err := o.s.Commit(ctx); err != nil {
				return err
			}
		}
		o.waits = append(o.waits, time.Since(began))
	}
	return o.s.Commit(ctx)
}

func (o *overwriter) put(at int) error {
	ctx := context.Background()
	f := o.s.NewFlush()
	defer f.Close()
	extents, err := f.Seal(ctx, 1, uint64(at)*block, o.data)
	if err != nil {
		return err
	}
	return o.s.UpdateFreeing(ctx, func(tx *store.Tx) error {
		k := store.Key{Object: 1, Type: store.TypeExtent, Sub: uint64(at+1) * block}
		if err := punch(tx, 1, k.Sub-block, k.Sub); err != nil { // cleaning joins neighbours
			return err
		}
		return tx.Put(k, extents[0].Append(nil))
	})
}

// amplification fills a part of a volume, overwrites it at random until the state
// is steady, and returns how many bytes went to the host for one of the user's.
func amplification(tb testing.TB, capacity int64, percent int) (float64, []time.Duration) {
	tb.Helper()
	v := memhost.New(memhost.Options{Forgetful: true})
	storetest.Create(tb, v, capacity)
	s := storetest.Open(tb, v)
	space := s.Space()
	o := &overwriter{s: s, rng: newRand(tb), data: make([]byte, block)}
	o.blocks = int((space.Used+space.Available)*int64(percent)/100) / (block + 150) // with its share of the tree
	if err := o.write(o.blocks, 64, func(i int) int { return i }); err != nil {
		tb.Fatal(err)
	}
	random := func(int) int { return o.rng.IntN(o.blocks) }
	if err := o.write(2*o.blocks, 64, random); err != nil {
		tb.Fatal(err)
	}
	o.waits = nil
	before, forced := v.Stats().BytesAppended, s.Forced()
	if err := o.write(2*o.blocks, 64, random); err != nil {
		tb.Fatal(err)
	}
	wa := float64(v.Stats().BytesAppended-before) / float64(2*o.blocks*block)
	space = s.Space()
	slices.Sort(o.waits)
	tb.Logf("%d MiB, %d %% full: amplification %.2f, a write takes %v at the median, %v at 99 %%, %v at most, room was made %d times by who wrote",
		capacity>>20, 100*space.Used/(space.Used+space.Available), wa,
		o.waits[len(o.waits)/2], o.waits[len(o.waits)*99/100], o.waits[len(o.waits)-1], s.Forced()-forced)
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return wa, o.waits
}

func TestAmplification(t *testing.T) {
	for _, c := range []struct {
		percent int
		limit   float64
	}{{50, 1.5}, {80, 3}} {
		if wa, _ := amplification(t, 128<<20, c.percent); wa > c.limit {
			t.Errorf("at %d %%: %.2f bytes for one, more than %.1f", c.percent, wa, c.limit)
		}
	}
}

// BenchmarkAmplification measures larger volumes.
func BenchmarkAmplification(b *testing.B) {
	for _, percent := range []int{50, 80, 90, 95} {
		b.Run(fmt.Sprintf("%d%%", percent), func(b *testing.B) {
			for range b.N {
				wa, waits := amplification(b, 512<<20, percent)
				b.ReportMetric(wa, "host/user")
				b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-us")
			}
		})
	}
}
