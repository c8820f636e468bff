package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/seal"
)

// libraryWorkload is measured without a mount, beside what it cannot be faster
// than: the cipher alone, on all cores, and the disk alone.
type libraryWorkload struct {
	name, unit string
	library    func(v *volume) (float64, error)
	cipher     func() float64
	disk       func(dir string) (float64, error)
	prepare    func(v *volume, dir string) error
	cold       bool
}

var libraryWorkloads = []libraryWorkload{
	{
		name: "library: sequential write 1 GiB + Sync", unit: "MB/s",
		library: func(v *volume) (float64, error) { return streamBytes / 1e6, v.write("file", streamBytes) },
		cipher:  func() float64 { return sealAll(streamBytes, store.MaxFrame) / 1e6 },
		disk: func(dir string) (float64, error) {
			return streamBytes / 1e6, writeFile(filepath.Join(dir, "file"), streamBytes, 4<<20, true)
		},
	},
	{
		name: "library: cold sequential read 1 GiB", unit: "MB/s", cold: true,
		prepare: prepareStreams,
		library: func(v *volume) (float64, error) { return streamBytes / 1e6, v.read("file") },
		cipher:  func() float64 { return openAll(streamBytes, store.MaxFrame) / 1e6 },
		disk:    readStream,
	},
	{
		name: "library: cold 4 KiB random read", unit: "ops/s", cold: true,
		prepare: prepareStreams,
		library: func(v *volume) (float64, error) { return v.readRandom("file") },
		cipher:  func() float64 { return openAll(256<<20, block) / block },
		disk:    readRandom,
	},
	{
		name: "library: 4 KiB random write + Sync", unit: "ops/s",
		prepare: func(v *volume, dir string) error {
			return errors.Join(v.write("file", randomBytes), prepareRandom(1)(dir))
		},
		library: func(v *volume) (float64, error) { return v.writeRandom("file") },
		cipher:  func() float64 { return sealAll(256<<20, block) / block },
		disk:    writeRandom(1),
	},
	{
		name: "library: create 10,000 files of 4 KiB + Sync", unit: "files/s",
		library: func(v *volume) (float64, error) { return libraryFiles, v.createFiles() },
		cipher:  func() float64 { return sealAll(256<<20, block) / block },
		disk: func(dir string) (float64, error) {
			for n := range libraryFiles {
				if err := os.WriteFile(fileName(dir, n), smallFile, 0o644); err != nil {
					return 0, err
				}
			}
			return libraryFiles, settle(dir)
		},
	},
}

const libraryFiles = 10_000

func prepareStreams(v *volume, dir string) error {
	return errors.Join(v.write("file", streamBytes), prepareStream(dir))
}

// library runs the workloads that need no mount.
func (o options) library(work string, rs *results) error {
	for _, w := range libraryWorkloads {
		if !o.wanted(w.name) {
			continue
		}
		rs.begin(w.name, w.unit)
		for round := range o.rounds {
			if err := o.stop.Err(); err != nil {
				return err
			}
			dir := filepath.Join(work, "library")
			err := w.round(dir, rs)
			if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-52s %10.1f %s\n", round+1, w.name, rs.find(w.name).Rounds["coffer"][round], w.unit)
		}
	}
	return nil
}

