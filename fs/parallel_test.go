package fs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// watchdog ends the test with all stacks if it takes too long: what never ends is
// a deadlock.
func watchdog(t *testing.T, limit time.Duration) {
	t.Helper()
	timer := time.AfterFunc(limit, func() {
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("no end after %v:\n%s", limit, buf[:runtime.Stack(buf, true)]))
	})
	t.Cleanup(func() { timer.Stop() })
}

const workers = 8

// parallel runs fn in several goroutines, each with random choices of its own,
// and checks the filesystem afterwards, in memory and as it is found again.
func parallel(t *testing.T, steps int, fn func(f *fs.FS, r *rand.Rand, worker int) error) *fs.FS {
	t.Helper()
	watchdog(t, time.Minute)
	seed := newSeed(t)
	v := memhost.New(memhost.Options{})
	formatted(t, v, 64<<20)
	// Little is buffered, and often committed, so that flushes meet everything.
	f := opened(t, v, fs.Options{DirtyBytes: 64 << 10, CommitEvery: time.Millisecond})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range steps {
				if err := fn(f, r, w); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	clean(t, f)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	again := opened(t, v.Crash(memhost.CrashOptions{Decide: memhost.DropAll}), fs.Options{})
	clean(t, again)
	return again
}

func clean(t *testing.T, f *fs.FS) {
	t.Helper()
	report, err := f.Tree().Check(bg, nil)
	if err != nil || len(report.Problems) > 0 || report.Orphans+report.Trims > 0 {
		t.Fatalf("check: %+v, %v", report, err)
	}
}

// expected errors of operations that others overtake.
func raced(err error) error {
	for _, no := range []syscall.Errno{syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR, syscall.EINVAL} {
		if errors.Is(err, no) {
			return nil
		}
	}
	return err
}

// TestParallelNames has all do everything with a few names.
func TestParallelNames(t *testing.T) {
	path := func(r *rand.Rand) string {
		p := string(rune('a' + r.IntN(3)))
		if r.IntN(2) == 0 {
			p += "/" + string(rune('a'+r.IntN(3)))
		}
		return p
	}
	parallel(t, 300, func(f *fs.FS, r *rand.Rand, _ int) error {
		p, q := path(r), path(r)
		switch r.IntN(10) {
		case 0:
			return raced(f.Mkdir(p, 0o755))
		case 1, 2:
			return raced(f.RenameWith(p, q, uint32(r.IntN(3))))
		case 3:
			return raced(f.Remove(p))
		case 4:
			return raced(f.RemoveAll(p))
		case 5:
			return raced(ignorePermission(f.Link(p, q)))
		case 6:
			_, err := f.ReadDir(p)
			return raced(err)
		case 7:
			return raced(f.Truncate(p, int64(r.IntN(100_000))))
		case 8:
			_, err := f.ReadFile(p)
			return raced(err)
		}
		return raced(f.WriteFile(p, make([]byte, r.IntN(80_000)), 0o644))
	})
}

func ignorePermission(err error) error {
	if errors.Is(err, syscall.EPERM) { // a directory
		return nil
	}
	return err
}

// TestParallelWrites has each write its own blocks of a shared file, and sync,
// and read them back.
func TestParallelWrites(t *testing.T) {
	const blocks, size = 64, 1000
	var last [workers][blocks]uint64
	f := parallel(t, 150, func(f *fs.FS, r *rand.Rand, w int) error {
		file, err := f.OpenFile("shared", os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		b := r.IntN(blocks)
		off := int64(b*workers+w) * size
		record := make([]byte, size)
		if last[w][b] != 0 {
			if _, err := file.ReadAt(record, off); err != nil || binary.BigEndian.Uint64(record) != last[w][b] {
				return fmt.Errorf("block %d is not as it was written: %v", b, err)
			}
		}
		last[w][b] = r.Uint64()
		for i := 0; i < size; i += 8 {
			binary.BigEndian.PutUint64(record[i:], last[w][b])
		}
		if _, err := file.WriteAt(record, off); err != nil {
			return err
		}
		if r.IntN(10) == 0 {
			return file.Sync()
		}
		return nil
	})
	data, err := f.ReadFile("shared")
	if err != nil {
		t.Fatal(err)
	}
	for w := range workers {
		for b, want := range last[w] {
			if want != 0 && binary.BigEndian.Uint64(data[(b*workers+w)*size:]) != want {
				t.Fatalf("worker %d, block %d is lost", w, b)
			}
		}
	}
}

// TestParallelAppends has all append records to one file, which others truncate
// to what it is, and stat: the size never falls, and no record is torn.
func TestParallelAppends(t *testing.T) {
	const steps = 100
	sizes := []int{10, 3000, 40_000}
	f := parallel(t, steps, func(f *fs.FS, r *rand.Rand, w int) error {
		before, err := f.Stat("log")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		file, err := f.OpenFile("log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		n := sizes[r.IntN(len(sizes))]
		record := bytes.Repeat([]byte{byte('a' + w)}, n)
		record[0], record[n-1] = '<', '>'
		if _, err := file.Write(record); err != nil {
			return err
		}
		after, err := f.Stat("log")
		if err != nil {
			return err
		}
		if before != nil && after.Size() < before.Size()+int64(n) {
			return fmt.Errorf("size %d after %d and a record of %d", after.Size(), before.Size(), n)
		}
		return file.Allocate(0, 0, after.Size()) // must not cut what others append
	})
	data, err := f.ReadFile("log")
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for ; len(data) > 0; records++ {
		end := bytes.IndexByte(data, '>')
		if end < 0 || data[0] != '<' || len(bytes.Trim(data[1:end], string(data[1]))) > 0 {
			t.Fatalf("record %d is torn", records)
		}
		data = data[end+1:]
	}
	if records != steps*workers {
		t.Fatalf("%d records, want %d", records, steps*workers)
	}
}

// TestParallelReplace has some replace a file by rename, while others open, read
// and stat it: it is always there, and always whole.
func TestParallelReplace(t *testing.T) {
	parallel(t, 200, func(f *fs.FS, r *rand.Rand, w int) error {
		if w%2 == 0 {
			temporary := fmt.Sprintf("t%d", w)
			content := bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(60_000))
			return errors.Join(f.WriteFile(temporary, content, 0o644), f.Rename(temporary, "file"))
		}
		b, err := f.ReadFile("file")
		if errors.Is(err, os.ErrNotExist) && w == 1 {
			return nil // not made yet, maybe
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if len(b) > 0 && len(bytes.Trim(b, string(b[:1]))) > 0 {
			return errors.New("parts of two files")
		}
		return nil
	})
}

// TestParallelUnlink has files unlinked while others write to them: their data
// stays until they are closed, and then goes.
func TestParallelUnlink(t *testing.T) {
	f := parallel(t, 60, func(f *fs.FS, r *rand.Rand, w int) error {
		name := fmt.Sprintf("f%d", r.IntN(2))
		file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		off := int64(w) << 20
		for range 3 {
			p := bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(70_000))
			if _, err := file.WriteAt(p, off); err != nil {
				return err
			}
			if err := raced(f.Remove(name)); err != nil {
				return err
			}
			got := make([]byte, len(p))
			if _, err := file.ReadAt(got, off); err != nil && err != io.EOF || got[0] != p[0] || got[len(p)-1] != p[len(p)-1] {
				return fmt.Errorf("what was written is not there: %v", err)
			}
		}
		return nil
	})
	if es, err := f.ReadDir(""); err != nil || len(es) > 2 {
		t.Fatalf("%d files left, %v", len(es), err)
	}
}
