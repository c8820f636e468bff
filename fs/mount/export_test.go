package mount

import (
	"log/slog"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
)

// ListRoot answers a kernel that lists the root of f from an offset on, and tells how
// often the kernel would then have to forget inode i.
func ListRoot(f *fs.FS, off uint64, i fs.Ino) (st fuse.Status, known int) {
	b := newBridge(f, slog.New(slog.DiscardHandler))
	in := &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: uint64(fs.RootIno)}, Offset: off}
	st = b.ReadDirPlus(nil, in, fuse.NewDirEntryList(make([]byte, maxWrite), off))
	br := b.branches[0]
	for br.known.has(i) {
		br.known.remove(i, 1)
		known++
	}
	return st, known
}

// Known is known, for a test beside a model.
type Known struct{ k known }

// NewKnown returns one that knows nothing.
func NewKnown() *Known { return &Known{newKnown()} }

// Add counts an inode once more.
func (k *Known) Add(i fs.Ino) { k.k.add(i) }

// Remove takes n from its count, and reports whether it is gone.
func (k *Known) Remove(i fs.Ino, n uint64) bool { return k.k.remove(i, n) }

// Has reports whether it is counted.
func (k *Known) Has(i fs.Ino) bool { return k.k.has(i) }

// Empty reports whether nothing is kept.
func (k *Known) Empty() bool { return len(k.k.pages) == 0 && len(k.k.more) == 0 }

// MaxHandles is how many files are kept open.
const MaxHandles = maxHandles
