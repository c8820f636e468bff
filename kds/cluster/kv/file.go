package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

// MaxFileBytes is the largest file that is read, and written: twice what a cluster can
// have in it.
const MaxFileBytes = 256 << 20

// File keeps the values of a cluster of one node in one file, which each change
// replaces whole.
type File struct {
	path string
	lock *os.File
	most int // MaxFileBytes, but for tests

	mu     sync.Mutex // guards all below, and the file
	values map[string]Value
	last   int64
	failed error // a sync failed: what is on the disk is unknown
}

var _ Store = (*File)(nil)

// stored is the form of the file.
type stored struct {
	Last   int64            `json:"last"`
	Values map[string]Value `json:"values"`
}

// OpenFile opens the values in path for this process alone, and makes the file
// with the first change. ErrInUse.
func OpenFile(path string) (*File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cluster store: %w", err)
	}
	f := &File{path: path, lock: lock, most: MaxFileBytes, values: map[string]Value{}}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		err = ErrInUse
	} else {
		err = f.load()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open cluster store %q: %w", path, err), lock.Close())
	}
	return f, nil
}

func (f *File) load() error {
	b, err := secretfile.ReadBounded(f.path, int64(f.most))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if f.last = s.Last; s.Values != nil {
		f.values = s.Values
	}
	return secretfile.SyncDir(filepath.Dir(f.path))
}

// Close implements Store.
func (f *File) Close() error { return f.lock.Close() }

// Get implements Store.
func (f *File) Get(_ context.Context, names ...string) ([]Value, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return nil, f.failed
	}
	values := make([]Value, len(names))
	for i, n := range names {
		values[i] = f.values[n]
	}
	return values, nil
}

// List implements Store.
func (f *File) List(_ context.Context, prefix string) ([]Named, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return nil, f.failed
	}
	var all []Named
	for n, v := range f.values {
		if strings.HasPrefix(n, prefix) {
			all = append(all, Named{n, v})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all[:min(len(all), MaxListed)], nil
}

// Commit implements Store.
func (f *File) Commit(_ context.Context, ifs []If, puts []Put) (bool, error) {
	if err := check(puts); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return false, f.failed
	}
	for _, i := range ifs {
		if f.values[i.Name].Revision != i.Revision {
			return false, nil
		}
	}
	next := stored{f.last + 1, maps.Clone(f.values)}
	for _, p := range puts {
		if p.Data == nil {
			delete(next.Values, p.Name)
		} else {
			next.Values[p.Name] = Value{p.Data, next.Last}
		}
	}
	b, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	if len(b) > f.most { // it could not be opened again
		return false, fmt.Errorf("%w: the file %q would have %d bytes, at most %d are kept", ErrFull, f.path, len(b), f.most)
	}
	if err := secretfile.Replace(f.path, b); err != nil {
		f.failed = fmt.Errorf("write cluster store: %w", err)
		return false, f.failed
	}
	f.last, f.values = next.Last, next.Values
	return true, nil
}
