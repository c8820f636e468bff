package mount

import "github.com/coffer-fs/coffer/fs"

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
