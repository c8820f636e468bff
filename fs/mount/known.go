package mount

import (
	"sync"

	"github.com/coffer-fs/coffer/fs"
)

// known counts how often the kernel was told of each inode. It may ask for one
// until it has forgotten it as often, also when the last name is gone: of the
// working directory of a process, or to write back the times of a file.
type known struct {
	mu    sync.Mutex
	count map[fs.Ino]uint64
}

func (k *known) add(i fs.Ino) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count[i]++
}

// remove reports whether the kernel has forgotten the inode.
func (k *known) remove(i fs.Ino, n uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count[i] > n {
		k.count[i] -= n
		return false
	}
	delete(k.count, i)
	return true
}

func (k *known) has(i fs.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count[i] > 0
}

// Forget is called when the kernel forgets an inode it was told of so often.
func (b *bridge) Forget(node, count uint64) {
	br, i := b.at(node)
	if br.known.remove(i, count) {
		br.handles.forget(i)
		br.Forgotten(i)
	}
}
