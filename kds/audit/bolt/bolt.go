// Package bolt keeps the batches of an audit log in bbolt files of the host's. It
// is the untrusted side: no enclave links it to read what the host wrote, but
// through audit.Store, whose answers are verified.
//
//	audit.db          the newest batches
//	audit.db.1        older ones, from line 1 on, once audit.db was large enough
//	audit.db.51320    ... from line 51320 on, and so forth
//
// It promises that Append returns when the batch is durable, that one process
// appends at a time, and that others may read meanwhile: the file is opened for
// each call and closed after it. An older file is whole, is never touched again,
// and may be moved away.
//
// Imported by cmd/coffer-kds and tests. Imports kds/audit for its errors.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/kds/audit"
)

const (
	// DefaultFileBytes is how large a file becomes before the next is begun.
	DefaultFileBytes = 1 << 30

	format   = "coffer audit log 1"
	pageSize = 4096
	lockWait = 5 * time.Second
	lockPoll = 5 * time.Millisecond
)

var (
	metaBucket    = []byte("log")     // format, and the batch before this file's first
	batchesBucket = []byte("batches") // u64 number of the first line -> u32 lines, text
	formatKey     = []byte("format")
	carriedKey    = []byte("before")
)

// Store is a log that is open for appending.
type Store struct {
	path      string
	lock      *os.File
	fileBytes int64
	mu        sync.Mutex // held for a call
	broken    error      // a write failed: what is on the disk is unknown
}

var _ audit.Store = (*Store)(nil)

// Options of a Store. The zero value is right.
type Options struct {
	// FileBytes is how large a file becomes. Default DefaultFileBytes.
	FileBytes int64
}

// Open opens the log whose newest file is path, for this process alone, and makes
// it if there is none.
func Open(path string, o Options) (*Store, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil, errors.Join(fmt.Errorf("open audit log: %w: %q", audit.ErrInUse, path), lock.Close())
	}
	s := &Store{path: path, lock: lock, fileBytes: o.FileBytes}
	if s.fileBytes <= 0 {
		s.fileBytes = DefaultFileBytes
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		err = s.begin()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make audit log: %w", err), lock.Close())
		}
	}
	return s, nil
}

// begin makes the first file.
func (s *Store) begin() error {
	old, err := filepath.Glob(globbed(s.path) + ".[0-9]*")
	if err != nil || len(old) > 0 {
		return errors.Join(fmt.Errorf("%w: %q is not there, and older files of it are", audit.ErrDamaged, s.path), err)
	}
	if err := create(s.path+".new", nil); err != nil {
		return err
	}
	return replace(s.path+".new", s.path)
}

// Close lets other processes append.
func (s *Store) Close() error { return s.lock.Close() }

// Last implements audit.Store.
func (s *Store) Last(ctx context.Context) (text []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = view(ctx, s.path, func(tx *bbolt.Tx) error {
		_, text = last(tx)
		return nil
	})
	return text, err
}

// Append implements audit.Store.
func (s *Store) Append(ctx context.Context, first uint64, lines int, batch []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	size := int64(0)
	err := update(ctx, s.path, func(tx *bbolt.Tx) error {
		next, _ := last(tx)
		if first != next || lines < 1 {
			return fmt.Errorf("%w: line %d follows, and line %d was to be added", audit.ErrConflict, next, first)
		}
		b := tx.Bucket(batchesBucket)
		b.FillPercent = 0.95 // numbers only grow
		size = tx.Size()
		return b.Put(number(first), append(binary.BigEndian.AppendUint32(nil, uint32(lines)), batch...))
	})
	switch {
	case errors.Is(err, audit.ErrConflict), errors.Is(err, audit.ErrInUse): // nothing happened
		return err
	case err != nil:
		s.broken = err
		return err
	}
	if size >= s.fileBytes {
		// The batch is durable: that a new file cannot be begun is for the next to say.
		_, s.broken = Rotate(ctx, s.path)
	}
	return nil
}

// last is the number that follows, and the text of the last batch.
func last(tx *bbolt.Tx) (next uint64, text []byte) {
	b, meta := tx.Bucket(batchesBucket), tx.Bucket(metaBucket)
	if b == nil || meta == nil {
		return 0, nil
	}
	if k, v := b.Cursor().Last(); len(k) == 8 && len(v) >= 4 {
		return binary.BigEndian.Uint64(k) + uint64(binary.BigEndian.Uint32(v)), append([]byte(nil), v[4:]...)
	}
	if v := meta.Get(carriedKey); len(v) >= 8 {
		return binary.BigEndian.Uint64(v), append([]byte(nil), v[8:]...)
	}
	return 1, nil
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// view runs do in a transaction that reads.
func view(ctx context.Context, path string, do func(*bbolt.Tx) error) error {
	return transact(ctx, path, true, func(db *bbolt.DB) error { return db.View(do) })
}

// update runs do in a transaction that writes, durable on return.
func update(ctx context.Context, path string, do func(*bbolt.Tx) error) error {
	return transact(ctx, path, false, func(db *bbolt.DB) error { return db.Update(do) })
}

// transact opens a file and runs do. A damaged file can make bbolt panic, or touch
// memory that is not there: that is ErrDamaged.
func transact(ctx context.Context, path string, read bool, do func(*bbolt.DB) error) (err error) {
	f, err := openLocked(ctx, path, read)
	if err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			_ = f.Close()
			err = fmt.Errorf("%w: %q: %v", audit.ErrDamaged, path, p)
		}
	}()
	o := &bbolt.Options{ReadOnly: read, PageSize: pageSize, NoStatistics: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return f, nil }}
	db, err := bbolt.Open(path, 0o600, o)
	if err != nil {
		_ = f.Close() // bbolt did, if it came so far
		return fmt.Errorf("%w: %q: %w", audit.ErrDamaged, path, err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if m := tx.Bucket(metaBucket); m == nil || string(m.Get(formatKey)) != format || tx.Bucket(batchesBucket) == nil {
			return fmt.Errorf("%w: %q is not an audit log", audit.ErrDamaged, path)
		}
		return nil
	})
	if err == nil {
		err = do(db)
	}
	return errors.Join(err, db.Close())
}

// openLocked opens a file with the lock that bbolt will take again, and makes sure
// that it is not one that was rotated away meanwhile.
func openLocked(ctx context.Context, path string, read bool) (*os.File, error) {
	flags, how := unix.O_RDWR, unix.LOCK_EX
	if read {
		flags, how = unix.O_RDONLY, unix.LOCK_SH
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		locked := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		held, err := f.Stat()
		now, err2 := os.Stat(path)
		if err := errors.Join(err, err2); err != nil || !held.Mode().IsRegular() {
			return nil, errors.Join(fmt.Errorf("%w: %q is not a regular file", audit.ErrDamaged, path), err, f.Close())
		}
		if locked == nil && os.SameFile(held, now) {
			return f, nil
		}
		_ = f.Close()
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %q is locked by another process", audit.ErrInUse, path)
		case <-time.After(lockPoll):
		}
	}
}
