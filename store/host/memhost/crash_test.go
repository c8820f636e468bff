package memhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

const capacity = 1 << 20

var ctx = context.Background()

func acquire(t *testing.T, h *memhost.Host) host.Writer {
	t.Helper()
	w, err := h.Acquire(ctx, host.AcquireOptions{Owner: t.Name()})
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, r host.Reader, id host.SegmentID, off int64, size int) []byte {
	t.Helper()
	p := make([]byte, size)
	_, err := r.Read(ctx, id, off, p)
	must(t, err)
	return p
}

func fill(size int, b byte) []byte { return bytes.Repeat([]byte{b}, size) }

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(5000, 'a')))
	must(t, w.Sync(ctx, 1))
	must(t, w.Append(ctx, 1, 5000, fill(5000, 'b')))
	must(t, w.Create(ctx, 2, capacity))
	_, err := w.Swap(ctx, "root", "", []byte("one"))
	must(t, err)

	after := h.Crash(memhost.CrashOptions{Decide: memhost.DropAll, KeepGround: true})
	if got := read(t, after, 1, 0, 10000); !bytes.Equal(got, append(fill(5000, 'a'), make([]byte, 5000)...)) {
		t.Error("synced bytes are lost, or others are not")
	}
	if got := after.SegmentIDs(); !slices.Equal(got, []host.SegmentID{1}) {
		t.Errorf("segments %v, want [1]", got)
	}
	if got := string(after.Record("root")); got != "one" {
		t.Errorf("record %q, want one", got)
	}
	acquire(t, after)
	if err := w.Append(ctx, 1, 10000, nil); !errors.Is(err, memhost.ErrCrashed) || host.Refused(err) {
		t.Errorf("append on a dead host: %v", err)
	}
	if _, err := h.Get(ctx, "root"); !errors.Is(err, memhost.ErrCrashed) {
		t.Errorf("get on a dead host: %v", err)
	}
}

func TestCrashFates(t *testing.T) {
	const size = 16 * memhost.SectorSize
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Sync(ctx, 1))
	fates := []memhost.Fate{memhost.Drop, memhost.Keep, memhost.Tear, memhost.Shred}
	for i := range fates {
		must(t, w.Append(ctx, 1, int64(i)*size, fill(size, 'a')))
	}
	decide := func(i int, p memhost.Pending) memhost.Fate { return fates[p.Off/size] }
	prefixes, shreds := map[int]bool{}, map[string]bool{}
	for seed := range uint64(300) {
		after := h.Crash(memhost.CrashOptions{Seed: seed, Decide: decide, KeepGround: true})
		got := read(t, after, 1, 0, 4*size)
		if bytes.ContainsRune(got[:size], 'a') {
			t.Fatalf("seed %d: a dropped append left something", seed)
		}
		if !bytes.Equal(got[size:2*size], fill(size, 'a')) {
			t.Fatalf("seed %d: a kept append is damaged", seed)
		}
		prefix := bytes.Count(got[2*size:3*size], []byte("a"))
		if prefix%memhost.SectorSize != 0 || !bytes.Equal(got[2*size:3*size], append(fill(prefix, 'a'), make([]byte, size-prefix)...)) {
			t.Fatalf("seed %d: a torn append is not a prefix of sectors", seed)
		}
		prefixes[prefix/memhost.SectorSize] = true
		shreds[sectors(t, got[3*size:])] = true
	}
	if len(prefixes) != 16 {
		t.Errorf("%d different tears in 300 seeds, want 16", len(prefixes))
	}
	if len(shreds) < 100 {
		t.Errorf("%d different shreds in 300 seeds", len(shreds))
	}
}

// sectors says of each sector whether it is there, and that it is whole.
func sectors(t *testing.T, p []byte) string {
	var s []byte
	for sector := range slices.Chunk(p, memhost.SectorSize) {
		if !bytes.Equal(sector, fill(len(sector), sector[0])) {
			t.Fatal("a sector is half there")
		}
		s = append(s, sector[0])
	}
	return string(s)
}

func TestTearsFollowTheDiskNotTheAppend(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(700, 'a')))
	must(t, w.Sync(ctx, 1))
	must(t, w.Append(ctx, 1, 700, fill(600, 'b')))
	seen := map[int]bool{}
	for seed := range uint64(50) {
		after := h.Crash(memhost.CrashOptions{Seed: seed, KeepGround: true, Decide: func(int, memhost.Pending) memhost.Fate { return memhost.Tear }})
		got := read(t, after, 1, 0, 1300)
		if !bytes.Equal(got[:700], fill(700, 'a')) {
			t.Fatalf("seed %d: a tear reached into synced bytes", seed)
		}
		seen[bytes.Count(got, []byte("b"))] = true
	}
	if !seen[0] || !seen[1024-700] || len(seen) != 2 {
		t.Errorf("tears after %v bytes, want 0 and %d", seen, 1024-700)
	}
}

