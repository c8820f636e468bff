package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

// nonces collects all that was ever encrypted under a volume's keys, as the host
// sees it, which forgets nothing. A segment's key follows from its number and
// its salt, and a frame's nonce from its place, so a repeat shows as other bytes
// at one place of one segment with one salt. Salts of roots and of wrapped keys
// must never repeat at all.
type nonces struct {
	mu       sync.Mutex
	sealed   map[string][]byte // bytes appended, by number and salt
	salts    map[[32]byte][32]byte
	appends  int
	failures []string
}

func newNonces() *nonces {
	return &nonces{sealed: map[string][]byte{}, salts: map[[32]byte][32]byte{}}
}

// watch returns v, with all that is written to it noted in n.
func (n *nonces) watch(v host.Volume) host.Volume { return &watchedVolume{v, n} }

type watchedVolume struct {
	host.Volume
	n *nonces
}

func (v *watchedVolume) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	w, err := v.Volume.Acquire(ctx, o)
	if err != nil {
		return nil, err
	}
	return &watchedWriter{w, v.n, map[host.SegmentID]string{}}, nil
}

type watchedWriter struct {
	host.Writer
	n    *nonces
	keys map[host.SegmentID]string // guarded by n.mu
}

func (w *watchedWriter) Append(ctx context.Context, id host.SegmentID, off int64, p []byte) error {
	w.n.append(w.keys, id, off, p)
	return w.Writer.Append(ctx, id, off, p)
}

func (w *watchedWriter) Swap(ctx context.Context, name string, old host.Version, value []byte) (host.Version, error) {
	w.n.record(name, value)
	return w.Writer.Swap(ctx, name, old, value)
}

func (n *nonces) append(keys map[host.SegmentID]string, id host.SegmentID, off int64, p []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.appends++
	if off == 0 {
		preamble, err := seal.ParsePreamble(p)
		if err != nil {
			n.failures = append(n.failures, err.Error())
			return
		}
		keys[id] = fmt.Sprintf("segment %d of generation %d, salt %x", id, preamble.Generation, preamble.Salt)
		if n.sealed[keys[id]] != nil {
			n.failures = append(n.failures, keys[id]+" is opened twice")
		}
		off, p = seal.PreambleSize, p[seal.PreambleSize:]
		n.sealed[keys[id]] = []byte{}
	}
	had := n.sealed[keys[id]]
	at := int(off) - seal.PreambleSize
	if at != len(had) && !bytes.Equal(had[min(at, len(had)):], p) {
		n.failures = append(n.failures, fmt.Sprintf("%s: offset %d is written twice", keys[id], off))
	}
	n.sealed[keys[id]] = append(had[:min(at, len(had))], p...)
}

func (n *nonces) record(name string, value []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	salts := [][32]byte{}
	switch name {
	case "root":
		salts = append(salts, [32]byte(value[40:72]))
	case "header":
		h, err := seal.ParseHeader(value)
		if err != nil {
			n.failures = append(n.failures, err.Error())
			return
		}
		at := 44
		for _, s := range h.Slots {
			salts = append(salts, [32]byte(value[at+8:at+40]))
			at += 72 + len(s.Descriptor)
		}
	}
	sum := sha256.Sum256(value)
	for _, s := range salts {
		if was, ok := n.salts[s]; ok && was != sum {
			n.failures = append(n.failures, fmt.Sprintf("salt %x of record %q comes again", s, name))
		}
		n.salts[s] = sum
	}
}

func (n *nonces) check(t *testing.T) {
	t.Helper()
	for _, f := range n.failures {
		t.Error(f)
	}
	if len(n.sealed) < 3 || len(n.salts) < 3 {
		t.Errorf("only %d segments and %d salts were seen", len(n.sealed), len(n.salts))
	}
	t.Logf("%d appends, %d segment keys, %d salts of roots and slots", n.appends, len(n.sealed), len(n.salts))
}

// session opens the volume of v, writes, and closes it or not.
func (n *nonces) session(t *testing.T, v *vault, off int, closes bool) {
	t.Helper()
	v.s = storetest.Open(t, n.watch(v.host))
	for i := range 3 {
		v.put(t, 50+uint64(i), content{off + i, 700})
		v.commit(t)
	}
	if closes {
		v.close(t)
	}
}

