package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	lockPrefix = "lock."
	// maxOwnerBytes bounds what is shown of an owner's name.
	maxOwnerBytes = 128
	// maxLockFileBytes bounds what is read of a lock file.
	maxLockFileBytes = 4 << 10
)

// A writer holds the flock of "lock.E", where E is its epoch. The kernel lets go
// of it when the process ends, however it ends; the name says whose it is, so
// that the lock of a fenced writer that still lives is in nobody's way.

// owner is the content of a lock file, for people to read.
type owner struct {
	PID  int    `json:"pid"`
	What string `json:"what"`
}

func (o owner) String() string {
	what := o.What
	if len(what) > maxOwnerBytes {
		what = what[:maxOwnerBytes] + "..."
	}
	return fmt.Sprintf("process %d (%q)", o.PID, what)
}

func lockName(epoch uint64) string { return lockPrefix + strconv.FormatUint(epoch, 10) }

// Acquire implements host.Volume.
func (v *Volume) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	return v.acquire(ctx, terms{AcquireOptions: o})
}

// terms are how a volume is acquired.
type terms struct {
	host.AcquireOptions
	lease  []byte // what is noted of the holder's token, if it has one
	resume bool   // go on with that lease, or not at all
}

func (v *Volume) acquire(ctx context.Context, o terms) (host.Writer, error) {
	done, err := v.use(ctx)
	if err != nil {
		return nil, fmt.Errorf("acquire volume: %w", err)
	}
	defer done()
	w, err := v.tree.acquire(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("acquire volume: %w", err)
	}
	return w, nil
}

func (t *tree) acquire(ctx context.Context, o terms) (*writer, error) {
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if exists(t.root, arrivedName) {
		if err := t.arrive(ctx); err != nil {
			return nil, err
		}
	}
	if !o.Takeover && !o.resume {
		// Ask before claiming the fence: the holder is not to notice.
		epoch, err := t.epoch(ctx)
		if err == nil {
			err = t.refuseIfHeld(epoch)
		}
		if err != nil {
			return nil, err
		}
	}
	var w *writer
	err := t.fence.take(ctx, func(before fenceState) (uint64, error) {
		var err error
		w, err = t.nextWriter(ctx, o, before.epoch)
		if err != nil {
			return 0, err
		}
		return w.epoch, nil
	})
	if err != nil {
		if w != nil {
			w.lock.Close()
			w.tails.close()
		}
		return nil, err
	}
	t.keep()
	t.files.forgetAll() // others may have replaced files until now
	t.removeLocks(w.epoch)
	t.sweepPoints()
	return w, nil
}

// prepare makes what a copy of a volume may lack.
func (t *tree) prepare() error {
	if err := mkdirAt(t.root, spareName); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make %q: %w", spareName, err)
	}
	f, err := openFile(t.root, fenceName, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() < fenceSize {
		err = f.Truncate(fenceSize)
	}
	return err
}

// nextWriter begins the next epoch. The fence is locked. The epoch follows both
// on the catalog's and on the fence's, which differ if the catalog was put back
// to an older state, or if someone died between changing one and the other.
func (t *tree) nextWriter(ctx context.Context, o terms, fenced uint64) (*writer, error) {
	stored, lease, err := t.terms(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case o.resume && !sameLease(lease, o.lease):
		return nil, host.ErrFenced
	case !o.resume && !o.Takeover:
		if err := errors.Join(t.refuseIfHeld(stored), t.refuseIfHeld(fenced)); err != nil {
			return nil, err
		}
	}
	epoch := max(stored, fenced)
	if epoch == math.MaxUint64 {
		return nil, damaged(errors.New("no epoch is left"))
	}
	epoch++
	lock, err := t.lockEpoch(epoch, o.Owner)
	if err != nil {
		return nil, err
	}
	if err := t.setTerms(ctx, epoch, o.lease); err != nil {
		removeAt(t.root, lock.Name(), 0)
		lock.Close()
		return nil, err
	}
	n, err := t.beginTails(stored, epoch)
	if err != nil {
		lock.Close()
		return nil, err
	}
	w := newWriter(t, epoch, lock, n)
	w.resumed = o.resume
	return w, nil
}

// refuseIfHeld fails with ErrInUse if the writer of that epoch is alive.
func (t *tree) refuseIfHeld(epoch uint64) error {
	f, err := openFile(t.root, lockName(epoch), unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	free, err := tryLock(f, unix.LOCK_SH)
	if err != nil || free {
		return err
	}
	p := make([]byte, maxLockFileBytes)
	n, err := f.ReadAt(p, 0)
	var who owner
	if (err != nil && err != io.EOF) || json.Unmarshal(p[:n], &who) != nil {
		return fmt.Errorf("held by an unknown process: %w", host.ErrInUse)
	}
	return fmt.Errorf("held by %v: %w", who, host.ErrInUse)
}

// lockEpoch makes and locks the lock file of a new epoch.
func (t *tree) lockEpoch(epoch uint64, what string) (*os.File, error) {
	f, err := openFile(t.root, lockName(epoch), unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, noSpace(err)
	}
	free, err := tryLock(f, unix.LOCK_EX)
	if err == nil && !free {
		err = fmt.Errorf("held by an unknown process: %w", host.ErrInUse)
	}
	if err == nil {
		err = writeOwner(f, what)
	}
	if isNoSpace(err) { // it only tells others who we are
		err = nil
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func writeOwner(f *os.File, what string) error {
	if len(what) > maxOwnerBytes {
		what = what[:maxOwnerBytes]
	}
	p, err := json.Marshal(owner{PID: os.Getpid(), What: what})
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(p, '\n'), 0)
	}
	return err
}

// removeLocks clears away the lock files of past epochs. What cannot be removed
// does no harm.
func (t *tree) removeLocks(epoch uint64) {
	names, err := readNames(t.root)
	if err != nil {
		return
	}
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, lockPrefix)
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil && n < epoch {
			removeAt(t.root, name, 0)
		}
	}
}
