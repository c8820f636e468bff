package local_test

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

const pageSize = 4096

// sampleCatalog is a catalog with inner pages, overflow pages and free pages.
func sampleCatalog(t testing.TB) []byte {
	t.Helper()
	dir := newVolume(t)
	w := acquire(t, dir)
	for i, size := range []int{10, 900, 3000, 3000, 20000, 65536, 100} {
		name := string(rune('a' + i))
		v, err := w.Swap(ctx, name, "", make([]byte, size))
		must(t, err)
		_, err = w.Swap(ctx, name, v, make([]byte, size/2))
		must(t, err)
	}
	p, err := os.ReadFile(filepath.Join(dir, "catalog.db"))
	must(t, err)
	return p
}

// try uses a volume with that catalog in every way. It must not panic, fault or
// hang; it says whether the damage was seen.
func try(t testing.TB, dir string, catalog []byte) error {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "catalog.db"), catalog, 0o600))
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
	if err != nil {
		return err
	}
	defer w.Release(ctx)
	for _, name := range []string{"a", "c", "f", "new"} {
		r, err := v.Get(ctx, name)
		if err != nil && !errors.Is(err, host.ErrNotFound) {
			return err
		}
		if _, err = w.Swap(ctx, name, r.Version, make([]byte, 5000)); err != nil {
			return err
		}
	}
	return nil
}

// seal makes the checksums of both meta pages right, as an attacker would.
func seal(p []byte) {
	for _, off := range []int{0, pageSize} {
		m := p[off+16:]
		sum := fnv.New64a()
		sum.Write(m[:56])
		binary.NativeEndian.PutUint64(m[56:], sum.Sum64())
	}
}

// current returns the offset of the meta page in use.
func current(p []byte) int {
	if binary.NativeEndian.Uint64(p[16+48:]) > binary.NativeEndian.Uint64(p[pageSize+16+48:]) {
		return 0
	}
	return pageSize
}

func TestDamagedCatalog(t *testing.T) {
	good := sampleCatalog(t)
	dir := newVolume(t)
	must(t, try(t, dir, good))
	root := binary.NativeEndian.Uint64(good[current(good)+32:])
	free := binary.NativeEndian.Uint64(good[current(good)+48:])
	both := func(p []byte, field int, value uint64) {
		for _, off := range []int{0, pageSize} {
			binary.NativeEndian.PutUint64(p[off+16+field:], value)
		}
		seal(p)
	}
	tests := []struct {
		name   string
		damage func(p []byte) []byte
	}{
		{"empty", func(p []byte) []byte { return nil }},
		{"one page", func(p []byte) []byte { return p[:pageSize] }},
		{"cut after the meta pages", func(p []byte) []byte { return p[:2*pageSize] }},
		{"cut in the tree", func(p []byte) []byte { return p[:5*pageSize+100] }},
		{"zeros", func(p []byte) []byte { return make([]byte, len(p)) }},
		{"too large", func(p []byte) []byte { return append(p, make([]byte, 65<<20)...) }},
		{"no meta page", func(p []byte) []byte { clear(p[:2*pageSize]); return p }},
		{"root is a meta page", func(p []byte) []byte { both(p, 16, 1); return p }},
		{"root beyond the end", func(p []byte) []byte { both(p, 16, 1<<40); return p }},
		{"root is the free list", func(p []byte) []byte { both(p, 16, free); return p }},
		{"free list is the root", func(p []byte) []byte { both(p, 32, root); return p }},
		{"no free list", func(p []byte) []byte { both(p, 32, 1<<64-1); return p }},
		{"too many pages", func(p []byte) []byte { both(p, 40, 1<<50); return p }},
		{"too few pages", func(p []byte) []byte { both(p, 40, 3); return p }},
		{"pages of 1 KiB", func(p []byte) []byte { both(p, 8, 1024); return p }},
		{"another page size in place of a broken meta", func(p []byte) []byte {
			copy(p[1024:2048], p[current(p):])
			p[0+16] ^= 1
			return p
		}},
		{"loop", func(p []byte) []byte {
			page := p[root*pageSize:][:pageSize]
			binary.NativeEndian.PutUint16(page[8:], 1)   // branch
			binary.NativeEndian.PutUint16(page[10:], 1)  // one element
			binary.NativeEndian.PutUint32(page[16:], 16) // key after it
			binary.NativeEndian.PutUint32(page[20:], 1)
			binary.NativeEndian.PutUint64(page[24:], root)
			return p
		}},
		{"a tree that fans out for ever", func(p []byte) []byte {
			const first, last = 12, 2
			for id := uint64(first); id > last; id-- {
				fanOut(p[id*pageSize:][:pageSize], id, id-1)
			}
			leaf := p[last*pageSize:][:pageSize]
			clear(leaf)
			binary.NativeEndian.PutUint64(leaf, last)
			binary.NativeEndian.PutUint16(leaf[8:], 2)
			both(p, 16, first)
			return p
		}},
		{"elements beyond the page", func(p []byte) []byte {
			binary.NativeEndian.PutUint16(p[root*pageSize+10:], 0xffff)
			return p
		}},
		{"key beyond the page", func(p []byte) []byte {
			binary.NativeEndian.PutUint32(p[root*pageSize+16+8:], 1<<31)
			return p
		}},
		{"bucket is a value", func(p []byte) []byte {
			binary.NativeEndian.PutUint32(p[root*pageSize+16:], 0)
			return p
		}},
		{"huge overflow", func(p []byte) []byte {
			binary.NativeEndian.PutUint32(p[root*pageSize+12:], 1<<32-1)
			return p
		}},
		{"huge free list", func(p []byte) []byte {
			binary.NativeEndian.PutUint16(p[free*pageSize+10:], 0xffff)
			binary.NativeEndian.PutUint64(p[free*pageSize+16:], 1<<60)
			return p
		}},
		{"the root is free", func(p []byte) []byte {
			binary.NativeEndian.PutUint16(p[free*pageSize+10:], 1)
			binary.NativeEndian.PutUint64(p[free*pageSize+16:], root)
			return p
		}},
	}
	for _, test := range tests {
		err := try(t, dir, test.damage(append([]byte{}, good...)))
		if !errors.Is(err, local.ErrDamaged) || host.Refused(err) {
			t.Errorf("%s: error %v, want %q", test.name, err, local.ErrDamaged)
		}
	}
}

