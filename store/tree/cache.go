package tree

import (
	"container/list"
	"sync"
)

// cacheShards spreads the locks: looking a node up moves it to the front.
const cacheShards = 8

// cache holds clean nodes by place, the least recently used going first.
type cache struct{ shards [cacheShards]cacheShard }

type cacheShard struct {
	mu    sync.Mutex
	limit int // bytes
	bytes int
	lru   list.List // of *cached, most recent first
	byPtr map[Ptr]*list.Element
}

type cached struct {
	ptr  Ptr
	node *node
}

// newCache makes a cache that holds about limit bytes.
func newCache(limit int) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].limit = limit / cacheShards
		c.shards[i].byPtr = map[Ptr]*list.Element{}
	}
	return c
}

func (c *cache) shard(p Ptr) *cacheShard {
	return &c.shards[(uint64(p.Segment)*31+uint64(p.Offset)>>9)%cacheShards]
}

func (c *cache) get(p Ptr) *node {
	s := c.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byPtr[p]
	if e == nil {
		return nil
	}
	s.lru.MoveToFront(e)
	return e.Value.(*cached).node
}

func (c *cache) put(p Ptr, n *node) {
	s := c.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPtr[p] != nil {
		return
	}
	s.byPtr[p] = s.lru.PushFront(&cached{p, n})
	s.bytes += n.memory()
	for s.bytes > s.limit && s.lru.Len() > 1 {
		s.remove(s.lru.Back())
	}
}

// drop forgets the node at p, whose frame is dead.
func (c *cache) drop(p Ptr) {
	s := c.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byPtr[p]; e != nil {
		s.remove(e)
	}
}

func (s *cacheShard) remove(e *list.Element) {
	v := s.lru.Remove(e).(*cached)
	delete(s.byPtr, v.ptr)
	s.bytes -= v.node.memory()
}
