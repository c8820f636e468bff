package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// large does each of its parts in a directory of its own, and empties that.
func large(dir string) error {
	for _, part := range []struct {
		name string
		do   func(dir string) error
	}{
		{"sparse file of 1 TiB", sparse}, {"file of 8 GiB", bigFile},
		{"directory of 1,000,000", bigDir}, {"names of 255 bytes", longNames},
	} {
		begun := time.Now()
		d := filepath.Join(dir, "part")
		err := os.Mkdir(d, 0o700)
		if err == nil {
			err = part.do(d)
		}
		if err = errors.Join(err, os.RemoveAll(d)); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Printf("   %s: %.1f s\n", part.name, time.Since(begun).Seconds())
	}
	return nil
}

// sparse has a block here and there in a terabyte, and finds just those.
func sparse(dir string) error {
	const size, block = 1 << 40, 4096
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	places := []int64{0, 1 << 20, 5<<30 + block, size/2 - block, size - block}
	for _, off := range places {
		if _, err := f.WriteAt(bytes.Repeat([]byte{1}, block), off); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	at := int64(0)
	for _, want := range places {
		if at, err = f.Seek(at, unix.SEEK_DATA); err != nil || at != want {
			return fmt.Errorf("data at %d, expected at %d: %w", at, want, err)
		}
		if at, err = f.Seek(at, unix.SEEK_HOLE); err != nil || at != want+block {
			return fmt.Errorf("data to %d, expected to %d: %w", at, want+block, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Size != size || st.Blocks > 1000 {
		return fmt.Errorf("size %d, %d blocks of 512", st.Size, st.Blocks)
	}
	p := make([]byte, 1<<20)
	if _, err := f.ReadAt(p, size/3); err != nil || len(bytes.Trim(p, "\x00")) > 0 {
		return fmt.Errorf("a hole does not read as zeros: %w", err)
	}
	return nil
}

// bigFile writes 8 GiB that no cache holds the rest of, and reads them back.
func bigFile(dir string) error {
	const size, piece = 8 << 30, 1 << 20
	name := filepath.Join(dir, "big")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	p, want := make([]byte, piece), make([]byte, piece)
	contents := func(p []byte, i int) {
		_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(p) // never fails
	}
	for i := range size / piece {
		contents(p, i)
		if _, err := f.Write(p); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) // if we may
	if f, err = os.Open(name); err != nil {
		return err
	}
	defer f.Close()
	for i := range size / piece {
		contents(want, i)
		if _, err := io.ReadFull(f, p); err != nil {
			return err
		}
		if !bytes.Equal(p, want) {
			return fmt.Errorf("megabyte %d is not what was written", i)
		}
	}
	return nil
}

const (
	manyFiles   = 1_000_000
	manyWorkers = 4
)

// bigDir lists a directory while it is being changed: what is neither added nor
// removed meanwhile is listed once. Then it empties it while it lists it.
func bigDir(dir string) error {
	if err := inParallel(func(w int) error {
		for i := w; i < manyFiles; i += manyWorkers {
			f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("kept-%07d", i)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var changeErr error
	wg.Go(func() { changeErr = changing(dir, stop) })
	err := listed(dir)
	close(stop)
	wg.Wait()
	if err = errors.Join(err, changeErr); err != nil {
		return err
	}
	return emptied(dir)
}

func inParallel(do func(worker int) error) error {
	errs := make([]error, manyWorkers)
	var wg sync.WaitGroup
	for w := range manyWorkers {
		wg.Go(func() { errs[w] = do(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// changing makes, renames and removes files until it is stopped.
func changing(dir string, stop <-chan struct{}) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		a, b := filepath.Join(dir, fmt.Sprintf("new-%d", i)), filepath.Join(dir, fmt.Sprintf("renamed-%d", i))
		if err := errors.Join(os.WriteFile(a, nil, 0o600), os.Rename(a, b)); err != nil {
			return err
		}
		if i >= 100 {
			if err := os.Remove(filepath.Join(dir, fmt.Sprintf("renamed-%d", i-100))); err != nil {
				return err
			}
		}
	}
}

// listed reads the directory once and counts.
func listed(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	seen := make([]bool, manyFiles)
	count := 0
	for {
		names, err := d.Readdirnames(10_000)
		for _, name := range names {
			var i int
			if n, _ := fmt.Sscanf(name, "kept-%d", &i); n != 1 {
				continue
			}
			if seen[i] {
				return fmt.Errorf("%s was listed twice", name)
			}
			seen[i] = true
			count++
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if count != manyFiles {
		return fmt.Errorf("%d of %d files were listed", count, manyFiles)
	}
	return nil
}

// emptied removes what it lists as it lists it, as rm -r does.
func emptied(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	left, err := os.ReadDir(dir)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d files are left, %s first", len(left), left[0].Name())
	}
	return err
}

// longNames are of any bytes but the two that cannot be in a name.
func longNames(dir string) error {
	const count, length = 2000, 255
	rnd := rand.New(rand.NewPCG(1, 2))
	names := map[string]bool{}
	for i := range count {
		name := anyBytes(rnd, length)
		if i%2 == 0 {
			name = anyText(rnd, length)
		}
		names[name] = true
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, anyText(rnd, length+1)), nil, 0o600); !errors.Is(err, unix.ENAMETOOLONG) {
		return fmt.Errorf("a name of %d bytes: %w", length+1, err)
	}
	es, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range es {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if !names[e.Name()] || string(b) != e.Name() {
			return fmt.Errorf("%q was listed and holds %q", e.Name(), b)
		}
	}
	if len(es) != len(names) {
		return fmt.Errorf("%d of %d names were listed", len(es), len(names))
	}
	return nil
}

func anyBytes(rnd *rand.Rand, length int) string {
	p := make([]byte, length)
	for i := range p {
		for p[i] == 0 || p[i] == '/' {
			p[i] = byte(rnd.Uint32())
		}
	}
	return string(p)
}

// anyText is a name of valid UTF-8 of just that length.
func anyText(rnd *rand.Rand, length int) string {
	var p []byte
	for len(p) < length {
		r := rune(rnd.IntN(utf8.MaxRune))
		if r == 0 || r == '/' || !utf8.ValidRune(r) || len(p)+utf8.RuneLen(r) > length {
			r = rune('a' + rnd.IntN(26))
		}
		p = utf8.AppendRune(p, r)
	}
	return string(p)
}
