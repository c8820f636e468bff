package anchor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

const (
	recordSuffix = ".anchor"
	lockName     = "lock"
	// MaxInDir is how many records one Dir keeps.
	MaxInDir = 1 << 16
)

// Dir keeps the records of one node in a directory, a file each. Whoever can
// restore an older copy of the directory can have its volumes rolled back with
// it: it is for development, and for nodes whose disk is trusted.
type Dir struct {
	path string
	lock *os.File

	mu     sync.Mutex // guards all below, and the files
	owned  map[Owner]int
	total  int
	failed error // a sync failed: what is on the disk is unknown
}

var _ Store = (*Dir)(nil)

// OpenDir opens the records in a directory, which is made if it is not there,
// for this process alone. ErrInUse.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open anchor records: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open anchor records: %w", err)
	}
	d := &Dir{path: path, lock: lock, owned: map[Owner]int{}}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		err = ErrInUse
	} else {
		err = d.count()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open anchor records in %q: %w", path, err), lock.Close())
	}
	return d, nil
}

// Close lets other processes have the records.
func (d *Dir) Close() error { return d.lock.Close() }

// count reads all records, removes what a crash left half made, and makes
// durable what a process that died may not have.
func (d *Dir) count() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), recordSuffix)
		b, err := hex.DecodeString(name)
		switch {
		case strings.HasSuffix(e.Name(), ".new"):
			if err := os.Remove(filepath.Join(d.path, e.Name())); err != nil {
				return err
			}
		case ok && err == nil && len(b) == len(kds.VolumeID{}):
			r, err := d.read(kds.VolumeID(b))
			if err != nil {
				return err
			}
			d.owned[r.Owner]++
			d.total++
		}
	}
	return secretfile.SyncDir(d.path)
}

// Get implements Store.
func (d *Dir) Get(_ context.Context, v kds.VolumeID) (Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return Record{}, d.failed
	}
	return d.read(v)
}

// Swap implements Store.
func (d *Dir) Swap(_ context.Context, v kds.VolumeID, old, next Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return d.failed
	}
	now, err := d.read(v)
	switch {
	case err != nil:
		return err
	case now != old:
		return ErrConflict
	case old.Owner != next.Owner && (d.owned[next.Owner] >= MaxPerOwner || old == Record{} && d.total >= MaxInDir):
		return ErrFull
	}
	if err := d.write(v, next); err != nil {
		// Whether it is there after a crash is unknown: no answer may depend on it.
		d.failed = fmt.Errorf("write anchor record: %w", err)
		return d.failed
	}
	if (old == Record{}) {
		d.total++
	} else {
		d.owned[old.Owner]--
	}
	d.owned[next.Owner]++
	return nil
}

func (d *Dir) name(v kds.VolumeID) string {
	return filepath.Join(d.path, hex.EncodeToString(v[:])+recordSuffix)
}

func (d *Dir) read(v kds.VolumeID) (Record, error) {
	b, err := os.ReadFile(d.name(v))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, err
	}
	return ParseRecord(v, b)
}

// write replaces a record in one step.
func (d *Dir) write(v kds.VolumeID, r Record) error {
	return secretfile.Replace(d.name(v), r.Encode(v))
}