// round measures all three once.
func (w libraryWorkload) round(dir string, rs *results) (err error) {
	plain := filepath.Join(dir, "plain")
	if err := os.MkdirAll(plain, 0o755); err != nil {
		return err
	}
	v, err := newVolume(filepath.Join(dir, "volume"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if w.prepare != nil {
		if err := w.prepare(v, plain); err != nil {
			return err
		}
	}
	if err := w.cool(v); err != nil {
		return err
	}
	if err := rate(rs, w.name, "coffer", func() (float64, error) { return w.library(v) }); err != nil {
		return err
	}
	if err := rate(rs, w.name, "AES-256-GCM", func() (float64, error) { return w.cipher(), nil }); err != nil {
		return err
	}
	if err := w.cool(v); err != nil {
		return err
	}
	return rate(rs, w.name, "disk", func() (float64, error) { return w.disk(plain) })
}

func (w libraryWorkload) cool(v *volume) error {
	if !w.cold {
		unix.Sync()
		return nil
	}
	if err := v.close(); err != nil {
		return err
	}
	if err := dropCaches(); err != nil {
		return err
	}
	return v.open()
}

func rate(rs *results, name, who string, do func() (float64, error)) error {
	begun := time.Now()
	amount, err := do()
	if err == nil {
		rs.add(name, who, amount/time.Since(begun).Seconds())
	}
	return err
}

// volume is a volume used through the Go API.
type volume struct {
	dir    string
	secret store.Secret
	host   *local.Volume
	store  *store.Store
	fs     *fs.FS
}

const libraryCapacity = 8 << 30

func newVolume(dir string) (*volume, error) {
	v := &volume{dir: dir, secret: store.Secret{Kind: seal.SlotSpec, Descriptor: []byte("bench"), Key: key.New()}}
	if err := local.Create(dir); err != nil {
		return nil, err
	}
	h, err := local.Open(dir)
	if err != nil {
		return nil, err
	}
	err = store.Create(context.Background(), h, store.CreateOptions{Capacity: libraryCapacity, Secret: v.secret})
	if err = errors.Join(err, h.Close()); err != nil {
		return nil, err
	}
	return v, v.openWith(func(s *store.Store) error { return fs.Format(context.Background(), s, 0, 0) })
}

func (v *volume) open() error { return v.openWith(func(*store.Store) error { return nil }) }

func (v *volume) openWith(first func(*store.Store) error) (err error) {
	ctx := context.Background()
	if v.host, err = local.Open(v.dir); err != nil {
		return err
	}
	if v.store, err = store.Open(ctx, v.host, store.Options{Unlocker: store.Secrets{v.secret}}); err != nil {
		return errors.Join(err, v.host.Close())
	}
	if err = first(v.store); err == nil {
		v.fs, err = fs.Open(ctx, v.store, fs.Options{})
	}
	if err != nil {
		return errors.Join(err, v.store.Close(), v.host.Close())
	}
	return nil
}

func (v *volume) close() error { return errors.Join(v.fs.Close(), v.store.Close(), v.host.Close()) }

func (v *volume) write(name string, size int) error {
	f, err := v.fs.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := noise(1 << 20)
	for range size / len(buf) {
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return f.Sync()
}

func (v *volume) read(name string) error {
	f, err := v.fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 4<<20)
	for n := len(buf); n > 0; {
		n, _ = f.Read(buf)
	}
	return nil
}

func (v *volume) readRandom(name string) (float64, error) {
	f, err := v.fs.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, block)
	return together(1, func(int, int) error {
		_, err := f.ReadAt(buf, r.Int64N(streamBytes/block)*block)
		return err
	})
}

func (v *volume) writeRandom(name string) (float64, error) {
	f, err := v.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return together(1, func(int, int) error {
		if _, err := f.WriteAt(smallFile, rand.Int64N(randomBytes/block)*block); err != nil {
			return err
		}
		return f.Sync()
	})
}

func (v *volume) createFiles() error {
	for n := range libraryFiles {
		if err := v.fs.WriteFile(fileName("", n), smallFile, 0o644); err != nil {
			return err
		}
	}
	return v.fs.Sync()
}

// sealAll seals size bytes in frames, on all cores, and returns size.
func sealAll(size, frame int) float64 {
	return onAllCores(size, frame, func(a cipher.AEAD, nonce, plain, sealed []byte) { a.Seal(sealed[:0], nonce, plain, nil) })
}

// openAll opens size bytes in frames, on all cores, and returns size.
func openAll(size, frame int) float64 {
	return onAllCores(size, frame, func(a cipher.AEAD, nonce, plain, sealed []byte) {
		if _, err := a.Open(plain[:0], nonce, sealed, nil); err != nil {
			panic("bench: " + err.Error()) // what was just sealed
		}
	})
}

func onAllCores(size, frame int, do func(a cipher.AEAD, nonce, plain, sealed []byte)) float64 {
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		panic("bench: " + err.Error()) // only for a key of the wrong size
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic("bench: " + err.Error()) // only for another block size
	}
	var wg sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for range cores {
		wg.Go(func() {
			nonce, plain := make([]byte, a.NonceSize()), make([]byte, frame)
			sealed := a.Seal(nil, nonce, plain, nil)
			for range size / frame / cores {
				do(a, nonce, plain, sealed)
			}
		})
	}
	wg.Wait()
	return float64(size)
}
