package store_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/storetest"
)

// lie opens the volume on a host that lies in every n-th call, once or from then
// on, and surveys it: everything is right, or an error.
func lie(t *testing.T, v *vault, fault faulthost.Fault, readOnly bool) {
	t.Helper()
	for _, sticky := range []bool{false, true} {
		for n, hit := 0, true; hit && n < 200; n++ {
			h := faulthost.New(v.host.Clone())
			h.Add(faulthost.Rule{Fault: fault, Nth: n, Sticky: sticky})
			within(t, fmt.Sprintf("fault %d in call %d, sticky %v", fault, n, sticky), func() {
				v.surveyLiar(t, h, readOnly)
			})
			hit = h.Hits() > 0
		}
		if !readOnly {
			lieElsewhere(t, v, faulthost.Rule{Fault: fault, Sticky: sticky})
		}
	}
}

// lieElsewhere lies about some calls where the volume is in a directory, and where a
// host process does: what gets through to the enclave.
func lieElsewhere(t *testing.T, v *vault, rule faulthost.Rule) {
	t.Helper()
	if v.served == nil {
		v.served = newServed(t)
	}
	for ; rule.Nth < 8; rule.Nth += 1 + rule.Nth/2 {
		h := faulthost.New(v.served.copyTo(t, v.host, "local"))
		h.Add(rule)
		within(t, fmt.Sprintf("%+v, local", rule), func() { v.surveyLiar(t, h, false) })

		far := faulthost.New(v.host.Clone())
		far.Add(rule)
		wire, end := overWire(t, far)
		within(t, fmt.Sprintf("%+v, remote", rule), func() { v.surveyLiar(t, wire, false) })
		end()
	}
}

// ofHost are errors of the way to the host, not of what it gave.
var ofHost = []error{store.ErrReadOnly, remote.ErrAnswer, remote.ErrFailed, remote.ErrUnreachable, io.ErrUnexpectedEOF}

// surveyLiar reads all items over and over of a volume whose host lies. The same
// item may be damaged now and right later, but never wrong.
func (v *vault) surveyLiar(t *testing.T, h host.Volume, readOnly bool) {
	t.Helper()
	o := store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: readOnly, NodeCacheBytes: 1, FrameCacheBytes: 1}
	s, err := store.Open(bg, h, o)
	if err != nil {
		typed(t, err, ofHost...)
		return
	}
	defer s.Close()
	for range 2 {
		for k := range v.items {
			if err := v.readOne(s, k, v.last); err != nil {
				typed(t, err, ofHost...)
			}
		}
	}
	if _, err := s.Check(bg, nil); err != nil {
		typed(t, err, ofHost...)
	}
}

// A host that changes buffers after it gave them: what was verified is not what
// the host can still reach.
func TestA32_ChangeBufferLater(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	for _, readOnly := range []bool{true, false} {
		lie(t, v, faulthost.ScribbleLater, readOnly)
	}
}

func TestA33_LyingReads(t *testing.T) {
	closed, _ := filled(t)
	closed.close(t)
	open, _ := filled(t)
	open = open.crash()
	for _, fault := range []faulthost.Fault{faulthost.ShortRead, faulthost.EmptyRead, faulthost.LongRead, faulthost.NegativeRead, faulthost.FlipRead} {
		lie(t, closed, fault, true)
		lie(t, closed, fault, false)
		v := *open
		v.history = open.history.fork(open.last)
		lieAboutLog(t, &v, fault)
	}
}

// lieAboutLog lies while the log is replayed: what cannot be read may look like
// the end of it, but never lets through what was not written.
func lieAboutLog(t *testing.T, v *vault, fault faulthost.Fault) {
	t.Helper()
	for n := range 20 {
		h := faulthost.New(v.host.Clone())
		h.Add(faulthost.Rule{Fault: fault, Nth: n})
		s, err := store.Open(bg, h, store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: true})
		if err != nil {
			typed(t, err)
			continue
		}
		if _, err := v.present(s); err != nil {
			typed(t, err)
		}
		s.Close()
	}
}

// Records and lists of absurd sizes cost nothing but an error.
func TestA34_LyingSizes(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, fault := range []faulthost.Fault{
		faulthost.HugeRecord, faulthost.CutRecord, faulthost.FlipRecord, faulthost.OldRecord, faulthost.NoVersion,
		faulthost.NegativeSizes, faulthost.HugeSizes, faulthost.DoubleList, faulthost.StrangeIDs, faulthost.EmptyList,
	} {
		lie(t, v, fault, false)
	}
	runtime.ReadMemStats(&after)
	if n := after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc); n > 256<<20 {
		t.Errorf("%d MiB are still in use", n>>20)
	}
}

// A list of a million segments that are not there.
func TestA34_HugeList(t *testing.T) {
	v, _ := filled(t)
	v.close(t)
	h := faulthost.New(v.host.Clone())
	h.Add(faulthost.Rule{Fault: faulthost.HugeList, Sticky: true})
	s, err := store.Open(bg, h, store.Options{Unlocker: storetest.Unlocker("test")})
	if err != nil {
		typed(t, err)
		return
	}
	if n := h.Calls(faulthost.Delete); n > 2*store.MaxOrphans {
		t.Errorf("%d deletes at the host's wish", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A host that says that it synced and did not, and then crashes: what is found
// is a state that once was, or damage, and never anything else.
func TestA35_LyingSync(t *testing.T) {
	for n := range 24 {
		v := newVault(t)
		v.close(t)
		faulty := faulthost.New(v.host)
		faulty.Add(faulthost.Rule{Ops: faulthost.Sync, Fault: faulthost.Pretend, Nth: n / 2, Sticky: true})
		var liar host.Volume = faulty
		if n%2 == 1 {
			var end func()
			liar, end = overWire(t, faulty)
			defer end()
		}
		s, err := store.Open(bg, liar, store.Options{Unlocker: unlocker})
		if err != nil {
			t.Fatal(err)
		}
		v.s = s
		for i := range uint64(6) {
			v.put(t, 10+i, content{int(i) * 1000, 700})
			v.commit(t)
			if i == 3 {
				if err := s.Checkpoint(bg); err != nil {
					t.Fatal(err)
				}
			}
		}
		for seed := range uint64(20) {
			v.survey(t, v.host.Clone().Crash(memhost.CrashOptions{Seed: seed}), seed%2 == 0)
		}
		s.Close()
	}
}