func TestCrashUndoesCreateAndDelete(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'a')))
	must(t, w.Sync(ctx, 1))
	must(t, w.Delete(ctx, 1))
	must(t, w.Create(ctx, 2, capacity))
	must(t, w.Append(ctx, 2, 0, fill(100, 'b')))
	must(t, w.Delete(ctx, 2))
	lists := map[string]bool{}
	for seed := range uint64(100) {
		after := h.Crash(memhost.CrashOptions{Seed: seed})
		lists[fmt.Sprint(after.SegmentIDs())] = true
	}
	for _, want := range []string{"[]", "[1]", "[2]", "[1 2]"} {
		if !lists[want] {
			t.Errorf("no crash found the segments %s", want)
		}
	}
	back := h.Crash(memhost.CrashOptions{Decide: func(_ int, p memhost.Pending) memhost.Fate {
		if p.Op == memhost.OpDelete {
			return memhost.Drop
		}
		return memhost.Keep
	}})
	if got := read(t, back, 2, 0, 100); !bytes.Equal(got, fill(100, 'b')) {
		t.Error("the deleted segment came back without its bytes")
	}
}

func TestCrashWithOneNumberTwice(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'a')))
	must(t, w.Delete(ctx, 1))
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'b')))
	found := map[string]bool{}
	for seed := range uint64(200) {
		p := h.Clone().Crash(memhost.CrashOptions{Seed: seed}).Segment(1)
		if p == nil {
			p = []byte("-")
		} else if len(p) == 0 {
			p = []byte("0")
		}
		found[string(p[:1])] = true
	}
	if len(found) != 4 {
		t.Errorf("segment 1 is one of %v after the crash, want all of a, b, 0 and -", found)
	}
	second := h.Clone().Crash(memhost.CrashOptions{Decide: func(i int, _ memhost.Pending) memhost.Fate {
		if i == 0 {
			return memhost.Drop // the first create
		}
		return memhost.Keep
	}})
	if !bytes.Equal(second.Segment(1), fill(100, 'b')) {
		t.Error("the second segment is lost because the first one never was")
	}
	must(t, w.Sync(ctx, 1))
	if got := h.Pending(); len(got) != 0 {
		t.Errorf("pending after sync: %v", got)
	}
	after := h.Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	if !bytes.Equal(after.Segment(1), fill(100, 'b')) {
		t.Error("the synced segment is lost with its predecessor")
	}
}

func TestPendingDeletesAreBounded(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	for id := range host.SegmentID(100) {
		must(t, w.Create(ctx, id+1, capacity))
		must(t, w.Append(ctx, id+1, 0, fill(100, 'a')))
		must(t, w.Delete(ctx, id+1))
	}
	if got := len(h.Pending()); got > 3*20 {
		t.Errorf("%d changes are pending", got)
	}
}

func TestSyncOfNewSegmentSettlesDeletes(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Sync(ctx, 1))
	must(t, w.Delete(ctx, 1))
	must(t, w.Create(ctx, 2, capacity))
	if got := len(h.Pending()); got != 2 {
		t.Fatalf("%d pending changes, want delete and create", got)
	}
	must(t, w.Sync(ctx, 2))
	if got := h.Pending(); len(got) != 0 {
		t.Errorf("pending after sync: %v", got)
	}
}

