package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/storetest"
)

const bucketURL = "s3://bucket/v"

// bucket is a volume in an object store, which keeps what there was before each
// request had its effect, and at each step of who writes.
type bucket struct {
	server  *s3test.Server
	options s3.Options
	volume  *s3.Volume
	rec     *recorder

	mu      sync.Mutex
	moments []bucketMoment
}

// bucketMoment is all that there is outside of the enclave at an instant.
type bucketMoment struct {
	bucket  s3test.State
	journal []byte // of acknowledged syncs, with local durability
	lock    []byte
	snapshot
}

// bucketOptions reach a server; with a directory, a sync waits for that.
func bucketOptions(server *s3test.Server, dir string) s3.Options {
	o := s3.Options{
		Endpoint: server.URL, AccessKey: "test", SecretKey: "testtest", Transport: server.Transport(),
		Beat: time.Hour, Stale: -1, Pause: time.Millisecond, CacheBytes: 1 << 20, Dir: dir,
	}
	if dir != "" {
		o.Durability = s3.Local
	}
	return o
}

// quickDir is where a sync costs nothing, if there is such a place: what a power cut
// leaves is made up here.
func quickDir() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// newBucket makes one, and a recorder that records what is done with it.
func newBucket(p plan, local bool) (b *bucket, err error) {
	dir := ""
	if local {
		if dir, err = os.MkdirTemp(quickDir(), "coffer"); err != nil {
			return nil, err
		}
	}
	var anchor *storetest.Anchor
	if p.anchored {
		anchor = &storetest.Anchor{}
	}
	server := s3test.Quiet(nil)
	b = &bucket{server: server, options: bucketOptions(server, dir), rec: newRecorder(memhost.New(p.host), anchor)}
	b.rec.bucket = b
	if p.anchored {
		anchor.Around = b.keep
	}
	if err := s3.Create(bg, bucketURL, b.options); err != nil {
		return nil, err
	}
	v, err := s3.Open(bg, bucketURL, b.options)
	b.volume = v
	server.Watch(func(method, object string) {
		if method == "PUT" || method == "DELETE" {
			b.keep(method + " " + object)
		}
	})
	return b, err
}

func (b *bucket) close() {
	_ = b.volume.Close()
	_ = os.RemoveAll(b.options.Dir)
}

// keep keeps this moment. The disk is looked at before the store: what was taken off
// it is there already. The anchor knows of nothing more meanwhile.
func (b *bucket) keep(call string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := bucketMoment{snapshot: snapshot{call: call, created: b.rec.created.Load(), bounds: b.rec.progress.now()}}
	look := func() {
		if b.options.Dir != "" {
			m.journal, _ = os.ReadFile(filepath.Join(b.options.Dir, "journal"))
			m.lock, _ = os.ReadFile(filepath.Join(b.options.Dir, "lock"))
		}
		m.bucket = b.server.State()
	}
	if b.rec.anchor != nil {
		m.anchor = b.rec.anchor.Hold(look)
	} else {
		look()
	}
	m.most = b.rec.progress.now().most
	b.moments = append(b.moments, m)
}

// breakSome has one request in so many fail, in every way; some have their effect late
// only if late is set.
func breakSome(server *s3test.Server, r *rand.Rand, each int, late bool) {
	faults := []s3test.Fault{s3test.Before, s3test.After, s3test.Busy, s3test.Failed}
	if late {
		faults = append(faults, s3test.Late)
	}
	var mu sync.Mutex // requests come side by side
	server.Break(func(string, string) s3test.Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.IntN(each) > 0 {
			return s3test.None
		}
		return faults[r.IntN(len(faults))]
	})
}

// TestCrashBucket is TestCrash with the volume in an object store: the enclave is cut
// off at every request, of which some had failed before, had their effect without an
// answer, or later. With local durability its machine's disk is left, as it was, with
// the last write torn, or not at all: then what is found is an older state, or, with an
// anchor that was told of every commit, no older one.
func TestCrashBucket(t *testing.T) {
	seed, cuts := newSeed(t), 0
	for run, most := uint64(0), *crashCuts/40; cuts < most; run++ {
		cuts += crashBucketRun(t, seed+run, 1+most/6)
	}
	t.Logf("%d cuts", cuts)
}

// crashBucketRun records one run and tries so many of its cuts, at most.
func crashBucketRun(t *testing.T, seed uint64, most int) (cuts int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 10))
	p := newPlan(r)
	p.steps, p.options.Takeover = 20+r.IntN(40), true
	b, err := newBucket(p, r.IntN(2) == 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	late := r.IntN(2) == 0
	breakSome(b.server, rand.New(rand.NewPCG(seed, 11)), 40, late)
	h, err := p.record(b.rec, r)
	if err != nil {
		t.Fatalf("-seed %d: recording: %v", seed, err)
	}
	b.keep("nothing")
	b.mu.Lock()
	moments := b.moments
	b.mu.Unlock()
	b.server.Break(nil)
	b.rec.end()
	for _, i := range r.Perm(len(moments))[:min(most, len(moments))] {
		c := bucketCut{late: late, bucketMoment: moments[i], cut: cut{plan: p, history: h, snapshot: moments[i].snapshot, seed: seed<<16 + uint64(i)}}
		if i+1 < len(moments) {
			c.next = &moments[i+1]
		}
		if err := c.try(); err != nil {
			t.Fatalf("-seed %d: cut %d of %d, before %s, within %v, %s: %v", seed, i, len(moments), c.cut.call, c.cut.bounds, c.fate, err)
		}
		cuts++
	}
	return cuts
}

