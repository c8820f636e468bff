package mount

import (
	"sync"

	"github.com/coffer-fs/coffer/fs"
)

// known counts how often the kernel was told of each inode. It may ask for one
// until it has forgotten it as often, also when the last name is gone: of the
// working directory of a process, or to write back the times of a file.
//
// The kernel knows millions if it has the memory for them. They are mostly
// neighbours, told of once or twice, so they are kept by pages of a byte each.
type known struct {
	mu    sync.Mutex
	pages map[fs.Ino]*knownPage // by number / knownInPage; those with no count are not kept
	more  map[fs.Ino]uint64     // counts of manyTimes and more
}

const (
	knownInPage = 64
	manyTimes   = 255 // stands for a count that is in more
)

type knownPage [knownInPage]uint8

func newKnown() known { return known{pages: map[fs.Ino]*knownPage{}, more: map[fs.Ino]uint64{}} }

func (k *known) add(i fs.Ino) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pages[i/knownInPage]
	if p == nil {
		p = &knownPage{}
		k.pages[i/knownInPage] = p
	}
	k.set(p, i, k.get(p, i)+1)
}

// remove reports whether the kernel has forgotten the inode.
func (k *known) remove(i fs.Ino, n uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pages[i/knownInPage]
	if p == nil {
		return true
	}
	count := k.get(p, i)
	k.set(p, i, count-min(n, count))
	if *p == (knownPage{}) {
		delete(k.pages, i/knownInPage)
	}
	return count <= n
}

func (k *known) has(i fs.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pages[i/knownInPage]
	return p != nil && p[i%knownInPage] > 0
}

// get is the count of an inode of page p. Callers hold mu.
func (k *known) get(p *knownPage, i fs.Ino) uint64 {
	if c := p[i%knownInPage]; c < manyTimes {
		return uint64(c)
	}
	return k.more[i]
}

// set is its opposite.
func (k *known) set(p *knownPage, i fs.Ino, count uint64) {
	if count >= manyTimes {
		k.more[i] = count
		count = manyTimes
	} else if p[i%knownInPage] == manyTimes {
		delete(k.more, i)
	}
	p[i%knownInPage] = uint8(count)
}

// Forget is called when the kernel forgets an inode it was told of so often.
func (b *bridge) Forget(node, count uint64) {
	br, i := b.at(node)
	if br.known.remove(i, count) {
		br.handles.forget(i)
		br.Forgotten(i)
	}
}
