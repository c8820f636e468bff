// Package coffer opens encrypted, persistent filesystems for enclaves.
//
// Open joins what the other packages know: the measured configuration says which
// key seals a volume, the platform proves who asks for it, the KDS gives it, the
// host keeps the sealed bytes, and what comes back is a filesystem in the manner
// of package os.
//
// It promises that a release enclave never works on a weaker footing than its
// configuration says: without a KDS it does not start, a key it does not get is
// not replaced by another, and hosts that would parse files of the machine inside
// the enclave are refused.
package coffer

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
)

// Options say what to open. Config and Platform must be set.
type Options struct {
	// Config is the measured configuration of the enclave.
	Config *config.Config
	// Platform is the enclave the program runs in.
	Platform attest.Platform
	// Volume is where the sealed bytes are. It must be set if the
	// configuration has a persistent filesystem, and stays open. A release
	// enclave needs one in another process: that of store/host/remote.
	Volume host.Volume
	// KDSURL is where the KDS is: one address, or those of several nodes,
	// separated by commas, which are tried in this order. It is the host's to
	// say, and need not be honest.
	KDSURL string
	// KDSTimeout bounds one request to it. Default 10 s.
	KDSTimeout time.Duration
	// PCCSURL is a service with Intel's collateral, up to its version, for a KDS
	// whose quotes come without it. Nothing that it says is trusted. Default
	// none: in an SGX enclave EGo finds the collateral.
	PCCSURL string
	// ReadOnly changes nothing.
	ReadOnly bool
	// VolumeOnly leaves the filesystem in memory away, and /tmp as the volume
	// has it: for tools that care for the volume.
	VolumeOnly bool
	// Snapshot opens what the snapshot of that name holds, ReadOnly. Default: the
	// present state.
	Snapshot string
	// KeepHandedOver leaves a volume that was handed over under the keys it has.
	// Default: it is re-encrypted under the enclave's own key, beside its use; see
	// Volume.Upgraded.
	KeepHandedOver bool
	// Takeover fences whoever holds the volume now.
	Takeover bool
	// Owner is shown to whoever finds the volume in use. It is public.
	Owner string
	// Logger receives warnings and what an operator should know. Default:
	// silent.
	Logger *slog.Logger
}

// Platform is the enclave that a program runs in: see kds/attest.
type Platform = attest.Platform

// Volume is an open filesystem together with the volume it lives in.
type Volume struct {
	*fs.FS
	store *store.Store
	lease host.Writer // of a read-only volume; the store holds that of others
	asked *standIn    // the store's anchor; nil if there is none

	migrating sync.Mutex // held for a Migrate

	mu      sync.Mutex     // guards the next three
	options Options        // it was opened with, or migrated to since
	anchor  VolumeAnchor   // nil if there is none
	anchors []VolumeAnchor // that were in its place before; they share clients

	limit      int64         // that the configuration sets to its size; see Resize
	memory     *Volume       // at MemoryDir; nil if there is none
	inside     *memhost.Host // of what is in memory itself; nil if it is not
	handedOver bool
	upgrade    *upgrade // nil if there is nothing to be done
}

// MemoryDir is where the filesystem in memory is if there is a persistent one.
const MemoryDir = "/tmp"

// Memory gives the filesystem in memory that is at MemoryDir, nil if there is
// none.
func (v *Volume) Memory() *fs.FS {
	if v.memory == nil {
		return nil
	}
	return v.memory.FS
}

// MemoryBytes is how much memory a filesystem in memory takes at most now, beside
// caches, be it at MemoryDir or all there is.
func (v *Volume) MemoryBytes() int64 {
	switch {
	case v.memory != nil:
		return v.memory.MemoryBytes()
	case v.inside != nil:
		return v.inside.Bytes()
	}
	return 0
}

// Store gives the sealed volume below the filesystem.
func (v *Volume) Store() *store.Store { return v.store }

