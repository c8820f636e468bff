package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// kept is what a snapshot must hold.
type kept struct {
	store.Snapshot
	*files
}

// keeping is a volume with snapshots beside a model of both.
type keeping struct {
	*files
	s     *store.Store
	snaps []kept
	taken int
}

func (k *keeping) take() error {
	name := fmt.Sprintf("s%d", k.taken)
	k.taken++
	p, err := k.s.TakeSnapshot(bg, name, nil)
	if err == nil {
		k.snaps = append(k.snaps, kept{p, k.clone()})
	}
	return err
}

// remove deletes one, and perhaps waits until it is gone.
func (k *keeping) remove(i int) error {
	p := k.snaps[i]
	k.snaps = append(k.snaps[:i:i], k.snaps[i+1:]...)
	if err := k.s.DeleteSnapshot(bg, p.Name); err != nil {
		return err
	}
	if k.rng.IntN(2) == 0 {
		return nil
	}
	return k.s.ReapSnapshots(bg)
}

// step makes one random change of the volume or of its snapshots.
func (k *keeping) step() error {
	switch p := k.rng.IntN(100); {
	case p < 4 && len(k.snaps) < 8:
		return k.take()
	case p < 7 && len(k.snaps) > 0:
		return k.remove(k.rng.IntN(len(k.snaps)))
	case p < 9:
		return k.s.EmptyAll(bg)
	}
	return k.files.step(k.s, 6)
}

// checkKept compares everything that is kept with the model.
func (k *keeping) checkKept() error {
	if err := k.check(k.s); err != nil {
		return fmt.Errorf("present state: %w", err)
	}
	list := k.s.Snapshots()
	if len(list) != len(k.snaps) {
		return fmt.Errorf("%d snapshots, want %d", len(list), len(k.snaps))
	}
	for i, p := range k.snaps {
		if list[i].Name != p.Name || !list[i].Time.Equal(p.Time) {
			return fmt.Errorf("snapshot %d is %+v, want %+v", i, list[i], p.Snapshot)
		}
		err := k.s.ViewSnapshot(bg, list[i].ID, func(tx *store.Tx) error {
			if err := p.checkTx(k.s, tx); err != nil {
				return err
			}
			return p.checkItems(tx)
		})
		if err != nil {
			return fmt.Errorf("snapshot %q: %w", p.Name, err)
		}
	}
	_, err := k.s.Check(bg, nil)
	return err
}

