package store_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// openForCheck opens a copy of the volume, so that damage may be done first.
func openForCheck(t *testing.T, h *memhost.Host, readOnly bool) *store.Store {
	t.Helper()
	s, err := store.Open(bg, h, store.Options{Unlocker: unlocker, ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestCheckCounts(t *testing.T) {
	v, at := filled(t)
	cut := v.crash() // read-only, the log is replayed and checked as well
	v.close(t)
	for _, h := range []*memhost.Host{v.host.Clone(), cut.host} {
		for _, readOnly := range []bool{true, false} {
			var last store.Report
			s := openForCheck(t, h, readOnly)
			r, err := s.Check(bg, func(r store.Report) { last = r })
			if err != nil {
				t.Fatal(err)
			}
			frames := int64(len(at))
			if r.Frames != frames || r.Extents != frames || r.Items != frames+6 || r.Pages != 1 || r.Damaged != 0 {
				t.Errorf("read-only %v: %+v", readOnly, r)
			}
			if last.Frames != frames || last.Bytes < frames*716 {
				t.Errorf("progress: %+v", last)
			}
			s.Close()
		}
	}
}

// Damage is told with item and place, and does not stop the check.
func TestCheckTellsDamage(t *testing.T) {
	v, at := filled(t)
	v.close(t)
	for _, readOnly := range []bool{true, false} {
		h := v.host.Clone()
		h.FlipBit(at[11].Segment, int64(at[11].Offset)+3, 2)
		h.FlipBit(at[13].Segment, int64(at[13].Offset)+700, 0)
		r, err := openForCheck(t, h, readOnly).Check(bg, nil)
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "2 damaged of ") {
			t.Fatal(err)
		}
		if r.Damaged != 2 || len(r.Damage) != 2 || r.Frames != 4 || len(r.Miscounts) != 0 {
			t.Fatalf("%+v", r)
		}
		for i, object := range []uint64{11, 13} {
			d, e := r.Damage[i], at[object]
			if d.Part != store.PartData || d.Key != dataKey(object, 700) || d.Segment != e.Segment || d.Offset != e.Offset || d.Length != 716 || !errors.Is(d.Err, store.ErrDamaged) {
				t.Errorf("%+v", d)
			}
		}
		if err := r.Damage[0].String(); !strings.Contains(err, "data frame of 716 bytes at segment") {
			t.Error(err)
		}
	}
}

// A damaged node or page is damage too, though its content may be in memory.
func TestCheckReadsAnew(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	s := openForCheck(t, v.host, false)
	if _, err := s.Check(bg, nil); err != nil {
		t.Fatal(err)
	}
	var nodes []store.Damage
	for _, id := range v.host.SegmentIDs() {
		for off := int64(4096); off < int64(len(v.host.Segment(id))); off++ {
			v.host.FlipBit(id, off, 1)
			r, err := s.Check(bg, nil)
			v.host.FlipBit(id, off, 1)
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				t.Fatal(err)
			}
			for _, d := range r.Damage {
				if d.Part != store.PartData {
					nodes = append(nodes, d)
				}
			}
		}
		if len(nodes) > 0 {
			break
		}
	}
	if len(nodes) == 0 || nodes[0].Part != store.PartNode && nodes[0].Part != store.PartPage {
		t.Errorf("no node or page was found damaged: %v", nodes)
	}
}

func TestCheckListIsBounded(t *testing.T) {
	v := newVault(t)
	f := v.s.NewFlush()
	var edits []edit
	const count = store.MaxDamageListed + 100
	for i := range count {
		e, err := f.Seal(bg, 10, uint64(i*10), pool[:10])
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, edit{dataKey(10, i*10+10), true, content{0, 10}, e[0]})
	}
	if err := v.update(v.s, edits, false); err != nil {
		t.Fatal(err)
	}
	f.Close()
	v.close(t)
	for _, e := range edits {
		v.host.FlipBit(e.extent.Segment, int64(e.extent.Offset), 0)
	}
	r, err := openForCheck(t, v.host, true).Check(bg, nil)
	if !errors.Is(err, store.ErrDamaged) || r.Damaged != count || len(r.Damage) != store.MaxDamageListed {
		t.Errorf("%d damaged, %d listed: %v", r.Damaged, len(r.Damage), err)
	}
}

func TestCheckRecounts(t *testing.T) {
	for _, n := range []int64{-1, 1} {
		v, at := filled(t)
		id := at[10].Segment
		v.s.Miscount(id, n)
		r, err := v.s.Check(bg, nil)
		if !errors.Is(err, store.ErrAccounting) || len(r.Miscounts) != 1 {
			t.Fatalf("%+v: %v", r, err)
		}
		if m := r.Miscounts[0]; m.Segment != id || m.Recorded != m.Counted+n || !strings.Contains(err.Error(), m.String()) {
			t.Errorf("%+v: %v", m, err)
		}
		v.s.Miscount(id, -n)
		v.close(t)
	}
}

// Changes and checkpoints during a check change nothing of what it checks.
func TestCheckDuringChanges(t *testing.T) {
	host := memhost.New(memhost.Options{})
	storetest.Create(t, host, 64<<20)
	s, err := store.Open(bg, host, store.Options{Unlocker: unlocker, NodeCacheBytes: 1, CheckpointBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	w := writer{history: newHistory(), s: s, r: rand.New(rand.NewPCG(newSeed(t), 5)), keys: 500, slots: 16}
	for range 100 {
		if err := w.randomChange(); err != nil {
			t.Fatal(err)
		}
	}
	stop, done := make(chan bool), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := w.randomChange(); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 30 {
		if _, err := s.Check(bg, nil); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Check(bg, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
