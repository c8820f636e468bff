package s3_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

func localOptions(server *s3test.Server, dir string) s3.Options {
	o := direct(server)
	o.Durability, o.Dir = s3.Local, dir
	return o
}

// journalRecord is the size of a record of a sync of so many bytes.
func journalRecord(size int) int { return 8 + 60 + 17 + 32 + size }

func down(string, string) s3test.Fault { return s3test.Before }

// What was acknowledged while the store was away is in it after the process was
// killed, as soon as the volume is opened on the same disk.
func TestLocalSurvivesAKill(t *testing.T) {
	t.Parallel()
	server := s3test.Quiet(nil)
	o := localOptions(server, t.TempDir())
	create(t, url, o)
	_, w := acquire(t, o, false)
	one := mustFill(t, w, 1, mixed...)
	server.Break(down)
	two := mustFill(t, w, 2, mixed...)
	version, err := w.Swap(ctx, "root", "", []byte("away"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if l := s3.LagOf(w); l.Changes < len(mixed)+2 || l.Bytes < int64(len(two)) || l.Age <= 0 {
		t.Errorf("the lag is %+v", l)
	}
	holds(t, w, 2, two)
	s3.Abandon(w)
	server.Break(nil)

	v, err := s3.Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if st, err := v.Status(ctx); err != nil || !st.Held || !st.Local || st.Lag.Changes < len(mixed)+2 {
		t.Errorf("status: %+v, %v", st, err)
	}
	_, w = acquire(t, o, false)
	holds(t, w, 2, two)
	if r, err := w.Get(ctx, "root"); err != nil || string(r.Value) != "away" || r.Version != version {
		t.Errorf("the record is %q, %v", r.Value, err)
	}
	if _, err := w.Read(ctx, 1, 0, make([]byte, len(one))); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("read a deleted segment: %v", err)
	}
	if err := w.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "journal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the journal of a volume that was closed: %v", err)
	}
}

// Whoever does not have the disk is not let in unawares; and when somebody was, the
// disk's journal is not forgotten.
func TestLocalElsewhere(t *testing.T) {
	t.Parallel()
	server := s3test.Quiet(nil)
	o := localOptions(server, t.TempDir())
	create(t, url, o)
	_, w := acquire(t, o, false)
	server.Break(down)
	mustFill(t, w, 1, 100)
	s3.Abandon(w)
	server.Break(nil)

	other := direct(server)
	other.Grace = 100 * time.Millisecond
	v, err := s3.Open(ctx, url, other)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Acquire(ctx, host.AcquireOptions{}); !errors.Is(err, s3.ErrUnshipped) || !errors.Is(err, host.ErrInUse) {
		t.Errorf("acquire elsewhere: %v", err)
	}
	_, took := acquire(t, other, true)
	if err := took.Release(ctx); err != nil {
		t.Fatal(err)
	}
	here, err := s3.Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if _, err := here.Acquire(ctx, host.AcquireOptions{}); !errors.Is(err, s3.ErrUnshipped) {
		t.Errorf("acquire with a journal of another history: %v", err)
	}
	if err := os.Rename(filepath.Join(o.Dir, "journal"), filepath.Join(o.Dir, "given-up")); err != nil {
		t.Fatal(err)
	}
	acquire(t, o, false)
}

// Syncs wait when the store is too far behind.
func TestLocalLagIsBounded(t *testing.T) {
	t.Parallel()
	server := s3test.Quiet(nil)
	o := localOptions(server, t.TempDir())
	o.LagBytes, o.Patience = 10_000, 200*time.Millisecond
	create(t, url, o)
	_, w := acquire(t, o, false)
	server.Break(down)
	done, err := fill(w, 1, 4000, 4000, 4000, 4000)
	if !errors.Is(err, s3.ErrUnreachable) || len(done) != 8000 {
		t.Errorf("%d bytes were acknowledged, then %v", len(done), err)
	}
	server.Break(nil)
	_, w = acquire(t, direct(server), true)
	got := make([]byte, 8000)
	if _, err := w.Read(ctx, 1, 0, got); err == nil && !bytes.Equal(got, done) {
		t.Error("what arrived is another thing")
	}
}