// fanOut makes a branch page with many elements that all lead to one page.
func fanOut(p []byte, id, child uint64) {
	const count = 100
	clear(p)
	binary.NativeEndian.PutUint64(p, id)
	binary.NativeEndian.PutUint16(p[8:], 1)
	binary.NativeEndian.PutUint16(p[10:], count)
	for i := range count {
		e, key := p[16+16*i:], 16+16*count+i
		binary.NativeEndian.PutUint32(e, uint32(key-16-16*i))
		binary.NativeEndian.PutUint32(e[4:], 1)
		binary.NativeEndian.PutUint64(e[8:], child)
		p[key] = byte(i)
	}
}

// TestTornMeta: one broken meta page is what a crash may leave.
func TestTornMeta(t *testing.T) {
	dir := newVolume(t)
	good := sampleCatalog(t)
	for off := range 2 {
		torn := append([]byte{}, good...)
		clear(torn[off*pageSize:][:pageSize])
		if err := try(t, dir, torn); off*pageSize == current(good) && err == nil {
			continue // the state before the last commit
		} else if err != nil && off*pageSize != current(good) {
			t.Errorf("without meta page %d: %v", off, err)
		}
	}
}

// TestCatalogCutInUse: the mapping faults, which must not end the process. What
// bbolt mapped is lost then, so it is not tried again.
func TestCatalogCutInUse(t *testing.T) {
	dir := newVolume(t)
	v := open(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, "catalog.db"))
	must(t, err)
	if err := local.CutCatalog(v, dir); !errors.Is(err, local.ErrDamaged) {
		t.Errorf("error %v, want %q", err, local.ErrDamaged)
	}
	must(t, os.WriteFile(filepath.Join(dir, "catalog.db"), good, 0o600))
	_, err = v.Get(ctx, "root")
	if !errors.Is(err, local.ErrDamaged) || !strings.Contains(err.Error(), "found damaged before") {
		t.Errorf("the next get: %v", err)
	}
	acquire(t, dir)
}

func TestUnknownFormat(t *testing.T) {
	good := string(sampleCatalog(t))
	bad := strings.ReplaceAll(good, "coffer host volume 1", "coffer host volume 2")
	err := try(t, newVolume(t), []byte(bad))
	if !errors.Is(err, local.ErrFormat) || !strings.Contains(err.Error(), `"coffer host volume 2"`) {
		t.Errorf("error %v, want %q", err, local.ErrFormat)
	}
}

// TestRandomDamage changes bytes where they matter, and mends the checksums.
func TestRandomDamage(t *testing.T) {
	const rounds = 150
	good := sampleCatalog(t)
	dir := newVolume(t)
	seen := 0
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 2))
		bad := append([]byte{}, good...)
		for range 1 + rng.IntN(4) {
			// Pages begin with what steers bbolt.
			off := rng.IntN(len(bad)/4/pageSize)*pageSize + rng.IntN(160)
			bad[off] = byte(rng.Uint32()) >> rng.IntN(8)
		}
		if rng.IntN(2) == 0 {
			seal(bad)
		}
		if err := tryLoudly(t, seed, dir, bad); err != nil {
			seen++
		}
	}
	if seen < rounds/10 {
		t.Errorf("%d of %d damages were seen", seen, rounds)
	}
}

// tryLoudly is try, and names the seed if it panics.
func tryLoudly(t *testing.T, seed uint64, dir string, catalog []byte) error {
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("seed %d: %v", seed, p)
		}
	}()
	return try(t, dir, catalog)
}

func FuzzCatalog(f *testing.F) {
	f.Add(uint16(0), []byte{1})
	f.Add(uint16(pageSize+32), []byte{2, 0, 0})
	f.Add(uint16(3*pageSize+8), []byte{1, 0, 255, 255})
	good := sampleCatalog(f)
	dir := newVolume(f)
	f.Fuzz(func(t *testing.T, off uint16, p []byte) {
		bad := append([]byte{}, good...)
		copy(bad[off:], p)
		seal(bad)
		_ = try(t, dir, bad)
	})
}