// checkItems looks items up one by one, and runs of data from the middle on.
func (f *files) checkItems(tx *store.Tx) error {
	for key, want := range f.notes {
		got, ok, err := tx.Get(key)
		if err != nil || !ok || string(got) != string(want) {
			return fmt.Errorf("item %v is there: %v (%v)", key, ok, err)
		}
	}
	for o, there := range f.there {
		from := f.rng.Uint64N(f.size)
		at := from // up to here all was compared
		err := tx.Scan(store.Key{Object: o, Type: store.TypeExtent, Sub: from + 1}, store.Key{Object: o, Type: store.TypeExtent + 1},
			func(k store.Key, v []byte) (bool, error) {
				e, err := store.ParseExtent(v)
				if err != nil {
					return false, err
				}
				start := max(k.Sub-uint64(e.Count), from)
				for ; at < k.Sub; at++ {
					if there[at] != (at >= start) {
						return false, fmt.Errorf("object %d, byte %d is there: %v, want %v", o, at, at >= start, there[at])
					}
				}
				return true, nil
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// Whatever is written, cut, emptied, deleted and re-keyed after it, a snapshot holds
// what was there when it was taken, and the accounting stays exact.
func TestSnapshots(t *testing.T) {
	for range 4 {
		rng := newRand(t)
		v := memhost.New(memhost.Options{Spares: 4})
		storetest.Create(t, v, 64<<20)
		key := storetest.Secret("test")
		k := &keeping{files: newFiles(t, rng, 200<<10), s: mustOpen(t, v, key)}
		for round := range 4 {
			for range 120 {
				if err := k.step(); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.checkKept(); err != nil {
				t.Fatal(err)
			}
			switch rng.IntN(3) {
			case 0:
				if err := k.s.Close(); err != nil {
					t.Fatal(err)
				}
			case 1: // a crash that keeps what was committed
				if err := k.s.Commit(bg); err != nil {
					t.Fatal(err)
				}
				v = v.Crash(memhost.CrashOptions{Seed: rng.Uint64(), Decide: memhost.DropAll})
			default:
				next := storetest.Secret(fmt.Sprint("key", round))
				if err := errors.Join(k.s.AddGeneration(bg, next), k.s.Rekey(bg, store.RekeyOptions{}), k.s.DropOldGenerations(bg), k.s.Close()); err != nil {
					t.Fatal(err)
				}
				key = next
			}
			k.s = mustOpen(t, v, key)
			if err := k.checkKept(); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An update may replace more than fits beside it into one.
func TestSnapshotOfMuch(t *testing.T) {
	s := storetest.New(t)
	at := func(i int) store.Key { return store.Key{Object: 1 + uint64(i/100), Type: 1, Sub: uint64(i)} }
	const count = 3000
	put := func(from int, value []byte) {
		t.Helper()
		err := s.Update(bg, func(tx *store.Tx) error {
			for i := from; i < from+100; i++ {
				if err := tx.Put(at(i), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < count; i += 100 {
		put(i, make([]byte, 2000))
	}
	p, err := s.TakeSnapshot(bg, "much", func(*store.Tx) (uint64, error) { return 1 + count/100, nil })
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(bg, func(tx *store.Tx) error {
		for i := range count {
			if err := tx.Delete(at(i)); err != nil {
				return err
			}
		}
		return tx.Put(store.Key{Object: 1 << 40, Type: 1}, []byte("new"))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.ViewSnapshot(bg, p.ID, func(tx *store.Tx) error {
		n := 0
		err := tx.Scan(store.Key{}, store.Key{Object: 1 << 60}, func(k store.Key, v []byte) (bool, error) {
			if k != at(n) || len(v) != 2000 {
				return false, fmt.Errorf("item %v of %d bytes, want %v", k, len(v), at(n))
			}
			n++
			return true, nil
		})
		if err == nil && n != count {
			err = fmt.Errorf("%d items, want %d", n, count)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A volume that snapshots fill says so while something is still left, and deleting
// a snapshot makes room again.
func TestSnapshotsFillVolume(t *testing.T) {
	for _, capacity := range []int64{8 << 20, 64 << 20} {
		v := memhost.New(memhost.Options{})
		storetest.Create(t, v, capacity)
		s := storetest.Open(t, v)
		fillUp(t, s, 1)
		if _, err := s.TakeSnapshot(bg, "full", nil); err != nil {
			t.Fatal(err)
		}
		var err error
		last := fillUp(t, s, 1000)
		before := s.Space()
		removed := 0
		remove := func(from, to uint64) {
			for o := from; o < to && err == nil; o++ {
				if err = removeFile(s, o); err == nil {
					removed++
				}
			}
		}
		remove(2, 900)
		if err != nil && !errors.Is(err, store.ErrFull) {
			t.Fatal(err)
		}
		t.Logf("%d bytes: %d removals, %v, before %+v, after %+v", capacity, removed, err, before, s.Space())
		if s.Space().Available > before.Available+capacity/16 {
			t.Errorf("%+v: removing what a snapshot holds made room", s.Space())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = storetest.Open(t, v)
		if err := errors.Join(s.DeleteSnapshot(bg, "full"), s.ReapSnapshots(bg)); err != nil {
			t.Fatal(err)
		}
		err = nil
		remove(1000, last)
		if err != nil {
			t.Fatalf("with no snapshot left: %v", err)
		}
		if got := s.Space(); got.Available < capacity/8 {
			t.Errorf("after all is gone: %+v", got)
		}
		if _, err := s.Check(bg, nil); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnapshotLimits(t *testing.T) {
	s := storetest.New(t)
	for _, name := range []string{"", ".", ".x", "-x", "a/b", "a\nb", "\xff", string(make([]byte, 256))} {
		if _, err := s.TakeSnapshot(bg, name, nil); !errors.Is(err, store.ErrSnapshotName) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for i := range store.MaxSnapshots {
		if _, err := s.TakeSnapshot(bg, fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.TakeSnapshot(bg, "7", nil); !errors.Is(err, store.ErrSnapshotExists) {
		t.Errorf("a name twice: %v", err)
	}
	if _, err := s.TakeSnapshot(bg, "more", nil); !errors.Is(err, store.ErrSnapshots) {
		t.Errorf("one too many: %v", err)
	}
	if err := s.DeleteSnapshot(bg, "none"); !errors.Is(err, store.ErrNoSnapshot) {
		t.Errorf("deleting what is not there: %v", err)
	}
	p := s.Snapshots()[7]
	if err := errors.Join(s.DeleteSnapshot(bg, "7"), s.ReapSnapshots(bg)); err != nil {
		t.Fatal(err)
	}
	if err := s.ViewSnapshot(bg, p.ID, nil); !errors.Is(err, store.ErrNoSnapshot) {
		t.Errorf("reading what is deleted: %v", err)
	}
	if _, err := s.TakeSnapshot(bg, "more", nil); err != nil {
		t.Errorf("a layer is not used again: %v", err)
	}
	for _, k := range []store.Key{{Object: store.MaxObject + 1}, {Type: store.MaxType + 1}} {
		err := s.Update(bg, func(tx *store.Tx) error { return tx.Put(k, nil) })
		if !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("item %v: %v", k, err)
		}
	}
}

// What makes no room because of a snapshot ends before the room that deleting the
// snapshot takes.
func TestSnapshotPins(t *testing.T) {
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 8<<20)
	s := storetest.Open(t, v)
	put := func(call func(context.Context, func(*store.Tx) error) error, i int) error {
		return call(bg, func(tx *store.Tx) error {
			return tx.Put(store.Key{Object: 1, Type: 1, Sub: uint64(i)}, make([]byte, 3000))
		})
	}
	const count = 1000
	for i := range count {
		if err := put(s.Update, i); err != nil {
			t.Fatal(err)
		}
	}
	fillUp(t, s, 2)
	if _, err := s.TakeSnapshot(bg, "pins", nil); err != nil {
		t.Fatal(err)
	}
	replace := func() (n int, err error) {
		for n < count && err == nil {
			err = put(s.UpdateFreeing, n)
			n++
		}
		return n, err
	}
	n, err := replace()
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("%d items were replaced: %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, v)
	if err := errors.Join(s.DeleteSnapshot(bg, "pins"), s.ReapSnapshots(bg)); err != nil {
		t.Fatal(err)
	}
	if _, err := replace(); err != nil {
		t.Fatalf("the snapshot is gone: %v", err)
	}
	if _, err := s.Check(bg, nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The record of docs/format.md, and what is none.
func TestSnapshotRecord(t *testing.T) {
	page, err := os.ReadFile(formatPath)
	if err != nil {
		t.Fatal(err)
	}
	b := store.EncodeSnapshot(5, 1<<60, 100, 4096, "daily")
	row := fmt.Sprintf("    %x %x %x %x %x %x\n", b[:1], b[1:9], b[9:17], b[17:25], b[25:33], b[33:])
	if !strings.Contains(string(page), row) {
		t.Errorf("the page has no record %s", row)
	}
	most := store.EncodeSnapshot(math.MaxUint64, math.MinInt64, store.MaxObject+1, math.MaxInt64, strings.Repeat("n", 255))
	for _, b := range [][]byte{b, most} {
		if again, err := store.ReencodeSnapshot(3, b); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x, %v", again, err)
		}
	}
	flags := append([]byte{2}, b[1:]...)
	for _, bad := range []struct {
		layer uint64
		b     []byte
	}{
		{0, b}, {store.MaxSnapshots + 1, b}, {3, b[:33]}, {3, nil}, {3, flags}, {3, append(bytes.Clone(b), '/')},
		{3, store.EncodeSnapshot(0, 1<<60, 100, 4096, "daily")},                  // no sequence
		{3, store.EncodeSnapshot(5, 1<<60, store.MaxObject+2, 4096, "daily")},    // more objects than there can be
		{3, store.EncodeSnapshot(5, 1<<60, 100, math.MaxInt64+1, "daily")},       // or bytes
		{3, store.EncodeSnapshot(5, 1<<60, 100, 4096, strings.Repeat("n", 256))}, // a name too long
	} {
		if _, err := store.ReencodeSnapshot(bad.layer, bad.b); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("layer %d, %x: %v", bad.layer, bad.b, err)
		}
	}
}

// Records that contradict each other, and items that there are not, are damage.
func TestSnapshotListRefused(t *testing.T) {
	record := func(sequence uint64, name string) []byte { return store.EncodeSnapshot(sequence, 1, 1, 1, name) }
	for name, items := range map[string][]store.OwnItem{
		"sequence twice": {{Type: 1, Layer: 1, Value: record(5, "a")}, {Type: 1, Layer: 2, Value: record(5, "b")}},
		"name twice":     {{Type: 1, Layer: 1, Value: record(5, "a")}, {Type: 1, Layer: 2, Value: record(6, "a")}},
		"malformed":      {{Type: 1, Layer: 1, Value: []byte("record")}},
		"layer":          {{Type: 1, Layer: store.MaxSnapshots + 1, Value: record(5, "a")}},
		"type":           {{Type: 2, Layer: 1, Value: record(5, "a")}},
	} {
		v := memhost.New(memhost.Options{})
		storetest.Create(t, v, 8<<20)
		s := storetest.Open(t, v)
		if err := errors.Join(s.PutOwn(bg, items), s.Close()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := openWith(v, storetest.Secret("test")); !errors.Is(err, store.ErrSnapshotList) || !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// spoilLeaf flips a bit of the leaf that holds a key.
func spoilLeaf(t *testing.T, s *store.Store, h *memhost.Host, k store.Key) {
	t.Helper()
	p, err := s.Leaf(bg, k)
	if err != nil {
		t.Fatal(err)
	}
	h.FlipBit(p.Ptr.Segment, int64(p.Ptr.Offset)+5, 1)
}

// pad puts so much into an object that it takes nodes of its own, or takes it away.
func pad(t *testing.T, s *store.Store, there bool) {
	t.Helper()
	err := s.Update(bg, func(tx *store.Tx) error {
		for i := range uint64(40) {
			k := store.Key{Object: 1 << 40, Type: 9, Sub: i}
			var err error
			if there {
				err = tx.Put(k, make([]byte, 2000))
			} else {
				err = tx.Delete(k)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A volume whose list of snapshots is damaged can be read as it is now, and says so;
// it takes no changes, and no snapshot is read.
func TestSnapshotListDamaged(t *testing.T) {
	rng := newRand(t)
	v := memhost.New(memhost.Options{})
	storetest.Create(t, v, 16<<20)
	k := &keeping{files: newFiles(t, rng, 200<<10), s: storetest.Open(t, v)}
	pad(t, k.s, true)
	for range 200 {
		if err := k.files.step(k.s, 6); err != nil {
			t.Fatal(err)
		}
		if len(k.snaps) < 2 {
			if err := k.take(); err != nil {
				t.Fatal(err)
			}
		}
	}
	pad(t, k.s, false) // the snapshots have it, in nodes without anything of the present state
	if err := k.s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(bg, v, store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	spoilLeaf(t, s, v, store.SnapshotKey(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(v, storetest.Secret("test")); !errors.Is(err, store.ErrSnapshotList) {
		t.Fatalf("a writer: %v", err)
	}
	var logged bytes.Buffer
	s, err = store.Open(bg, v, store.Options{
		Unlocker: storetest.Unlocker("test"), ReadOnly: true, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.Contains(logged.String(), "the list of snapshots is damaged") {
		t.Errorf("it is not said: %s", &logged)
	}
	if err := k.check(s); err != nil {
		t.Errorf("present state: %v", err)
	}
	_, findErr := s.FindSnapshot("s0")
	viewErr := s.ViewSnapshot(bg, k.snaps[0].ID, func(*store.Tx) error { return nil })
	for _, err := range []error{findErr, viewErr, s.SnapshotsLost()} {
		if !errors.Is(err, store.ErrSnapshotList) {
			t.Errorf("a snapshot: %v", err)
		}
	}
}
