package faulthost_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

const capacity = 1 << 20

var ctx = context.Background()

func TestHost(t *testing.T) {
	hosttest.Run(t, func(*testing.T) hosttest.Opener {
		inner := memhost.New(memhost.Options{})
		return func() (host.Volume, error) { return faulthost.New(inner), nil }
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start returns a host whose volume has segment 1 of 100 bytes, segment 2, and
// the record "root" at its second value.
func start(t *testing.T) (*memhost.Host, *faulthost.Host, host.Writer) {
	t.Helper()
	inner := memhost.New(memhost.Options{})
	h := faulthost.New(inner)
	w, err := h.Acquire(ctx, host.AcquireOptions{})
	must(t, err)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Create(ctx, 2, capacity))
	must(t, w.Append(ctx, 1, 0, bytes.Repeat([]byte("x"), 100)))
	must(t, w.Sync(ctx, 1, 2))
	v, err := w.Swap(ctx, "root", "", []byte("one"))
	must(t, err)
	_, err = w.Swap(ctx, "root", v, []byte("two"))
	must(t, err)
	return inner, h, w
}

// change makes one call of that kind.
func change(h *faulthost.Host, w host.Writer, op faulthost.Ops) error {
	switch op {
	case faulthost.Acquire:
		_, err := h.Acquire(ctx, host.AcquireOptions{Takeover: true})
		return err
	case faulthost.Swap:
		_, err := w.Swap(ctx, "new", "", []byte("new"))
		return err
	case faulthost.Create:
		return w.Create(ctx, 3, capacity)
	case faulthost.Append:
		return w.Append(ctx, 1, 100, bytes.Repeat([]byte("y"), 100))
	case faulthost.Sync:
		return w.Sync(ctx, 1, 2)
	case faulthost.Delete:
		return w.Delete(ctx, 2)
	}
	return w.Release(ctx)
}

// effect says whether that call took effect.
func effect(inner *memhost.Host, op faulthost.Ops) bool {
	switch op {
	case faulthost.Acquire: // the first writer's release changes nothing
		_, err := inner.Acquire(ctx, host.AcquireOptions{})
		return errors.Is(err, host.ErrInUse)
	case faulthost.Swap:
		return inner.Record("new") != nil
	case faulthost.Create:
		return len(inner.SegmentIDs()) == 3
	case faulthost.Append:
		return len(inner.Segment(1)) == 200
	case faulthost.Sync:
		return inner.Stats().Calls[memhost.OpSync] == 2
	case faulthost.Delete:
		return inner.Segment(2) == nil
	}
	_, err := inner.Acquire(ctx, host.AcquireOptions{})
	return err == nil
}

func TestFailures(t *testing.T) {
	for op := faulthost.Acquire; op <= faulthost.Release; op <<= 1 {
		for fault, want := range map[faulthost.Fault]struct {
			err    error
			effect bool
		}{
			faulthost.FailBefore:  {faulthost.ErrInjected, false},
			faulthost.FailAfter:   {faulthost.ErrInjected, true},
			faulthost.FailHalfway: {faulthost.ErrInjected, op == faulthost.Sync},
			faulthost.Pretend:     {nil, false},
		} {
			if op == faulthost.Acquire && fault == faulthost.Pretend {
				continue
			}
			inner, h, w := start(t)
			if op == faulthost.Acquire {
				must(t, w.Release(ctx))
			}
			h.Add(faulthost.Rule{Ops: op, Fault: fault})
			if err := change(h, w, op); !errors.Is(err, want.err) || host.Refused(err) {
				t.Errorf("method %#x, fault %d: error %v, want %v", op, fault, err, want.err)
			}
			if got := effect(inner, op); got != want.effect {
				t.Errorf("method %#x, fault %d: effect %v, want %v", op, fault, got, want.effect)
			}
			if h.Hits() != 1 {
				t.Errorf("method %#x, fault %d: %d hits", op, fault, h.Hits())
			}
		}
	}
}

func TestHalves(t *testing.T) {
	inner, h, w := start(t)
	must(t, w.Append(ctx, 2, 0, []byte("z")))
	h.Add(faulthost.Rule{Fault: faulthost.FailHalfway, Sticky: true})
	if err := change(h, w, faulthost.Append); !errors.Is(err, faulthost.ErrInjected) || len(inner.Segment(1)) != 150 {
		t.Errorf("append: %v, and the segment has %d bytes", err, len(inner.Segment(1)))
	}
	if err := change(h, w, faulthost.Sync); !errors.Is(err, faulthost.ErrInjected) {
		t.Errorf("sync: %v", err)
	}
	if got := inner.Pending(); len(got) != 1 || got[0].Segment != 2 {
		t.Errorf("pending after half a sync: %v", got)
	}
}

func TestWhichCallsAreHit(t *testing.T) {
	tests := []struct {
		rule faulthost.Rule
		want string // of ten syncs
	}{
		{faulthost.Rule{}, "x........."},
		{faulthost.Rule{Nth: 3}, "...x......"},
		{faulthost.Rule{Nth: 1, Every: 3}, ".x..x..x.."},
		{faulthost.Rule{Nth: 6, Sticky: true}, "......xxxx"},
		{faulthost.Rule{Ops: faulthost.Sync, Nth: 2}, "..x......."},
		{faulthost.Rule{Ops: faulthost.Append | faulthost.Reads}, ".........."},
	}
	for _, test := range tests {
		_, h, w := start(t)
		h.Add(test.rule)
		var got []byte
		for range 10 {
			mark := byte('.')
			if err := w.Sync(ctx, 1); err != nil {
				mark = 'x'
			}
			got = append(got, mark)
		}
		if string(got) != test.want {
			t.Errorf("%+v hits %s, want %s", test.rule, got, test.want)
		}
		h.Clear()
		must(t, w.Append(ctx, 1, 100, []byte("x")))
	}
}

func TestFirstRuleDecides(t *testing.T) {
	_, h, w := start(t)
	h.Add(faulthost.Rule{Err: host.ErrNoSpace}, faulthost.Rule{Sticky: true})
	if err := w.Create(ctx, 3, capacity); !errors.Is(err, host.ErrNoSpace) {
		t.Errorf("first create: %v", err)
	}
	if err := w.Create(ctx, 3, capacity); !errors.Is(err, faulthost.ErrInjected) {
		t.Errorf("second create: %v", err)
	}
	if got := h.Calls(faulthost.Create); got != 4 {
		t.Errorf("%d calls of create, want 4", got)
	}
}

func TestHang(t *testing.T) {
	_, h, w := start(t)
	h.Add(faulthost.Rule{Ops: faulthost.All, Fault: faulthost.Hang, Sticky: true})
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err := h.Read(gone, 1, 0, make([]byte, 1))
	for _, err := range []error{err, w.Sync(gone, 1)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func TestReadLies(t *testing.T) {
	for fault, want := range map[faulthost.Fault]struct {
		n    int
		same bool
	}{
		faulthost.ShortRead:     {25, true},
		faulthost.EmptyRead:     {0, true},
		faulthost.LongRead:      {51, true},
		faulthost.NegativeRead:  {-1, true},
		faulthost.FlipRead:      {50, false},
		faulthost.ScribbleLater: {50, true},
	} {
		_, h, w := start(t)
		h.Add(faulthost.Rule{Fault: fault})
		p, right := make([]byte, 50), bytes.Repeat([]byte("x"), 50)
		n, err := w.Read(ctx, 1, 0, p)
		if n != want.n || err != nil || bytes.Equal(p, right) != want.same {
			t.Errorf("fault %d: %d bytes, %v, %.5q", fault, n, err, p)
		}
		n, err = w.Read(ctx, 1, 0, make([]byte, 50))
		if n != 50 || err != nil {
			t.Errorf("fault %d, the next read: %d bytes, %v", fault, n, err)
		}
		if fault == faulthost.ScribbleLater && bytes.Equal(p, right) {
			t.Error("the buffer was not changed in the next call")
		}
	}
}

func TestRecordLies(t *testing.T) {
	for fault, check := range map[faulthost.Fault]func(host.Record) bool{
		faulthost.HugeRecord: func(r host.Record) bool { return len(r.Value) == faulthost.HugeRecordBytes },
		faulthost.CutRecord:  func(r host.Record) bool { return string(r.Value) == "t" },
		faulthost.FlipRecord: func(r host.Record) bool { return string(r.Value) == "tvo" },
		faulthost.OldRecord:  func(r host.Record) bool { return string(r.Value) == "one" && r.Version != "" },
		faulthost.NoVersion:  func(r host.Record) bool { return string(r.Value) == "two" && r.Version == "" },
	} {
		_, h, w := start(t)
		h.Add(faulthost.Rule{Fault: fault})
		if r, err := w.Get(ctx, "root"); err != nil || !check(r) {
			t.Errorf("fault %d: %.20q in %q, %v", fault, r.Value, r.Version, err)
		}
		if r, err := h.Get(ctx, "root"); err != nil || string(r.Value) != "two" {
			t.Errorf("fault %d, the next get: %.20q, %v", fault, r.Value, err)
		}
	}
}

func TestListLies(t *testing.T) {
	all := func(infos []host.SegmentInfo, size int64) bool {
		return len(infos) == 2 && infos[0].Size == size && infos[1].Size == size
	}
	for fault, check := range map[faulthost.Fault]func([]host.SegmentInfo) bool{
		faulthost.HugeList:      func(l []host.SegmentInfo) bool { return len(l) == 2+faulthost.HugeListCount },
		faulthost.NegativeSizes: func(l []host.SegmentInfo) bool { return all(l, math.MinInt64) },
		faulthost.HugeSizes:     func(l []host.SegmentInfo) bool { return all(l, math.MaxInt64) },
		faulthost.DoubleList:    func(l []host.SegmentInfo) bool { return len(l) == 4 && l[0] == l[2] },
		faulthost.StrangeIDs:    func(l []host.SegmentInfo) bool { return len(l) == 5 && l[2].ID == 0 },
		faulthost.EmptyList:     func(l []host.SegmentInfo) bool { return len(l) == 0 },
	} {
		_, h, w := start(t)
		h.Add(faulthost.Rule{Fault: fault})
		if infos, err := w.Segments(ctx); err != nil || !check(infos) {
			t.Errorf("fault %d: %d segments, %v", fault, len(infos), err)
		}
		if infos, err := h.Segments(ctx); err != nil || !all(infos, capacity) {
			t.Errorf("fault %d, the next list: %v, %v", fault, infos, err)
		}
	}
}
