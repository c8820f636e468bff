package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// catalogKeptPrefix begins the names of catalogs that were replaced.
const catalogKeptPrefix = "catalog.old."

// maxKept bounds how many replaced catalogs are kept.
const maxKept = 1000

// Remains is what is left of a volume whose catalog may be lost or damaged. It
// implements host.Reader: there is no record that can't be read.
type Remains struct{ v *Volume }

var _ host.Reader = (*Remains)(nil)

// OpenRemains opens what is left of the volume in dir. ErrNotFound if there is
// neither a catalog nor a directory of segments.
func OpenRemains(dir string) (*Remains, error) {
	t, err := openTreeOnly(dir)
	if err != nil {
		return nil, fmt.Errorf("open volume %q: %w", dir, err)
	}
	return &Remains{&Volume{tree: t}}, nil
}

// Close lets go of the files.
func (r *Remains) Close() error { return r.v.Close() }

// Get implements host.Reader. ErrNotFound also if the catalog can't be read.
func (r *Remains) Get(ctx context.Context, name string) (host.Record, error) {
	rec, err := r.v.Get(ctx, name)
	if err != nil && ctx.Err() == nil && !errors.Is(err, host.ErrNotFound) {
		err = fmt.Errorf("%w: %w", host.ErrNotFound, err)
	}
	return rec, err
}

// Read implements host.Reader.
func (r *Remains) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	return r.v.Read(ctx, id, off, p)
}

// Segments implements host.Reader.
func (r *Remains) Segments(ctx context.Context) ([]host.SegmentInfo, error) { return r.v.Segments(ctx) }

// Hold keeps everybody from writing the volume.
type Hold struct {
	tree  *tree
	epoch uint64
	lock  *os.File
}

// Hold takes the volume as a writer would, without its catalog. While a writer is
// alive, of any epoch, the error is ErrInUse.
func (r *Remains) Hold(ctx context.Context, owner string) (*Hold, error) {
	h, err := r.v.tree.hold(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("hold volume: %w", err)
	}
	return h, nil
}

func (t *tree) hold(ctx context.Context, owner string) (*Hold, error) {
	if err := t.prepare(); err != nil {
		return nil, err
	}
	h := &Hold{tree: t}
	err := t.fence.take(ctx, func(before fenceState) (uint64, error) {
		last, err := t.lastEpoch(ctx, before.epoch)
		if err != nil {
			return 0, err
		}
		h.epoch = last + 1
		h.lock, err = t.lockEpoch(h.epoch, owner)
		return h.epoch, err
	})
	if err != nil {
		return nil, err
	}
	t.keep()
	return h, nil
}

// lastEpoch is the highest epoch that anything in the directory tells of. Its
// writer, and that of any other, must not be alive.
func (t *tree) lastEpoch(ctx context.Context, last uint64) (uint64, error) {
	if stored, err := t.epoch(ctx); err == nil {
		last = max(last, stored)
	}
	names, err := readNames(t.root)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, lockPrefix)
		n, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil {
			continue
		}
		if err := t.refuseIfHeld(n); err != nil {
			return 0, err
		}
		last = max(last, n)
	}
	if last == math.MaxUint64 {
		return 0, damaged(errors.New("no epoch is left"))
	}
	return last, nil
}

// Replace makes the segments durable that the records are about, and puts a new
// catalog with these records in the place of the present one, which is kept beside
// it under the name returned, empty if there was none. A crash leaves one or the
// other.
func (h *Hold) Replace(records map[string][]byte, segments []host.SegmentID) (kept string, err error) {
	if err = h.sync(segments); err == nil {
		kept, err = h.replace(records)
	}
	if err != nil {
		return "", fmt.Errorf("replace catalog: %w", err)
	}
	return kept, nil
}

// sync makes segments durable, and that they are there.
func (h *Hold) sync(segments []host.SegmentID) error {
	for _, id := range segments {
		f, err := openFile(h.tree.segments, segmentName(id), unix.O_RDONLY)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("sync segment %d: %w", id, err)
		}
	}
	return h.tree.segments.Sync()
}

func (h *Hold) replace(records map[string][]byte) (kept string, err error) {
	for name, value := range records {
		if err := host.CheckRecord(name, value); err != nil {
			return "", err
		}
	}
	root := h.tree.root
	// 1. The new catalog, under a name of its own.
	name := fmt.Sprintf("%s%d", catalogNewPrefix, os.Getpid())
	removeAt(root, name, 0)
	if err := makeCatalog(root, name, h.fill(records)); err != nil {
		removeAt(root, name, 0)
		return "", err
	}
	// 2. Another name for the old one.
	if kept, err = keepCatalog(root); err == nil {
		err = root.Sync()
	}
	// 3. The new one gets its name.
	if err == nil {
		err = retry(func() error { return unix.Renameat(int(root.Fd()), name, int(root.Fd()), catalogName) })
	}
	if err != nil {
		removeAt(root, name, 0)
		return "", err
	}
	return kept, root.Sync()
}

func (h *Hold) fill(records map[string][]byte) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		err := initCatalog(tx)
		if err == nil {
			err = tx.Bucket(volumeBucket).Put(epochKey, binary.BigEndian.AppendUint64(nil, h.epoch))
		}
		if err == nil {
			err = putRecords(tx.Bucket(recordsBucket), records)
		}
		return err
	}
}

// keepCatalog gives the present catalog, whatever it is, another name as well;
// what is no file has it instead.
func keepCatalog(root *os.File) (string, error) {
	st, err := statAt(root, catalogName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	for n := range maxKept {
		name := fmt.Sprintf("%s%d", catalogKeptPrefix, n+1)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = renameNew(root, catalogName, root, name)
		} else {
			err = retry(func() error { return unix.Linkat(int(root.Fd()), catalogName, int(root.Fd()), name, 0) })
		}
		if err != unix.EEXIST {
			return name, err
		}
	}
	return "", fmt.Errorf("%d catalogs are kept already: %w", maxKept, host.ErrExists)
}

// Release lets others have the volume.
func (h *Hold) Release() error {
	err := errors.Join(removeAt(h.tree.root, h.lock.Name(), 0), h.lock.Close())
	h.tree.drop()
	return err
}
