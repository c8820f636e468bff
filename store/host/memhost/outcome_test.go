package memhost_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// pend returns a host on which appends of these sizes to one segment are pending,
// which is synced and begins off the edge of a sector, and so many deletes.
func pend(t *testing.T, deletes int, sizes ...int) *memhost.Host {
	t.Helper()
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(memhost.SectorSize/2, 's')))
	must(t, w.Sync(ctx, 1))
	for i := range deletes {
		id := 2 + i
		must(t, w.Create(ctx, segment(id), capacity))
		must(t, w.Sync(ctx, segment(id)))
	}
	for i := range deletes {
		must(t, w.Delete(ctx, segment(2+i)))
	}
	off := int64(memhost.SectorSize / 2)
	for i, size := range sizes {
		must(t, w.Append(ctx, 1, off, fill(size, byte('a'+i))))
		off += int64(size)
	}
	return h
}

// left tells what of the pending changes is found on h, as an Outcome would.
func left(t *testing.T, h *memhost.Host, deletes int, sizes ...int) string {
	t.Helper()
	var s []byte
	for i := range deletes {
		s = append(s, "01"[b2i(h.Segment(segment(2+i)) == nil)])
	}
	off := memhost.SectorSize / 2
	for i, size := range sizes {
		s = append(s, ' ')
		b := read(t, h, 1, int64(off), size)
		for at := 0; at < size; {
			n := min(size-at, memhost.SectorSize-(off+at)%memhost.SectorSize)
			switch part := b[at : at+n]; {
			case bytes.Equal(part, fill(n, byte('a'+i))):
				s = append(s, '1')
			case bytes.Equal(part, make([]byte, n)):
				s = append(s, '0')
			default:
				t.Fatalf("append %d, byte %d: a part is torn", i, at)
			}
			at += n
		}
		off += size
	}
	return string(s)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestOutcomes(t *testing.T) {
	const half, sector = memhost.SectorSize / 2, memhost.SectorSize
	for _, test := range []struct {
		deletes int
		sizes   []int
		covered memhost.Coverage
		count   int // of different outcomes; at least, where they are sampled
		has     []string
	}{
		{0, nil, memhost.Everything, 1, []string{""}},
		{2, nil, memhost.Everything, 4, []string{"00", "01", "10", "11"}},
		{0, []int{half}, memhost.Everything, 2, []string{" 0", " 1"}},
		{1, []int{half, 3 * sector}, memhost.Everything, 2 * 2 * 8, []string{"0 1 010", "1 0 111", "0 0 101"}},
		{2, []int{half, 7 * sector}, memhost.Everything, 1 << 10, []string{"00 0 0000000", "01 1 1010101", "11 0 0000001"}},
		// Eleven parts: all tears, and others.
		{2, []int{half, 8 * sector}, memhost.EveryTear, 4 * 2 * 9, []string{"00 0 00000000", "01 1 11111110", "11 0 10000000"}},
		{0, []int{half, 31 * sector, 15 * sector}, memhost.EveryTear, 1 << 10, nil},
		{4, []int{half, 31 * sector, 31 * sector}, memhost.Sampled, 200, nil},
		{16, nil, memhost.Sampled, 900, nil},
	} {
		t.Run(fmt.Sprint(test.deletes, test.sizes), func(t *testing.T) {
			h := pend(t, test.deletes, test.sizes...)
			pending := h.Pending()
			if got := memhost.Covered(pending); got != test.covered {
				t.Fatalf("covered: %d, want %d", got, test.covered)
			}
			calls, seen := 0, map[string]bool{}
			for o := range memhost.Outcomes(pending, 1) {
				calls++
				found := left(t, h.Crash(memhost.CrashOptions{Outcome: o, KeepGround: true}), test.deletes, test.sizes...)
				if want := plain(o, test.deletes); found != want {
					t.Fatalf("found %s, want %s", found, want)
				}
				seen[found] = true
			}
			switch {
			case test.covered == memhost.Everything && (calls != test.count || len(seen) != test.count):
				t.Errorf("%d outcomes, %d different ones, want %d", calls, len(seen), test.count)
			case test.covered != memhost.Everything && calls != memhost.MaxOutcomes:
				t.Errorf("%d outcomes, want %d", calls, memhost.MaxOutcomes)
			case len(seen) < test.count:
				t.Errorf("%d different outcomes, want %d", len(seen), test.count)
			}
			for _, s := range test.has {
				if !seen[s] {
					t.Errorf("outcome %q is missing", s)
				}
			}
		})
	}
}

// plain writes an outcome as left does: the deletes come first.
func plain(o memhost.Outcome, deletes int) string {
	var s []byte
	for i, parts := range o {
		if i >= deletes {
			s = append(s, ' ')
		}
		for _, there := range parts {
			s = append(s, "01"[b2i(there)])
		}
	}
	return string(s)
}

// Where tears are all listed, each pair of them is, whatever the order of the writes.
func TestOutcomesTearEverywhere(t *testing.T) {
	h := pend(t, 0, memhost.SectorSize/2, 31*memhost.SectorSize, 15*memhost.SectorSize)
	seen := map[[3]int]bool{}
	for o := range memhost.Outcomes(h.Pending(), 1) {
		if n, ok := prefixes(o); ok {
			seen[n] = true
		}
	}
	if want := 2 * 32 * 16; len(seen) != want {
		t.Errorf("%d combinations of tears, want %d", len(seen), want)
	}
}

// prefixes returns how many parts of each change are there, if these are its first.
func prefixes(o memhost.Outcome) (n [3]int, ok bool) {
	for i, parts := range o {
		for n[i] < len(parts) && parts[n[i]] {
			n[i]++
		}
		for _, there := range parts[n[i]:] {
			if there {
				return n, false
			}
		}
	}
	return n, true
}

// The seed, and nothing else, decides what is sampled.
func TestOutcomesBySeed(t *testing.T) {
	pending := pend(t, 3, 40*memhost.SectorSize, 40*memhost.SectorSize).Pending()
	list := func(seed uint64) (all []string) {
		for o := range memhost.Outcomes(pending, seed) {
			all = append(all, plain(o, 3))
		}
		return all
	}
	a, again, b := list(1), list(1), list(2)
	if fmt.Sprint(a) != fmt.Sprint(again) {
		t.Error("one seed gives two lists")
	}
	if fmt.Sprint(a) == fmt.Sprint(b) {
		t.Error("two seeds give one list")
	}
	n := 0
	for range memhost.Outcomes(pending, 1) {
		if n++; n == 7 {
			break
		}
	}
	if n != 7 {
		t.Errorf("the list ended after %d", n)
	}
}

func segment(n int) host.SegmentID { return host.SegmentID(n) }