// No nonce repeats, whatever old state the host brings back: rollback to every
// earlier copy, forks that write different data, crashes with all fates, and a
// crash in the middle of an append followed by more appends (A20).
func TestA18_NoncesUnderRollbackForkAndCrash(t *testing.T) {
	n := newNonces()
	v := &vault{history: newHistory(), host: memhost.New(memhost.Options{Spares: 4})}
	storetest.Create(t, n.watch(v.host), 64<<20)
	var copies []*vault
	for i := range 4 {
		copies = append(copies, v.fork())
		n.session(t, v, 1000*i, true)
	}
	for i, c := range copies { // rollbacks and forks
		for j := range 3 {
			f := c.fork()
			n.session(t, f, 100000+10000*i+1000*j, j%2 == 0)
			for seed := range uint64(6) {
				crashed := &vault{history: f.history.fork(f.last), host: f.host.Crash(memhost.CrashOptions{Seed: seed})}
				crashed.s = storetest.Open(t, n.watch(crashed.host))
				state, err := crashed.present(crashed.s)
				if err != nil {
					t.Fatal(err)
				}
				crashed.history = crashed.history.fork(state)
				crashed.put(t, 60, content{int(seed) * 999, 700})
				crashed.commit(t)
				crashed.close(t)
			}
		}
	}
	n.check(t)
}

// The recorder of TestA18 sees a repeat.
func TestA18_RepeatIsSeen(t *testing.T) {
	n := newNonces()
	p := seal.Preamble{Kind: seal.KindLog, Number: 3, Salt: [32]byte{1}}.Encode()
	keys := map[host.SegmentID]string{}
	n.append(keys, 3, 0, p)
	n.append(keys, 3, 4096, []byte("one thing"))
	n.append(keys, 3, 4096, []byte("another one"))
	if len(n.failures) != 1 {
		t.Errorf("%q", n.failures)
	}
}

// Writing the same place of the same object again, and again after a rollback,
// shows nothing of how the contents differ.
func TestA19_RewriteSameBlock(t *testing.T) {
	v := newVault(t)
	v.close(t)
	before := v.fork()
	var sealed, plain [][]byte
	for i, f := range []*vault{v, before} {
		f.open(t)
		for j := range 2 {
			c := content{5000 * (2*i + j), 700}
			e := f.put(t, 10, c)
			f.commit(t)
			sealed, plain = append(sealed, sealedBytes(f, e)[:700]), append(plain, c.bytes())
		}
		f.close(t)
	}
	for i := range sealed {
		for j := range i {
			if bytes.Equal(xor(sealed[i], sealed[j]), xor(plain[i], plain[j])) {
				t.Errorf("writes %d and %d share their key stream", j, i)
			}
		}
	}
}

func xor(a, b []byte) []byte {
	x := make([]byte, len(a))
	for i := range x {
		x[i] = a[i] ^ b[i]
	}
	return x
}

// After a crash in the middle of an append the next session writes elsewhere.
func TestA20_TornTail(t *testing.T) {
	n := newNonces()
	v := &vault{history: newHistory(), host: memhost.New(memhost.Options{})}
	storetest.Create(t, n.watch(v.host), 64<<20)
	for seed := range uint64(20) {
		v.s = storetest.Open(t, n.watch(v.host))
		v.put(t, 10+seed, content{int(seed) * 100, 5000})
		v.commit(t)
		v.host.SetHook(func(c memhost.Call) memhost.Cut {
			if c.Op == memhost.OpSync {
				return memhost.CutBefore // when the next batch was appended
			}
			return memhost.Proceed
		})
		v.put(t, 100+seed, content{int(seed) * 100, 5000})
		if err := v.s.Commit(bg); err == nil {
			t.Fatal("a commit on a dead machine")
		}
		tear := func(int, memhost.Pending) memhost.Fate { return memhost.Tear }
		v.host = v.host.Crash(memhost.CrashOptions{Seed: seed, Decide: tear})
		v.s.Close()
		v.s = storetest.Open(t, n.watch(v.host))
		state, err := v.present(v.s)
		if err != nil || state < v.last-1 {
			t.Fatalf("state %d of %d: %v", state, v.last, err)
		}
		v.history = v.history.fork(state)
		v.close(t)
	}
	n.check(t)
}
