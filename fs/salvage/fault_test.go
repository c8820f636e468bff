package salvage_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

// keptVolume is volume with a snapshot of all that is in it.
func keptVolume(t *testing.T) (*memhost.Host, map[string][]byte) {
	t.Helper()
	h, want, _ := volume(t, rand.New(rand.NewPCG(3, 0)))
	s := storetest.Open(t, h)
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	_, err = f.TakeSnapshot("kept")
	must(t, errors.Join(err, f.Close(), s.Close()))
	return h, want
}

// TestFaultyHost: while calls of the host fail, and while it tells each of its lies,
// what is written is right, or a hole that is told.
func TestFaultyHost(t *testing.T) {
	v, want := keptVolume(t)
	written := 0
	for fault := faulthost.FailBefore; fault <= faulthost.EmptyList; fault++ {
		// A buffer that changes while another goroutine verifies it is a race by intent;
		// store.TestA32_ChangeBufferLater has that lie, one read after the other.
		if fault == faulthost.Hang || fault == faulthost.Pretend || fault == faulthost.ScribbleLater {
			continue
		}
		for _, every := range []int{1, 7} {
			for nth, hit := 0, true; hit; nth += 3 + 2*nth {
				h := faulthost.New(v)
				h.Add(faulthost.Rule{Ops: faulthost.Reads, Fault: fault, Nth: nth, Every: every})
				if salvageFaulty(t, h, []string{"", "kept"}[nth%2], want) {
					written++
				}
				hit = h.Hits() > 0
			}
		}
	}
	if written < 50 {
		t.Errorf("only %d runs came to their end", written)
	}
}

// salvageFaulty reports whether a run came to its end.
func salvageFaulty(t *testing.T, h *faulthost.Host, name string, want map[string][]byte) bool {
	t.Helper()
	known := func(err error) {
		t.Helper()
		for _, e := range []error{store.ErrDamaged, store.ErrNoVolume, store.ErrSnapshotList, store.ErrNoSnapshot, faulthost.ErrInjected} {
			if errors.Is(err, e) {
				return
			}
		}
		t.Fatal(err)
	}
	w, err := wreck(h)
	if err != nil {
		known(err)
		return false
	}
	defer w.Close()
	dir := filepath.Join(scratch(t), "out")
	defer os.RemoveAll(dir)
	sum, err := salvage.Run(bg, w, dir, salvage.Options{Snapshot: name})
	if err != nil {
		known(err)
		return false
	}
	must(t, compare(dir, want, sum))
	return true
}

// dataFaults lets reads of data through a host with faults, all others not, and notes
// which were hit.
type dataFaults struct {
	*memhost.Host
	faulty *faulthost.Host
	sound  []store.Extent // that came without a fault: where, and how long, sealed
}

func (d *dataFaults) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	if d.Segment(id)[10] != byte(seal.KindLog) {
		return d.Host.Read(ctx, id, off, p)
	}
	before := d.faulty.Hits()
	n, err := d.faulty.Read(ctx, id, off, p)
	if d.faulty.Hits() == before && err == nil {
		d.sound = append(d.sound, store.Extent{Segment: id, Offset: uint32(off), Length: uint32(n)})
	}
	return n, err
}

// came reports whether a frame was given without a fault, alone or beside others.
func (d *dataFaults) came(e store.Extent) bool {
	return slices.ContainsFunc(d.sound, func(r store.Extent) bool {
		return r.Segment == e.Segment && r.Offset <= e.Offset && r.Offset+r.Length >= e.Offset+e.Length+seal.TagSize
	})
}

// run is a part of a file, and the frame that has it.
type run struct {
	name  string
	begin int
	e     store.Extent
}

// runs are all parts of the files of a sound volume.
func runs(t *testing.T, h *memhost.Host, want map[string][]byte) (list []run) {
	t.Helper()
	s := storetest.Open(t, h.Clone())
	f, err := cofs.Open(bg, s, cofs.Options{})
	must(t, err)
	names := map[uint64]string{}
	for name := range want {
		st, err := f.Stat(name)
		must(t, err)
		names[uint64(st.Sys().(cofs.Attr).Ino)] = name
	}
	must(t, errors.Join(f.Close(), s.Close()))
	w, err := wreck(h)
	must(t, err)
	defer w.Close()
	must(t, w.Scan(bg, store.Key{Object: 1}, store.Key{Object: store.MaxObject}, func(k store.Key, v []byte) (bool, error) {
		if k.Type != store.TypeExtent {
			return true, nil
		}
		e, err := store.ParseExtent(v)
		list = append(list, run{names[k.Object], int(k.Sub) - int(e.Count), e})
		return true, err
	}, func(l store.LostItems) error { return l.Damage.Err }))
	return list
}

// TestFaultyDataIsRescued bounds what is lost by the faults: every frame that the host
// gave once without a fault, alone or beside others that it spoilt, is where it was in
// its file, byte for byte.
func TestFaultyDataIsRescued(t *testing.T) {
	v, want := keptVolume(t)
	all := runs(t, v, want)
	lost, saved := 0, 0
	for _, fault := range []faulthost.Fault{faulthost.FailBefore, faulthost.FailAfter, faulthost.ShortRead, faulthost.EmptyRead, faulthost.LongRead, faulthost.NegativeRead, faulthost.FlipRead} {
		for _, every := range []int{0, 1, 3} {
			d := &dataFaults{Host: v, faulty: faulthost.New(v)}
			w, err := wreck(d)
			must(t, err)
			d.faulty.Add(faulthost.Rule{Ops: faulthost.Read, Fault: fault, Nth: every, Every: every})
			d.sound = nil
			dir := filepath.Join(scratch(t), "out")
			_, err = salvage.Run(bg, w, dir, salvage.Options{})
			must(t, err)
			w.Close()
			for _, r := range all {
				b, err := os.ReadFile(filepath.Join(dir, "files", r.name))
				must(t, err)
				end := r.begin + int(r.e.Count)
				whole := end <= len(b) && bytes.Equal(b[r.begin:end], want[r.name][r.begin:end])
				switch {
				case !whole && (every == 0 || d.came(r.e)):
					t.Errorf("fault %d, every %d: %s lost what came from segment %d, offset %d", fault, every, r.name, r.e.Segment, r.e.Offset)
				case whole:
					saved++
				default:
					lost++
				}
			}
			os.RemoveAll(dir)
		}
	}
	if lost == 0 || saved == 0 {
		t.Errorf("%d frames were lost and %d were not: nothing is tested", lost, saved)
	}
}

// A host that does not answer keeps nobody beyond the end of his context.
func TestHangingHost(t *testing.T) {
	v, _ := keptVolume(t)
	for nth, hit := 0, true; hit; nth += 3 + nth {
		h := faulthost.New(v)
		ctx, stop := context.WithCancel(bg) // which the call that hangs ends
		h.Add(faulthost.Rule{Ops: faulthost.Reads, Fault: faulthost.Hang, Nth: nth, Sticky: true, Hit: stop})
		w, err := store.OpenWreck(ctx, h, store.SalvageOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
		if err == nil {
			_, err = salvage.Run(ctx, w, filepath.Join(scratch(t), "out"), salvage.Options{})
			w.Close()
		}
		if hit = h.Hits() > 0; hit && !errors.Is(err, context.Canceled) {
			t.Errorf("call %d hangs: %v", nth, err)
		}
		stop()
	}
}
