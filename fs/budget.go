package fs

import (
	"context"

	"github.com/coffer-fs/coffer/store"
)

// One flush is one Update, so what is buffered may not grow beyond what an
// Update can hold. Every change is admitted by what it may cost at most before
// it is buffered, and counted by what it does cost afterwards.
const (
	// recordSize is what an item change takes in an Update beside its value,
	// in bytes; see store.MaxUpdate.
	recordSize = 20
	// fileCost is the inode item of a file.
	fileCost = recordSize + inodeSize
	// blockCost is a block in an extent of its own, which cuts another in two.
	blockCost = 3 * (recordSize + store.ExtentSize)
	// inlineCost is the inline item, and the extent that it takes the place of.
	inlineCost = recordSize + InlineMax + blockCost
	// maxFlushCost is what a flush may come to. One write's extents, and the
	// inode it belongs to, must fit beside it.
	maxFlushCost = store.MaxUpdate * 3 / 4
)

// writeCost is at most what a buffered write of n bytes adds to a flush.
func writeCost(n int) int {
	blocks := n/BlockSize + 2 + 1 // the first and the last one in part, and one that was inline
	return fileCost + inlineCost + blocks*blockCost
}

// flushCost is what the file adds to a flush now. Callers hold mu.
func (h *file) flushCost() int {
	switch {
	case !h.changed():
		return 0
	case len(h.blocks) == 0:
		return fileCost
	case h.size <= InlineMax:
		return fileCost + inlineCost
	}
	return fileCost + len(h.blocks)*blockCost
}

// admit waits until a change of at most this cost can be buffered, flushing if
// need be. The caller must call admitted with the same cost when it is done, and
// holds no locks.
func (f *Tree) admit(ctx context.Context, cost int) error {
	for {
		if f.dirty.Load()*BlockSize >= int64(f.options.DirtyBytes) {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
		if f.tryAdmit(cost) {
			return nil
		}
		if err := f.flush(ctx); err != nil {
			return err
		}
		f.awaitAdmitted(cost)
	}
}

func (f *Tree) tryAdmit(cost int) bool {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	if f.cost+cost > maxFlushCost {
		return false
	}
	f.cost += cost
	f.admissions++
	return true
}

// awaitAdmitted waits while only changes that are being made are in the way: no
// flush would help.
func (f *Tree) awaitAdmitted(cost int) {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	for f.cost+cost > maxFlushCost && f.admissions > 0 {
		f.cheaper.Wait()
	}
}

// admitted ends what admit began.
func (f *Tree) admitted(cost int) {
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	f.cost -= cost
	f.admissions--
	f.cheaper.Broadcast()
}

// note keeps the set of files that have something to flush, and what flushing
// them costs. It follows every change of what is buffered. Callers hold h.mu.
func (f *Tree) note(h *file) {
	cost := h.flushCost()
	if cost == h.cost {
		return
	}
	f.filesMu.Lock()
	defer f.filesMu.Unlock()
	f.cost += cost - h.cost
	if cost < h.cost {
		f.cheaper.Broadcast()
	}
	h.cost = cost
	if cost > 0 {
		f.changed[h] = true
	} else {
		delete(f.changed, h)
	}
	f.stale.Store(int64(len(f.changed)))
}
