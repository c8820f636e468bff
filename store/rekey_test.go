package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

var (
	oldSecret = storetest.Secret("test")
	newSecret = storetest.Secret("new")
)

func openWith(v *memhost.Host, secrets ...store.Secret) (*store.Store, error) {
	return store.Open(context.Background(), v, store.Options{Unlocker: store.Secrets(secrets), Takeover: true})
}

func mustOpen(tb testing.TB, v *memhost.Host, secrets ...store.Secret) *store.Store {
	tb.Helper()
	s, err := openWith(v, secrets...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// rekey takes whatever steps are left to bring the volume under newSecret.
func rekey(s *store.Store) error {
	ctx := context.Background()
	if st := s.KeyState(); st.Generation == 1 {
		if err := s.AddGeneration(ctx, newSecret); err != nil {
			return err
		}
	}
	if err := s.Rekey(ctx, store.RekeyOptions{}); err != nil {
		return err
	}
	return s.DropOldGenerations(ctx)
}

// aged returns a volume that was used for a while, closed, and its model.
func aged(tb testing.TB, rng *rand.Rand, capacity int64, steps int) (*memhost.Host, *files) {
	tb.Helper()
	v := memhost.New(memhost.Options{Spares: 2})
	storetest.Create(tb, v, capacity)
	s := storetest.Open(tb, v)
	f := newFiles(tb, rng, 100<<10)
	for i := range steps {
		if err := f.step(s, 8); err != nil {
			tb.Fatal(err)
		}
		if i == steps/2 {
			if err := s.Close(); err != nil {
				tb.Fatal(err)
			}
			s = storetest.Open(tb, v)
		}
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return v, f
}

func TestRekey(t *testing.T) {
	v, f := aged(t, newRand(t), 16<<20, 300)
	before := v.Clone()
	s := mustOpen(t, v, oldSecret)
	oldKeys := s.VolumeKeys()
	oldKey, _ := key.FromBytes(oldKeys[1].Bytes())
	if err := rekey(s); err != nil {
		t.Fatal(err)
	}
	f.mustCheck(s)
	if st := s.KeyState(); st.Older != 0 || st.Remaining != 0 || st.Generation != 2 {
		t.Errorf("at the end: %+v", st)
	}
	for range 50 { // it goes on being used
		if err := f.step(s, 8); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(v, oldSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with the old key: %v", err)
	}
	checkNothingOld(t, before, v, oldKey, 2, newSecret, oldSecret)
	s = mustOpen(t, v, newSecret)
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// changeMind begins to bring the volume under newSecret, and brings it back under
// oldSecret in the middle, or at the end if there is less than a piece to move. It
// takes whatever steps of that are left.
func changeMind(s *store.Store) (inTheMiddle bool, err error) {
	ctx := context.Background()
	if st := s.KeyState(); st.Generation == 1 {
		if err := s.AddGeneration(ctx, newSecret); err != nil {
			return false, err
		}
		err := s.Rekey(ctx, store.RekeyOptions{Pace: func(context.Context, int64) error { return errEnough }})
		if inTheMiddle = errors.Is(err, errEnough); err != nil && !inTheMiddle {
			return false, fmt.Errorf("rekey in part: %w", err)
		}
	}
	if !s.OpensWith(oldSecret) {
		if err := s.AddGeneration(ctx, oldSecret); err != nil {
			return inTheMiddle, err
		}
	}
	if err := s.Rekey(ctx, store.RekeyOptions{}); err != nil {
		return inTheMiddle, err
	}
	return inTheMiddle, s.DropOldGenerations(ctx)
}

var errEnough = errors.New("enough")

// In the middle of a change of keys the volume goes back under the key it came from:
// as a third generation, in whose end none of the two before is left.
func TestChangeOfMind(t *testing.T) {
	v, f := aged(t, newRand(t), 16<<20, 300)
	before := v.Clone()
	s := mustOpen(t, v, oldSecret)
	first, _ := key.FromBytes(s.VolumeKeys()[1].Bytes())
	var second key.Key
	v.SetHook(func(memhost.Call) memhost.Cut {
		if k, ok := s.VolumeKeys()[2]; ok && second == (key.Key{}) {
			second, _ = key.FromBytes(k.Bytes())
		}
		return memhost.Proceed
	})
	if middle, err := changeMind(s); err != nil || !middle {
		t.Fatalf("in the middle: %v, %v", middle, err)
	}
	v.SetHook(nil)
	if st := s.KeyState(); st.Older != 0 || st.Remaining != 0 || st.Generation != 3 {
		t.Errorf("at the end: %+v", st)
	}
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(v, newSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with the key it was going to: %v", err)
	}
	for _, vk := range []key.Key{first, second} {
		checkNothingOld(t, before, v, vk, 3, oldSecret, newSecret)
	}
	s = mustOpen(t, v, oldSecret)
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// At calls to the host all over a change of mind: whichever slot is of the generation
// of the root, or of a later one, opens what a crash leaves, and from there it comes to
// its end.
func TestChangeOfMindCrash(t *testing.T) {
	rng := newRand(t)
	v, f := aged(t, rng, 8<<20, 60)
	whole := v.Clone()
	s := mustOpen(t, whole, oldSecret)
	if _, err := changeMind(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for n := range whole.Calls() {
		h := v.Clone()
		h.CutAt(n, memhost.CutBefore+memhost.Cut(rng.IntN(3)))
		if s, err := openWith(h, oldSecret); err == nil {
			_, _ = changeMind(s)
			_ = s.Close()
		}
		state, err := resumeChangeOfMind(f, h.Crash(memhost.CrashOptions{Seed: rng.Uint64()}))
		if err != nil {
			t.Fatalf("cut %d, %s: %v", n, state, err)
		}
		states[state]++
	}
	t.Log(states)
	for _, want := range []string{"slots [1 2], root 2", "slots [2 3], root 3", "slots [3], root 3"} {
		if states[want] == 0 {
			t.Errorf("never crashed with %s", want)
		}
	}
}

// headerAndRoot are the records of a volume that say how it stands between two keys.
func headerAndRoot(v *memhost.Host) (seal.Header, seal.RootInfo, error) {
	h, err := seal.ParseHeader(v.Record("header"))
	if err != nil {
		return h, seal.RootInfo{}, err
	}
	info, err := seal.ParseRoot(v.Record("root"))
	return h, info, err
}

func resumeChangeOfMind(f *files, v *memhost.Host) (state string, err error) {
	h, info, err := headerAndRoot(v)
	if err != nil {
		return "", err
	}
	var generations []uint32
	for _, slot := range h.Slots {
		generations = append(generations, slot.Generation)
	}
	state = fmt.Sprintf("slots %v, root %d", generations, info.Generation)
	for _, slot := range h.Slots {
		secret := oldSecret
		if bytes.Equal(slot.Descriptor, newSecret.Descriptor) {
			secret = newSecret
		}
		s, err := openWith(v.Clone(), secret)
		if slot.Generation < info.Generation {
			if err == nil {
				return state, errors.Join(fmt.Errorf("the slot of generation %d still opens it", slot.Generation), s.Close())
			}
			continue
		}
		if err != nil {
			return state, err
		}
		_, checkErr := s.Check(context.Background(), nil)
		before := f.check(s)
		_, err = changeMind(s)
		if err := errors.Join(before, err, f.check(s), checkErr, s.Close()); err != nil {
			return state, fmt.Errorf("from generation %d: %w", slot.Generation, err)
		}
	}
	return state, nil
}

// checkNothingOld tries an old volume key on everything the host has, and looks for
// the old slot. The volume is of that generation, and for the secret to.
func checkNothingOld(t *testing.T, before, after *memhost.Host, vk key.Key, generation uint32, to, from store.Secret) {
	t.Helper()
	h, err := seal.ParseHeader(after.Record("header"))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Slots) != 1 || !bytes.Equal(h.Slots[0].Descriptor, to.Descriptor) {
		t.Errorf("header has %d slots, the first for %q", len(h.Slots), h.Slots[0].Descriptor)
	}
	var keys []seal.SegmentKey
	for _, v := range []*memhost.Host{before, after} {
		for _, id := range v.SegmentIDs() {
			p, err := seal.ParsePreamble(v.Segment(id))
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, seal.NewSegmentKey(vk, h.Volume, uint64(id), p.Salt))
		}
	}
	for i, b := range after.Kept() {
		for at := seal.PreambleSize; at+store.BatchHeaderSize <= len(b); at += seal.SectorSize {
			for _, k := range keys {
				if _, err := k.Open(nil, seal.FrameBatch, uint32(at), b[at:at+store.BatchHeaderSize]); err == nil {
					t.Errorf("room %d, offset %d: opens under the old key", i, at)
				}
			}
		}
	}
	roots := [][]byte{after.Record("root")}
	for _, id := range after.SegmentIDs() {
		b := after.Segment(id)
		if p, _ := seal.ParsePreamble(b); p.Generation != generation || bytes.Contains(p.Header, from.Descriptor) {
			t.Errorf("segment %d is of generation %d", id, p.Generation)
		}
		if bytes.Contains(b, append([]byte{0, byte(len(from.Descriptor))}, from.Descriptor...)) {
			t.Errorf("segment %d holds a copy of the old slot", id)
		}
		for at := seal.PreambleSize; at+store.BatchHeaderSize <= len(b); at += seal.SectorSize {
			if string(b[at:at+8]) == "coffroot" {
				roots = append(roots, b[at:])
			}
		}
	}
	for _, b := range roots {
		info, err := seal.ParseRoot(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := info.Open(vk); err == nil || info.Generation != generation {
			t.Errorf("root %d opens under the old key", info.Sequence)
		}
	}
}

// At every call to the host, and after: with a root of the first generation the
// old key opens the volume, with one of the second the new key does, and the new
// key always does once its slot is there. What was begun comes to its end.
func TestRekeyCrash(t *testing.T) {
	rng := newRand(t)
	v, f := aged(t, rng, 8<<20, 80)
	whole := v.Clone()
	s := mustOpen(t, whole, oldSecret)
	from := whole.Calls()
	if err := errors.Join(rekey(s), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cuts", 3*(whole.Calls()-from))
	states := map[string]int{}
	for n := 0; n < whole.Calls(); n++ {
		for _, how := range []memhost.Cut{memhost.CutBefore, memhost.CutDuring, memhost.CutAfter} {
			h := v.Clone()
			h.CutAt(n, how)
			if s, err := openWith(h, oldSecret); err == nil {
				_ = rekey(s)
				_ = s.Close()
			}
			state, err := resumeRekey(f, h.Crash(memhost.CrashOptions{Seed: rng.Uint64()}))
			if err != nil {
				t.Fatalf("cut %d, %v, %s: %v", n, how, state, err)
			}
			states[state]++
		}
	}
	t.Log(states)
	for _, want := range []string{"one slot, root of generation 1", "two slots, root of generation 1", "two slots, root of generation 2", "one slot, root of generation 2"} {
		if states[want] == 0 {
			t.Errorf("never crashed with %s", want)
		}
	}
}

// resumeRekey opens what a crash left behind in every way that must work, and
// brings the rekeying to its end in one of them.
func resumeRekey(f *files, v *memhost.Host) (state string, err error) {
	h, info, err := headerAndRoot(v)
	if err != nil {
		return "", err
	}
	state = fmt.Sprintf("%s, root of generation %d", []string{1: "one slot", 2: "two slots"}[len(h.Slots)], info.Generation)
	hasNew := bytes.Equal(h.Slots[len(h.Slots)-1].Descriptor, newSecret.Descriptor)
	var ways []store.Secret
	if info.Generation == 1 {
		ways = append(ways, oldSecret)
	} else if s, err := openWith(v.Clone(), oldSecret); err == nil {
		return state, errors.Join(errors.New("the old key still opens it"), s.Close())
	}
	if hasNew {
		ways = append(ways, newSecret)
	}
	for _, secret := range ways {
		c := v.Clone()
		if err := finishRekey(f, c, secret); err != nil {
			return state, fmt.Errorf("with key %q: %w", secret.Descriptor, err)
		}
	}
	return state, nil
}

func finishRekey(f *files, v *memhost.Host, secret store.Secret) error {
	s, err := openWith(v, secret)
	if err != nil {
		return err
	}
	if err := f.check(s); err != nil {
		return err
	}
	if st := s.KeyState(); st.Generation == 1 && secret.Key.Equal(newSecret.Key) {
		return fmt.Errorf("opened with the new key, %+v", st)
	}
	if err := rekey(s); err != nil {
		return err
	}
	if err := f.check(s); err != nil {
		return err
	}
	if _, err := s.Check(context.Background(), nil); err != nil {
		return err
	}
	if st := s.KeyState(); st.Older != 0 {
		return fmt.Errorf("not at the end: %+v", st)
	}
	return s.Close()
}

// A host may bring back the header as it was before each step. With the root of
// after it, that header must not open.
func TestOldHeader(t *testing.T) {
	ctx := context.Background()
	v, _ := aged(t, newRand(t), 8<<20, 50)
	headers := [][]byte{v.Record("header")}
	s := mustOpen(t, v, oldSecret)
	if err := s.AddGeneration(ctx, newSecret); err != nil {
		t.Fatal(err)
	}
	headers = append(headers, v.Record("header"))
	if err := errors.Join(s.Rekey(ctx, store.RekeyOptions{}), s.DropOldGenerations(ctx), s.Close()); err != nil {
		t.Fatal(err)
	}
	for i, h := range headers {
		c := v.Clone()
		c.SetRecord("header", h)
		for _, secret := range []store.Secret{oldSecret, newSecret} {
			_, err := openWith(c, secret)
			if !errors.Is(err, store.ErrWrongKey) && !errors.Is(err, store.ErrDamaged) {
				t.Errorf("header %d with key %q: %v", i, secret.Descriptor, err)
			}
		}
	}
	c := v.Clone()
	c.SetRecord("header", headers[1])
	if _, err := openWith(c, newSecret); err == nil || !strings.Contains(err.Error(), "header 2 is older than root") {
		t.Errorf("with the header of before the last step: %v", err)
	}
}

func TestRewrap(t *testing.T) {
	ctx := context.Background()
	v, f := aged(t, newRand(t), 8<<20, 50)
	header := v.Record("header")
	s := mustOpen(t, v, oldSecret)
	appended := v.Stats().BytesAppended
	if err := s.Rewrap(ctx, newSecret); err != nil {
		t.Fatal(err)
	}
	if n := v.Stats().BytesAppended - appended; n > 64<<10 {
		t.Errorf("%d bytes were written for it", n)
	}
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(v, oldSecret); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with the old key: %v", err)
	}
	s = mustOpen(t, v, newSecret)
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	v.SetRecord("header", header)
	if _, err := openWith(v, oldSecret); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("with the old header: %v", err)
	}
}

func TestUnfinished(t *testing.T) {
	ctx := context.Background()
	v, _ := aged(t, newRand(t), 8<<20, 50)
	s := mustOpen(t, v, oldSecret)
	if err := s.AddGeneration(ctx, newSecret); err != nil {
		t.Fatal(err)
	}
	if err := s.AddGeneration(ctx, storetest.Secret("third")); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a fourth generation": s.AddGeneration(ctx, storetest.Secret("fourth")),
		"rewrapping":          s.Rewrap(ctx, storetest.Secret("fourth")),
		"dropping the key":    s.DropOldGenerations(ctx),
	} {
		if !errors.Is(err, store.ErrUnfinished) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A slot that was made and never used gives way to one for another key.
func TestAnotherKey(t *testing.T) {
	v, f := aged(t, newRand(t), 8<<20, 50)
	s := mustOpen(t, v, oldSecret)
	v.SetHook(func(c memhost.Call) memhost.Cut {
		if c.Op == memhost.OpSwap && c.Name == "root" {
			return memhost.CutBefore
		}
		return memhost.Proceed
	})
	if err := s.AddGeneration(context.Background(), storetest.Secret("never used")); !errors.Is(err, memhost.ErrCrashed) {
		t.Fatal(err)
	}
	_ = s.Close()
	v = v.Crash(memhost.CrashOptions{})
	s = mustOpen(t, v, oldSecret)
	if err := rekey(s); err != nil {
		t.Fatal(err)
	}
	f.mustCheck(s)
	if st := s.KeyState(); st.Generation != 3 {
		t.Errorf("the number of a slot that was never used is used again: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Rekeying goes on beside writers and readers, and waits for what they hold.
func TestRekeyInUse(t *testing.T) {
	ctx := context.Background()
	v, f := aged(t, newRand(t), 32<<20, 200)
	s := mustOpen(t, v, oldSecret)
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		old := f.clone()
		err := s.View(ctx, func(tx *store.Tx) error {
			close(held)
			<-release
			return old.checkTx(s, tx)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	flush := s.NewFlush()
	data := []byte("sealed before, named after")
	extents, err := flush.Seal(ctx, 1<<20, 0, data)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for range 300 {
			if err := f.step(s, 8); err != nil {
				t.Error(err)
				return
			}
		}
		err := s.Update(ctx, func(tx *store.Tx) error {
			return tx.Put(store.Key{Object: 1 << 20, Type: store.TypeExtent, Sub: uint64(len(data))}, extents[0].Append(nil))
		})
		if err != nil {
			t.Error(err)
		}
		f.size = max(f.size, uint64(len(data)))
		f.note(1<<20, 0, data, true)
		flush.Close()
		close(release)
	})
	if err := rekey(s); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A damaged frame stays under the old key, and with it the key: it may be
// brought back from elsewhere. All else moves.
func TestRekeyDamaged(t *testing.T) {
	ctx := context.Background()
	v, f := aged(t, newRand(t), 16<<20, 100)
	s := mustOpen(t, v, oldSecret)
	const object = 99
	if err := f.write(s, object, 0, bytes.Repeat([]byte("whole"), 800)); err != nil {
		t.Fatal(err)
	}
	var e store.Extent
	err := s.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(store.Key{Object: object}, store.Key{Object: object + 1}, func(_ store.Key, b []byte) (_ bool, err error) {
			e, err = store.ParseExtent(b)
			return false, err
		})
	})
	if err := errors.Join(err, s.Commit(ctx)); err != nil {
		t.Fatal(err)
	}
	v.FlipBit(e.Segment, int64(e.Offset)+100, 3)
	if err := s.AddGeneration(ctx, newSecret); err != nil {
		t.Fatal(err)
	}
	err = s.Rekey(ctx, store.RekeyOptions{})
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("segment %d", e.Segment)) {
		t.Fatalf("rekey: %v", err)
	}
	if st := s.KeyState(); st.Remaining < 4000 || st.Remaining > 4200 {
		t.Errorf("%d bytes remain", st.Remaining)
	}
	if err := s.DropOldGenerations(ctx); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("drop the old key: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	v.FlipBit(e.Segment, int64(e.Offset)+100, 3)
	s = mustOpen(t, v, newSecret)
	if err := rekey(s); err != nil {
		t.Fatal(err)
	}
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// On a disk that is full rekeying says how much room it needs, and loses nothing. With
// that much it comes to its end.
func TestRekeyOnAFullDisk(t *testing.T) {
	v, f := aged(t, newRand(t), 64<<20, 50)
	s := mustOpen(t, v, oldSecret)
	data := make([]byte, 100<<10)
	for o := uint64(100); o < 220; o++ {
		f.fill(data)
		if err := f.write(s, o, 0, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddGeneration(bg, newSecret); err != nil {
		t.Fatal(err)
	}
	v.SetFree(0)
	var noRoom *store.ErrNoRoom
	err := s.View(bg, func(*store.Tx) error { // which keeps what is emptied
		return s.Rekey(bg, store.RekeyOptions{})
	})
	if !errors.As(err, &noRoom) || noRoom.Need != 2<<20 {
		t.Fatalf("with no room: %v", err)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	v.SetFree(64 << 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, v, newSecret)
	f.mustCheck(s)
	v.SetFree(noRoom.Need)
	if err := rekey(s); err != nil {
		t.Fatalf("with room for what it says: %v", err)
	}
	f.mustCheck(s)
	if _, err := s.Check(bg, nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