func TestCuts(t *testing.T) {
	// Calls: acquire 0, create 1, append 2, sync 3, swap 4.
	run := func(h *memhost.Host) error {
		w, err := h.Acquire(ctx, host.AcquireOptions{})
		if err == nil {
			err = w.Create(ctx, 1, capacity)
		}
		if err == nil {
			err = w.Append(ctx, 1, 0, fill(100, 'a'))
		}
		if err == nil {
			err = w.Sync(ctx, 1)
		}
		if err == nil {
			_, err = w.Swap(ctx, "root", "", []byte("one"))
		}
		return err
	}
	tests := []struct {
		index           int
		how             memhost.Cut
		segment, record []bool // possible outcomes
	}{
		{1, memhost.CutBefore, []bool{false}, []bool{false}},
		{1, memhost.CutDuring, []bool{false, true}, []bool{false}},
		{2, memhost.CutBefore, []bool{false, true}, []bool{false}},
		{3, memhost.CutBefore, []bool{false, true}, []bool{false}},
		{3, memhost.CutDuring, []bool{false, true}, []bool{false}},
		{3, memhost.CutAfter, []bool{true}, []bool{false}},
		{4, memhost.CutBefore, []bool{true}, []bool{false}},
		{4, memhost.CutDuring, []bool{true}, []bool{false, true}},
		{4, memhost.CutAfter, []bool{true}, []bool{true}},
	}
	for _, test := range tests {
		h := memhost.New(memhost.Options{})
		h.CutAt(test.index, test.how)
		if err := run(h); !errors.Is(err, memhost.ErrCrashed) || host.Refused(err) {
			t.Errorf("cut %d of call %d: error %v", test.how, test.index, err)
		}
		segment, record := map[bool]bool{}, map[bool]bool{}
		for seed := range uint64(30) {
			after := h.Crash(memhost.CrashOptions{Seed: seed})
			segment[after.Segment(1) != nil] = true
			record[after.Record("root") != nil] = true
		}
		check := func(what string, got map[bool]bool, want []bool) {
			if len(got) != len(want) || !got[want[0]] {
				t.Errorf("cut %d of call %d: %s there: %v, want %v", test.how, test.index, what, got, want)
			}
		}
		check("segment", segment, test.segment)
		check("record", record, test.record)
	}
}

func TestCutSwapKeepsOldValue(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	v, err := w.Swap(ctx, "root", "", []byte("one"))
	must(t, err)
	h.CutAt(h.Calls(), memhost.CutDuring)
	if _, err := w.Swap(ctx, "root", v, []byte("two")); !errors.Is(err, memhost.ErrCrashed) {
		t.Fatal(err)
	}
	after := h.Crash(memhost.CrashOptions{Decide: memhost.DropAll})
	r, err := after.Get(ctx, "root")
	must(t, err)
	if string(r.Value) != "one" || r.Version != v {
		t.Errorf("record is %q in %q after a swap that did not happen", r.Value, r.Version)
	}
}

func TestGround(t *testing.T) {
	h := memhost.New(memhost.Options{Spares: 1})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(2000, 'a')))
	must(t, w.Delete(ctx, 1))
	must(t, w.Create(ctx, 2, capacity))
	must(t, w.Append(ctx, 2, 0, fill(500, 'b')))
	if got := read(t, w, 2, 0, 2000); !bytes.Equal(got, append(fill(500, 'b'), fill(1500, 'a')...)) {
		t.Error("recycled space does not show what was there")
	}

	must(t, w.Create(ctx, 3, capacity))
	must(t, w.Sync(ctx, 3))
	junk := 0
	for seed := range uint64(40) {
		after := h.Crash(memhost.CrashOptions{Seed: seed})
		whole := read(t, after, 3, 0, 4099)
		if !bytes.Equal(read(t, after, 3, 1001, 777), whole[1001:1778]) {
			t.Fatalf("seed %d: unwritten space reads differently at another offset", seed)
		}
		if !bytes.Equal(whole, make([]byte, 4099)) {
			junk++
		}
	}
	if junk == 0 || junk == 40 {
		t.Errorf("unwritten space is junk after %d of 40 crashes", junk)
	}
}

func TestGrowingEnds(t *testing.T) {
	h := memhost.New(memhost.Options{GrowingEnds: true})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'a')))
	must(t, w.Sync(ctx, 1))
	must(t, w.Append(ctx, 1, 100, fill(100, 'a')))
	size := func(r host.Reader) int64 {
		infos, err := r.Segments(ctx)
		must(t, err)
		return infos[0].Size
	}
	if got := size(w); got != 200 {
		t.Errorf("size %d before the crash, want 200", got)
	}
	if got := size(h.Crash(memhost.CrashOptions{Decide: memhost.DropAll})); got != 100 {
		t.Errorf("size %d after the crash, want 100", got)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'a')))
	c := h.Clone()
	must(t, w.Append(ctx, 1, 100, fill(100, 'b')))
	c.FlipBit(1, 50, 0)
	c.Overwrite(1, 100, fill(100, 'c'))
	if got := h.Segment(1); !bytes.Equal(got, append(fill(100, 'a'), fill(100, 'b')...)) {
		t.Error("a change of the clone shows in the original")
	}
	want := append(fill(100, 'a'), fill(100, 'c')...)
	want[50] ^= 1
	if got := c.Segment(1); !bytes.Equal(got, want) {
		t.Error("the clone is not what was made of it")
	}
	if got := len(c.Pending()); got != 2 {
		t.Errorf("the clone has %d pending changes, want 2", got)
	}
	acquire(t, c)
}