// Close syncs and closes both. After an error, what was synced before is safe.
func (v *Volume) Close() error {
	v.upgrade.end()
	err := errors.Join(v.FS.Close(), v.store.Close())
	if v.lease != nil {
		err = errors.Join(err, v.lease.Release(context.Background()))
	}
	for _, a := range append(v.anchors, v.anchor) {
		closeAnchor(a)
	}
	if v.memory != nil {
		err = errors.Join(err, v.memory.Close())
	}
	return err
}

// Open opens the filesystem that the configuration describes: the persistent one
// with the one in memory at MemoryDir, or the one of both that it has.
func Open(ctx context.Context, o Options) (*Volume, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	o.ReadOnly = o.ReadOnly || o.Snapshot != ""
	if o.Config.PersistentFileSystemSize == 0 {
		return openInMemory(ctx, o)
	}
	h, err := o.takeHandover(ctx)
	if err != nil {
		return nil, err
	}
	defer h.forget()
	v, err := openVolume(ctx, o, o.unlocker(), h)
	if err != nil {
		return nil, err
	}
	v.handedOver = h != nil
	if v.handedOver && !o.ReadOnly && !o.KeepHandedOver {
		v.beginUpgrade()
	}
	if o.VolumeOnly || o.Config.InMemoryFileSystemSize == 0 {
		return v, nil
	}
	if err := v.attachMemory(ctx, o); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// attachMemory makes the filesystem in memory and shows it at MemoryDir. A
// read-only volume that has no such directory hides nothing by having none.
func (v *Volume) attachMemory(ctx context.Context, o Options) error {
	if _, err := v.Stat(MemoryDir); o.ReadOnly && errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	o.ReadOnly, o.Snapshot = false, ""
	m, err := openInMemory(ctx, o)
	if err != nil {
		return err
	}
	err = m.Chmod("/", 0o777|iofs.ModeSticky)
	if err == nil {
		err = v.Attach(MemoryDir, m.FS)
	}
	if err != nil {
		return errors.Join(err, m.Close())
	}
	v.memory = m
	return nil
}

// openVolume opens the filesystem of a volume that exists, with what was handed over
// with it if h is not nil.
func openVolume(ctx context.Context, o Options, u store.Unlocker, h *handed) (*Volume, error) {
	if !o.ReadOnly {
		return openStore(ctx, o, u, h)
	}
	// A reader needs the volume to stand still: a writer deletes what its
	// newest state does not need.
	lease, err := o.Volume.Acquire(ctx, host.AcquireOptions{Owner: o.Owner, Takeover: o.Takeover})
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	v, err := openStore(ctx, o, u, h)
	if err != nil {
		return nil, errors.Join(err, lease.Release(context.WithoutCancel(ctx)))
	}
	v.lease = lease
	return v, nil
}

func openStore(ctx context.Context, o Options, u store.Unlocker, h *handed) (*Volume, error) {
	so, a, err := o.anchored(store.Options{
		Unlocker: u, ReadOnly: o.ReadOnly, Takeover: o.Takeover, Owner: o.Owner, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	so, a = h.use(so, a)
	var asked *standIn
	if a != nil {
		asked = &standIn{a: a}
		so.Anchor = asked
	}
	st, err := store.Open(ctx, o.Volume, so)
	if err != nil {
		closeAnchor(a)
		return nil, err
	}
	f, err := openTree(ctx, st, o)
	if err != nil {
		err = errors.Join(err, st.Close())
		closeAnchor(a)
		return nil, err
	}
	return &Volume{FS: f, store: st, asked: asked, options: o, anchor: a, limit: o.Config.PersistentFileSystemSize}, nil
}

func openTree(ctx context.Context, st *store.Store, o Options) (*fs.FS, error) {
	with := fs.Options{ReadOnly: o.ReadOnly, Logger: o.Logger}
	if o.Snapshot != "" {
		return fs.OpenSnapshot(ctx, st, o.Snapshot, with)
	}
	return fs.Open(ctx, st, with)
}

// Create makes a volume with an empty filesystem, of the size that the
// configuration says, sealed with the key that it names. The root directory
// belongs to uid and gid.
func Create(ctx context.Context, o Options, uid, gid uint32) error {
	o, err := o.checkPersistent()
	if err != nil {
		return err
	}
	s, err := o.secret(ctx)
	if err != nil {
		return err
	}
	defer s.Key.Destroy()
	return CreateWith(ctx, o, s, uid, gid)
}

// CreateWith is Create with a secret that NewSecret gave before: whoever makes
// the place for a volume first wants to know that there is a key for it.
func CreateWith(ctx context.Context, o Options, s store.Secret, uid, gid uint32) error {
	o, err := o.checkPersistent()
	if err != nil {
		return err
	}
	a, err := o.anchor()
	if err != nil {
		return err
	}
	defer closeAnchor(a)
	return create(ctx, o.Volume, o.Config.PersistentFileSystemSize, s, a, uid, gid)
}

func create(ctx context.Context, v host.Volume, capacity int64, s store.Secret, a store.Anchor, uid, gid uint32) error {
	st, err := createStore(ctx, v, capacity, s, a, "coffer init")
	if err != nil {
		return err
	}
	return errors.Join(fs.Format(ctx, st, uid, gid), st.Close())
}

// createStore makes an empty volume, with its anchor if there is one, and opens
// it.
func createStore(ctx context.Context, v host.Volume, capacity int64, s store.Secret, a store.Anchor, owner string) (*store.Store, error) {
	co, so := store.CreateOptions{Capacity: capacity, Secret: s}, store.Options{Unlocker: known{s}, Owner: owner}
	if a != nil {
		co.Anchor, so.Anchor, so.AnchorEvery = a, a, store.AnchorAtClose
	}
	if err := store.Create(ctx, v, co); err != nil {
		return nil, err
	}
	return store.Open(ctx, v, so)
}

// openInMemory makes a filesystem that is gone when it is closed. Its memory is
// the enclave's own; it is sealed all the same, because the code that is used is
// the code that is tested.
func openInMemory(ctx context.Context, o Options) (*Volume, error) {
	size := o.Config.InMemoryFileSystemSize
	if size == 0 {
		return nil, fmt.Errorf("%w, and none in memory", ErrNotConfigured)
	}
	forgotten := *o.Config
	forgotten.Anchor = nil // nothing is left that could be rolled back
	o.Config = &forgotten
	inside := memhost.New(memhost.Options{LimitBytes: 2 * size, Forgetful: true})
	o.Volume = inside
	s := ephemeralSecret()
	if err := create(ctx, o.Volume, size, s, nil, uint32(os.Getuid()), uint32(os.Getgid())); err != nil {
		return nil, fmt.Errorf("filesystem in memory: %w", err)
	}
	v, err := openVolume(ctx, o, known{s}, nil)
	if err == nil {
		v.inside = inside
	}
	return v, err
}

// checkPersistent is check for what needs a volume.
func (o Options) checkPersistent() (Options, error) {
	o, err := o.check()
	if err == nil && o.Config.PersistentFileSystemSize == 0 {
		err = ErrNotConfigured
	}
	return o, err
}

// check applies defaults and refuses what can't work, or must not.
func (o Options) check() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Config == nil:
		return o, fmt.Errorf("%w: no configuration", ErrOptions)
	case o.Platform == nil:
		return o, fmt.Errorf("%w: no platform", ErrOptions)
	case o.Config.PersistentFileSystemSize > 0 && o.Volume == nil:
		return o, fmt.Errorf("%w: the configuration has a persistent filesystem, but no volume is given", ErrOptions)
	}
	if o.Platform.Mode() == attest.Release {
		if _, inProcess := o.Volume.(host.InProcess); inProcess {
			return o, ErrHostInProcess
		}
	}
	return o, nil
}