// bucketCut is an enclave that is gone, and what comes after it.
type bucketCut struct {
	cut
	bucketMoment
	next *bucketMoment // nil behind the last
	gone bool          // the disk is, with what was acknowledged there
	late bool          // requests had their effect when nobody expected it
}

// opened is a volume in a store after a crash.
type opened struct {
	*s3.Volume
	server *s3test.Server
}

// SegmentIDs implements listed.
func (o opened) SegmentIDs() (ids []host.SegmentID) {
	infos, err := o.Segments(bg)
	if err != nil {
		panic(err)
	}
	for _, i := range infos {
		ids = append(ids, i.ID)
	}
	return ids
}

// errRefused: the anchor knows more than is left without the disk.
var errRefused = errors.New("rolled back, as the anchor says")

func (c *bucketCut) try() error {
	r := rand.New(rand.NewPCG(c.seed, 12))
	server := c.bucket.Cut(r)
	dir, err := c.disk(r)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := bucketOptions(server, dir)
	if r.IntN(4) == 0 {
		c.dieOpening(server, o, r)
	}
	if r.IntN(4) == 0 {
		c.fate += "failing "
		breakSome(server, rand.New(rand.NewPCG(c.seed, 13)), 30, false)
	}
	v, err := s3.Open(bg, bucketURL, o)
	if err != nil {
		return err
	}
	defer v.Close()
	err = c.verify(opened{v, server}, r)
	if errors.Is(err, errRefused) {
		return nil
	}
	if err != nil {
		return err
	}
	server.Break(nil)
	if c.late { // only after a crash whoever comes next looks for that
		return nil
	}
	return nothingLeft(opened{v, server})
}

// disk is what is left of the writer's directory; its name is empty without one.
func (c *bucketCut) disk(r *rand.Rand) (dir string, err error) {
	if c.lock == nil {
		return "", nil
	}
	if dir, err = os.MkdirTemp(quickDir(), "coffer"); err != nil {
		return "", err
	}
	journal := c.journal
	switch r.IntN(4) {
	case 0:
		c.fate += "its disk is gone "
		c.gone = true
		if c.cut.anchor == nil || c.options.AnchorEvery != store.AnchorEveryCommit {
			c.cut.least = moment{}
		}
		return dir, nil
	case 1, 2:
		if c.next != nil && len(c.next.journal) > len(journal) && bytes.HasPrefix(c.next.journal, journal) && len(journal) > 0 {
			c.fate += "torn "
			c.cut.most = c.next.most
			journal = torn(c.next.journal, len(journal), r)
		}
	}
	err = os.WriteFile(filepath.Join(dir, "lock"), c.lock, 0o600)
	if err == nil && journal != nil {
		err = os.WriteFile(filepath.Join(dir, "journal"), journal, 0o600)
	}
	return dir, err
}

// torn is a journal up to one of the records that end behind size, of which the disk
// has some sectors: the one before was durable when it was begun.
func torn(journal []byte, size int, r *rand.Rand) []byte {
	const header, sector = 36, 512
	var begins, ends []int
	for at := header; at+8 <= len(journal); {
		end := at + 8 + int(binary.BigEndian.Uint32(journal[at:]))
		if end > size {
			begins, ends = append(begins, at), append(ends, min(end, len(journal)))
		}
		at = end
	}
	if len(begins) == 0 {
		return journal
	}
	i := r.IntN(len(begins))
	b := bytes.Clone(journal[:ends[i]])
	for at := begins[i]; at < ends[i]; at = (at/sector + 1) * sector {
		if r.IntN(2) == 0 {
			clear(b[at:min(ends[i], (at/sector+1)*sector)])
		}
	}
	return b
}

// dieOpening opens the volume, and dies at one of the requests of that.
func (c *bucketCut) dieOpening(server *s3test.Server, o s3.Options, r *rand.Rand) {
	c.fate += "then opening "
	var left atomic.Int64
	left.Store(r.Int64N(12))
	how := []s3test.Fault{s3test.Before, s3test.After}[r.IntN(2)]
	server.Break(func(string, string) s3test.Fault {
		switch n := left.Add(-1); {
		case n == 0:
			return how
		case n < 0:
			return s3test.Before
		}
		return s3test.None
	})
	o.Patience = time.Millisecond
	if v, err := s3.Open(bg, bucketURL, o); err == nil {
		if s, err := c.open(v, c.cut.anchor, false); err == nil {
			_ = s.Close()
		}
		_ = v.Close()
	}
	server.Break(nil)
}