func TestKillKeepsTheJournal(t *testing.T) {
	h := memhost.New(memhost.Options{})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'a')))
	next := h.Kill()
	if err := w.Sync(ctx, 1); !errors.Is(err, memhost.ErrCrashed) {
		t.Errorf("sync by the dead process: %v", err)
	}
	w = acquire(t, next)
	if got := read(t, w, 1, 0, 100); !bytes.Equal(got, fill(100, 'a')) {
		t.Error("the next process does not see what was appended")
	}
	if got := next.Clone().Crash(memhost.CrashOptions{Decide: memhost.DropAll}); got.Segment(1) != nil {
		t.Error("what the dead process did not sync is durable")
	}
	must(t, w.Sync(ctx, 1))
	if got := next.Crash(memhost.CrashOptions{Decide: memhost.DropAll}); !bytes.Equal(got.Segment(1), fill(100, 'a')) {
		t.Error("the next process could not make it durable")
	}
}

func TestRaw(t *testing.T) {
	h := memhost.New(memhost.Options{})
	h.SetSegment(7, []byte("seven"))
	h.SetRecord("root", []byte("r"))
	p := make([]byte, 6)
	if n, err := h.Read(ctx, 7, 0, p); n != 5 || err == nil {
		t.Errorf("read past the end of a set segment: %d, %v", n, err)
	}
	if got := h.RecordNames(); !slices.Equal(got, []string{"root"}) {
		t.Errorf("records %v", got)
	}
	h.RemoveRecord("root")
	h.RemoveSegment(7)
	if h.Record("root") != nil || h.Segment(7) != nil {
		t.Error("removed things are still there")
	}
}

func TestLimit(t *testing.T) {
	h := memhost.New(memhost.Options{LimitBytes: 2*capacity + 1})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Create(ctx, 2, capacity))
	if err := w.Create(ctx, 3, capacity); !errors.Is(err, host.ErrNoSpace) {
		t.Errorf("third segment: %v", err)
	}
	must(t, w.Delete(ctx, 1))
	must(t, w.Create(ctx, 3, capacity))
}

func TestTrace(t *testing.T) {
	h := memhost.New(memhost.Options{Trace: true})
	w := acquire(t, h)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, fill(100, 'a')))
	must(t, w.Sync(ctx, 1))
	_, err := w.Swap(ctx, "root", "", []byte("one"))
	must(t, err)
	must(t, w.Delete(ctx, 1))
	must(t, w.Release(ctx))
	want := []string{`acquire "TestTrace"`, "create 1, 1048576 bytes", "append 1, 100 bytes at 0", "sync [1]", "swap root, 3 bytes", "delete 1", "release"}
	for i, c := range h.Trace() {
		if c.String() != want[i] || c.Index != i {
			t.Errorf("call %d is %d %q, want %q", i, c.Index, c, want[i])
		}
	}
	if s := h.Stats(); s.BytesAppended != 100 || s.Calls[memhost.OpSync] != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestCrashAgainstModel does random changes, crashes, and compares with a flat
// model of what each byte may be.
func TestCrashAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h := memhost.New(memhost.Options{Spares: 2})
		w := acquire(t, h)
		must(t, w.Create(ctx, 1, 64<<10))
		must(t, w.Sync(ctx, 1))
		var written, synced []byte
		for range 20 {
			if rng.IntN(4) == 0 {
				must(t, w.Sync(ctx, 1))
				synced = bytes.Clone(written)
				continue
			}
			p := fill(1+rng.IntN(3000), byte(1+rng.IntN(255)))
			must(t, w.Append(ctx, 1, int64(len(written)), p))
			written = append(written, p...)
		}
		first := h.Crash(memhost.CrashOptions{Seed: seed})
		again := h.Crash(memhost.CrashOptions{Seed: seed})
		if !bytes.Equal(read(t, first, 1, 0, 64<<10), read(t, again, 1, 0, 64<<10)) {
			t.Fatalf("seed %d: two crashes with one seed differ", seed)
		}
		if !bytes.HasPrefix(read(t, first, 1, 0, 64<<10), synced) {
			t.Fatalf("seed %d: synced bytes are lost", seed)
		}
	}
}

func BenchmarkCrash(b *testing.B) {
	h := memhost.New(memhost.Options{})
	w, _ := h.Acquire(ctx, host.AcquireOptions{})
	for id := range host.SegmentID(32) {
		_ = w.Create(ctx, id+1, capacity)
		for i := range int64(64) {
			_ = w.Append(ctx, id+1, i*4096, fill(4096, 'a'))
		}
		if id < 30 {
			_ = w.Sync(ctx, id+1)
		}
	}
	seed := uint64(0)
	for b.Loop() {
		h.Crash(memhost.CrashOptions{Seed: seed})
		seed++
	}
}
