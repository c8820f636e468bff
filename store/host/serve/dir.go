package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// Dir keeps each volume in a directory of Root that has its name.
type Dir struct {
	Root string
	// MaxVolumes bounds how many volumes there may be when one is made through
	// the server. 0: none can be made.
	MaxVolumes int

	mu sync.Mutex // one Create at a time, so that the bound holds
}

// Open implements Backend.
func (d *Dir) Open(name string) (host.Volume, error) {
	dir, err := d.path(name)
	if err != nil {
		return nil, err
	}
	return local.Open(dir)
}

// Create implements Backend.
func (d *Dir) Create(name string) error {
	dir, err := d.path(name)
	if err != nil && !errors.Is(err, host.ErrNotFound) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("volume %q: %w", name, host.ErrExists)
	}
	es, err := os.ReadDir(d.Root)
	if err != nil {
		return err
	}
	count := 0
	for _, e := range es {
		if wire.CheckVolume(e.Name()) == nil {
			count++
		}
	}
	if count >= d.MaxVolumes {
		return fmt.Errorf("there are %d volumes of %d: %w", count, d.MaxVolumes, host.ErrNoSpace)
	}
	return local.Create(dir)
}

// path is the directory of a volume, which must not be a link. The name can't
// lead out of the root: it has neither a separator nor a dot at its begin.
func (d *Dir) path(name string) (string, error) {
	if err := wire.CheckVolume(name); err != nil {
		return "", err
	}
	path := filepath.Join(d.Root, name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, fmt.Errorf("there is none of that name: %w", host.ErrNotFound)
	case err != nil:
		return path, err
	case !info.IsDir():
		return path, fmt.Errorf("it is not a directory: %w", host.ErrNotFound)
	}
	return path, nil
}