// verify opens the volume, looks at everything, and goes on using it.
func (c *bucketCut) verify(h opened, r *rand.Rand) error {
	s, err := c.open(h, c.cut.anchor, false)
	if !c.cut.created && errors.Is(err, store.ErrNoVolume) {
		if err := c.again(h); err != nil {
			return fmt.Errorf("create again: %w", err)
		}
		s, err = c.open(h, c.cut.anchor, false)
	}
	if c.gone && c.cut.anchor != nil && errors.Is(err, store.ErrRolledBack) {
		return errRefused
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	m, err := c.look(s, c.cut.bounds)
	if err == nil {
		w := writer{history: c.forkAt(m), s: s, r: r, keys: c.keys, slots: c.slots}
		if err = c.goOn(h, &w); err == nil {
			if err = s.Close(); err != nil {
				return err
			}
			return c.closed(h, w.history, r)
		}
	}
	_ = s.Close()
	return err
}

// again makes the volume that was not finished.
func (c *bucketCut) again(h opened) error {
	w, err := h.Acquire(bg, host.AcquireOptions{Takeover: true})
	if err == nil {
		err = w.Release(bg)
	}
	if err == nil {
		err = c.create(h, c.cut.anchor)
	}
	return err
}

// nothingLeft opens and releases a volume, after which the store has its bytes and not
// one more: of the journal, what ends it.
func nothingLeft(h opened) error {
	w, err := h.Acquire(bg, host.AcquireOptions{Takeover: true})
	if err == nil {
		err = w.Release(bg)
	}
	if err != nil {
		return err
	}
	const end = 92
	for name, size := range h.server.Sizes("v/log/") {
		if size > end {
			return fmt.Errorf("%s has %d bytes, and nobody needs it", name, size)
		}
	}
	var want, got int64
	infos, err := h.Segments(bg)
	for _, i := range infos {
		want += i.Size
	}
	for _, size := range h.server.Sizes("v/data/") {
		got += int64(size)
	}
	if err == nil && got != want {
		err = fmt.Errorf("segments have %d bytes, and the store %d for them", want, got)
	}
	return err
}

// TestFaultsOfBucket is TestFaults with the volume in an object store: the n-th request
// fails, has its effect without an answer, or later, once, of which nobody notices
// anything, or from then on.
func TestFaultsOfBucket(t *testing.T) { failAllRequests(t, newSeed(t), 6) }

// failAllRequests returns how many runs it made, so many of each kind at most.
func failAllRequests(t *testing.T, seed uint64, most int) (runs int) {
	t.Helper()
	for _, sticky := range []bool{false, true} {
		for _, fault := range []s3test.Fault{s3test.Before, s3test.After, s3test.Busy, s3test.Failed, s3test.Late} {
			for _, plan := range []operations{{}, {rekeys: true, snapshots: true, resizes: true}} {
				r := rand.New(rand.NewPCG(seed, uint64(fault)))
				nth := int64(1)
				for n, hit := 0, true; hit && n < most; n++ {
					f := &requestFault{fault: fault, nth: nth, sticky: sticky}
					within(t, fmt.Sprintf("-seed %d: %+v", seed, f), func() {
						if err := f.run(seed, plan); err != nil {
							t.Errorf("-seed %d: request %d, fault %d, sticky %v: %v", seed, nth, fault, sticky, err)
						}
					})
					if t.Failed() {
						t.FailNow()
					}
					hit = f.calls.Load() >= nth
					nth++
					if most < 1000 {
						nth += r.Int64N(30)
					}
					runs++
				}
			}
		}
	}
	return runs
}

// requestFault is what becomes of a request.
type requestFault struct {
	fault  s3test.Fault
	nth    int64
	sticky bool
	calls  atomic.Int64
}

func (f *requestFault) run(seed uint64, plan operations) error {
	server := s3test.Quiet(nil)
	o := bucketOptions(server, "")
	if err := s3.Create(bg, bucketURL, o); err != nil {
		return err
	}
	healthy, err := s3.Open(bg, bucketURL, o)
	if err != nil {
		return err
	}
	defer healthy.Close()
	if f.sticky {
		o.Patience = time.Millisecond
	}
	v, err := s3.Open(bg, bucketURL, o)
	if err != nil {
		return err
	}
	defer v.Close()
	server.Break(func(string, string) s3test.Fault {
		n := f.calls.Add(1)
		if n == f.nth || f.sticky && n > f.nth {
			return f.fault
		}
		return s3test.None
	})
	run := &faultRun{plan: plan, seed: seed, volume: v}
	if f.sticky {
		run.errs = []error{s3.ErrUnreachable, s3.ErrUncertain}
	}
	return run.runOn(&mended{opened{healthy, server}}, rand.New(rand.NewPCG(seed, 13)))
}

// mended is a volume whose store does not fail any more, from when it is used.
type mended struct{ opened }

// Acquire implements host.Volume.
func (m *mended) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	m.server.Break(nil)
	m.server.Settle()
	return m.opened.Acquire(ctx, o)
}
