package serve

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
	"github.com/coffer-fs/coffer/store/host/s3"
)

// Bucket keeps each volume in an object store, below URL and under its name. So
// the enclave needs neither credentials nor a client of such stores.
type Bucket struct {
	// URL is s3://BUCKET or s3://BUCKET/PREFIX.
	URL string
	// Options are those of all volumes; each has a directory of its own in Dir.
	Options s3.Options
	// MayCreate lets clients make volumes.
	MayCreate bool

	mu   sync.Mutex
	open map[string]*s3.Volume // stay open: a reader's calls would read the head each time
}

// shared is a volume that stays open.
type shared struct{ *s3.Volume }

// Close implements host.Volume.
func (shared) Close() error { return nil }

// Open implements Backend.
func (b *Bucket) Open(name string) (host.Volume, error) {
	if err := wire.CheckVolume(name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.open[name]; v != nil {
		return shared{v}, nil
	}
	v, err := s3.Open(context.Background(), b.URL+"/"+name, b.options(name))
	if err != nil {
		return nil, err
	}
	if b.open == nil {
		b.open = make(map[string]*s3.Volume)
	}
	b.open[name] = v
	return shared{v}, nil
}

// Create implements Backend.
func (b *Bucket) Create(name string) error {
	if err := wire.CheckVolume(name); err != nil {
		return err
	}
	if !b.MayCreate {
		return fmt.Errorf("clients make no volumes here: %w", host.ErrNoSpace)
	}
	return s3.Create(context.Background(), b.URL+"/"+name, b.options(name))
}

func (b *Bucket) options(name string) s3.Options {
	o := b.Options
	if o.Dir != "" {
		o.Dir = filepath.Join(o.Dir, name)
	}
	return o
}

// Close lets go of the volumes.
func (b *Bucket) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	for _, v := range b.open {
		err = errors.Join(err, v.Close())
	}
	b.open = nil
	return err
}
