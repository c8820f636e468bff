package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/store"
)

// CommitEvery is how long a change may stay in memory without a Sync.
const CommitEvery = 5 * time.Second

// Options of a filesystem. The zero value is the default.
type Options struct {
	// DirtyBytes bounds buffered data, in bytes: at most and by default
	// 4 MiB, because all of it reaches the volume in one operation.
	DirtyBytes int
	// MaxInodes bounds the number of files; 0 means no limit.
	MaxInodes uint64
	// CommitEvery is the time between background commits. Default CommitEvery.
	CommitEvery time.Duration
	// ReadOnly refuses all changes, and leaves orphans where they are.
	ReadOnly bool
	// Logger receives what happens in the background. Default: silent.
	Logger *slog.Logger
}

const maxDirtyBytes = 4 << 20

func (o Options) withDefaults() Options {
	if o.DirtyBytes <= 0 || o.DirtyBytes > maxDirtyBytes {
		o.DirtyBytes = maxDirtyBytes
	}
	if o.CommitEvery <= 0 {
		o.CommitEvery = CommitEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Tree is an open filesystem at the level of inodes, as a mount sees it. Its
// methods may be called at the same time; their errors are numbers, or hold one
// (see Errno).
type Tree struct {
	st      *store.Store
	options Options
	hashKey [16]byte
	hashes  *sync.Pool // of *nameHash; apart, since the runtime holds on to pools for a while
	// view calls fn with a constant state of the volume: the present one, or that
	// of a snapshot. Constant after Open.
	view func(ctx context.Context, fn func(*store.Tx) error) error

	flushMu sync.Mutex
	dirty   atomic.Int64  // buffered blocks
	stale   atomic.Int64  // len(changed)
	ahead   atomic.Int64  // bytes that handles may have read ahead
	settled atomic.Uint64 // how often something in memory went to the volume

	filesMu    sync.Mutex
	files      map[Ino]*file  // in memory
	changed    map[*file]bool // those that have something to flush
	cost       int            // of flushing them, and of what is being buffered
	admissions int            // changes that are being buffered
	cheaper    *sync.Cond     // cost or admissions fell

	known     func(Ino) bool // see KeepKnown
	waiting   map[Ino]bool   // orphans that are known; guarded by filesMu
	forgotten []Ino          // orphans to be deleted; guarded by filesMu
	reapKick  chan struct{}

	locks lockTable

	stop context.CancelFunc
	done chan struct{}
}

// Format makes an empty filesystem in an empty volume. The root directory
// belongs to uid and gid. EEXIST if there is a filesystem.
func Format(ctx context.Context, st *store.Store, uid, gid uint32) error {
	err := st.Update(ctx, func(tx *store.Tx) error {
		if _, ok, err := tx.Get(superKey); err != nil || ok {
			return errors.Join(err, syscall.EEXIST)
		}
		if err := tx.Put(superKey, newSuper().encode()); err != nil {
			return err
		}
		t := now()
		return putInode(tx, RootIno, inode{
			mode: syscall.S_IFDIR | 0o755, uid: uid, gid: gid, links: 2, parent: RootIno,
			atime: t, mtime: t, ctime: t, btime: t, nextIndex: 1,
		})
	})
	if err == nil {
		err = st.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("make filesystem: %w", wrap(err))
	}
	return nil
}

// Open opens the filesystem of a volume, and finishes what a crash cut off.
// Until Close, which does not close it, the volume must not be changed otherwise.
func Open(ctx context.Context, st *store.Store, o Options) (*FS, error) {
	return open(ctx, st, o, st.View)
}

func open(ctx context.Context, st *store.Store, o Options, view func(context.Context, func(*store.Tx) error) error) (*FS, error) {
	f := &Tree{
		st: st, view: view, options: o.withDefaults(), files: map[Ino]*file{}, changed: map[*file]bool{},
		waiting: map[Ino]bool{}, reapKick: make(chan struct{}, 1), done: make(chan struct{}), hashes: new(sync.Pool),
	}
	f.cheaper = sync.NewCond(&f.filesMu)
	err := f.view(ctx, func(tx *store.Tx) error {
		s, err := getSuper(tx)
		f.hashKey = s.hashKey
		return err
	})
	if err == nil && !o.ReadOnly {
		err = f.reapAll(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open filesystem: %w", err)
	}
	bg, stop := context.WithCancel(context.Background())
	f.stop = stop
	go f.background(bg)
	return &FS{tree: f}, nil
}

// background commits now and then, until Close.
func (f *Tree) background(ctx context.Context) {
	defer close(f.done)
	if f.options.ReadOnly {
		return
	}
	tick := time.NewTicker(f.options.CommitEvery)
	defer tick.Stop()
	kicks, gathered := f.reapKick, (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-kicks: // and no other until these are reaped
			kicks, gathered = nil, time.After(reapDelay)
		case <-gathered:
			kicks, gathered = f.reapKick, nil
			f.reapForgotten(ctx)
		case <-tick.C:
			if err := f.Sync(ctx); err != nil && ctx.Err() == nil {
				f.options.Logger.Warn("background commit", "error", err)
			}
		}
	}
}

// Sync makes everything that was done before durable. An error is final: the
// filesystem has become read-only.
func (f *Tree) Sync(ctx context.Context) error {
	if f.options.ReadOnly {
		return nil
	}
	if err := f.flush(ctx); err != nil {
		return wrap(err)
	}
	return wrap(f.st.Commit(ctx))
}

// Close syncs and lets go of the volume, which stays open. Files that are
// still open must not be used afterwards.
func (f *Tree) Close() error {
	f.stop()
	<-f.done
	if !f.options.ReadOnly {
		f.reapWaiting(context.Background())
	}
	return f.Sync(context.Background())
}

// update records one operation, after the buffered data of all earlier ones.
func (f *Tree) update(ctx context.Context, fn func(*store.Tx) error) error {
	return f.updateWith(ctx, f.st.Update, fn)
}

// updateFreeing is update for operations that make room.
func (f *Tree) updateFreeing(ctx context.Context, fn func(*store.Tx) error) error {
	return f.updateWith(ctx, f.st.UpdateFreeing, fn)
}

func (f *Tree) updateWith(ctx context.Context, update func(context.Context, func(*store.Tx) error) error, fn func(*store.Tx) error) error {
	if f.options.ReadOnly {
		return syscall.EROFS
	}
	if err := f.flush(ctx); err != nil {
		return wrap(err)
	}
	return wrap(update(ctx, fn))
}

// Stat is the room in a filesystem. Bytes is what is in use and what can still be
// written, together: what cleaning and checkpoints keep of the volume's size is in
// neither, so that an empty filesystem does not look used.
type Stat struct {
	Bytes, FreeBytes   int64
	Inodes, FreeInodes uint64
}

// StatFS returns the room in the filesystem.
func (f *Tree) StatFS(ctx context.Context) (Stat, error) {
	space := f.st.Space()
	s := Stat{Bytes: space.Used + space.Available, FreeBytes: space.Available}
	err := f.view(ctx, func(tx *store.Tx) error {
		sb, err := getSuper(tx)
		s.Inodes = sb.inodes
		return err
	})
	limit := f.options.MaxInodes
	if limit == 0 {
		limit = s.Inodes + uint64(s.FreeBytes/inodeFootprint)
	}
	s.FreeInodes = limit - min(limit, s.Inodes)
	s.Inodes = max(limit, s.Inodes)
	return s, wrap(err)
}

// inodeFootprint is about what an empty file takes with its name, in bytes.
const inodeFootprint = 320
