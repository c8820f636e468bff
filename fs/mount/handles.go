package mount

import (
	"sync"

	"github.com/coffer-fs/coffer/fs"
)

// handles are the open files, by the number the kernel knows them by.
type handles struct {
	mu      sync.RWMutex
	next    uint64
	open    map[uint64]handle
	writers map[fs.Ino]int // handles that can write
}

type handle struct {
	*fs.Handle
	writes bool
}

func (hs *handles) add(h *fs.Handle, writes bool) uint64 {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.next++
	hs.open[hs.next] = handle{h, writes}
	if writes {
		hs.writers[h.Ino()]++
	}
	return hs.next
}

func (hs *handles) get(fh uint64) *fs.Handle {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	return hs.open[fh].Handle
}

func (hs *handles) remove(fh uint64) *fs.Handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.open[fh]
	delete(hs.open, fh)
	if h.writes {
		i := h.Ino()
		if hs.writers[i]--; hs.writers[i] == 0 {
			delete(hs.writers, i)
		}
	}
	return h.Handle
}

// closeAll closes what is still open.
func (hs *handles) closeAll() {
	hs.mu.Lock()
	left := hs.open
	hs.open, hs.writers = map[uint64]handle{}, map[fs.Ino]int{}
	hs.mu.Unlock()
	for _, h := range left {
		_ = h.Close() // closed once only; nothing else can fail
	}
}

// written reports whether somebody can write to a file, so that the kernel may
// have something of it that it did not send yet.
func (hs *handles) written(i fs.Ino) bool {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	return hs.writers[i] > 0
}