// The crash model, with a journal: cut off from the store at each request, and
// opened again on the same disk.
func TestLocalCrash(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	for cut, step := int64(1), int64(1); ; cut += step {
		r := rand.New(rand.NewPCG(seed, uint64(cut)))
		server := s3test.Quiet(nil)
		newStoreVolume(t, server)
		o := localOptions(server, t.TempDir())
		brief := o
		brief.Patience = 20 * time.Millisecond
		h := &history{slots: make([]uint64, slots)}
		var calls atomic.Int64
		server.Break(func(string, string) s3test.Fault {
			switch n := calls.Add(1); {
			case n == cut:
				return s3test.After
			case n > cut:
				return s3test.Before
			}
			return s3test.None
		})
		err := h.session(brief, r, 40)
		hit := calls.Load() >= cut
		server.Break(nil)
		if w := (*wrong)(nil); errors.As(err, &w) || err != nil && !hit && !errors.Is(err, s3.ErrUnreachable) {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if err := h.session(o, r, 10); err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if !hit {
			t.Logf("%d requests", cut)
			return
		}
		step = 1 + int64(r.IntN(7))
	}
}

// A journal that was cut off ends there; one that is damaged is refused.
func TestLocalJournal(t *testing.T) {
	t.Parallel()
	server := s3test.Quiet(nil)
	o := localOptions(server, t.TempDir())
	create(t, url, o)
	_, w := acquire(t, o, false)
	server.Break(down)
	mustFill(t, w, 1, 100, 200, 300)
	b, err := os.ReadFile(filepath.Join(o.Dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	s3.Abandon(w)
	for size := range len(b) {
		n, err := s3.ReadJournal(b[:size])
		if size >= 36 && (err != nil || n > 2) || size < 36 && err == nil {
			t.Errorf("%d of %d bytes: %d entries, %v", size, len(b), n, err)
		}
	}
	if n, err := s3.ReadJournal(append(bytes.Clone(b), make([]byte, 5000)...)); n != 3 || err != nil {
		t.Errorf("with zeros behind: %d entries, %v", n, err)
	}
	seed := newSeed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for at := 36; at < len(b); at += 1 + r.IntN(20) {
		spoilt := bytes.Clone(b)
		spoilt[at] ^= 1 << r.IntN(8)
		n, err := s3.ReadJournal(spoilt)
		if isLast := at >= len(b)-journalRecord(300); isLast && (err != nil || n != 2) || !isLast && !errors.Is(err, s3.ErrUnshipped) {
			t.Errorf("byte %d of %d is spoilt: %d entries, %v", at, len(b), n, err)
		}
	}
}

// A power cut in the middle of a write leaves any of its sectors, the first one also
// missing. What was acknowledged before is read, whatever they are.
func TestLocalJournalTorn(t *testing.T) {
	t.Parallel()
	server := s3test.Quiet(nil)
	o := localOptions(server, t.TempDir())
	create(t, url, o)
	_, w := acquire(t, o, false)
	server.Break(down)
	mustFill(t, w, 1, 100, 200, 2000)
	b, err := os.ReadFile(filepath.Join(o.Dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	s3.Abandon(w)
	const sector = 512
	begin := len(b) - journalRecord(2000)
	first := begin / sector
	count := (len(b)+sector-1)/sector - first
	for set := range 1 << count {
		torn := bytes.Clone(b)
		for i := range count {
			if set>>i&1 == 0 {
				from, to := max((first+i)*sector, begin), min((first+i+1)*sector, len(b))
				clear(torn[from:to])
			}
		}
		want := 2
		if set == 1<<count-1 {
			want = 3
		}
		if n, err := s3.ReadJournal(torn); n != want || err != nil {
			t.Errorf("sectors %b of %d: %d entries, %v", set, count, n, err)
		}
	}
}
