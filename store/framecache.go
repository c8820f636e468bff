package store

import (
	"container/list"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

// frameCache keeps opened data frames of which only a part was asked for, since
// the next part is likely to be asked for soon. The least recently used goes
// first.
type frameCache struct {
	mu      sync.Mutex
	limit   int // bytes
	bytes   int
	lru     list.List // of *openFrame, most recent first
	byPlace map[framePlace]*list.Element
}

type framePlace struct {
	segment host.SegmentID
	offset  uint32
}

type openFrame struct {
	place framePlace
	plain []byte
}

func newFrameCache(limit int) *frameCache {
	return &frameCache{limit: limit, byPlace: map[framePlace]*list.Element{}}
}

// read fills the piece if its frame is there.
func (c *frameCache) read(r Read) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byPlace[framePlace{r.Extent.Segment, r.Extent.Offset}]
	if e == nil {
		return false
	}
	plain := e.Value.(*openFrame).plain
	if len(plain) != int(r.Extent.Length) {
		return false // the extent is wrong, which opening its frame will show
	}
	c.lru.MoveToFront(e)
	copy(r.Dst, plain[r.Extent.Start+r.Off:])
	return true
}

// put keeps the plaintext of e's frame.
func (c *frameCache) put(e Extent, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	place := framePlace{e.Segment, e.Offset}
	if c.byPlace[place] != nil || len(plain) > c.limit {
		return
	}
	c.byPlace[place] = c.lru.PushFront(&openFrame{place, plain})
	c.bytes += len(plain)
	for c.bytes > c.limit {
		old := c.lru.Remove(c.lru.Back()).(*openFrame)
		delete(c.byPlace, old.place)
		c.bytes -= len(old.plain)
	}
}
