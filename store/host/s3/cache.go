package s3

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// cacheBlock is the unit of the cache and the least that is read of an object
// with one request, in bytes.
const cacheBlock = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockKey names a block of an object. Objects never change.
type blockKey struct {
	kind   kindOfPlace
	epoch  uint64
	number uint64
	block  uint32
}

// slots is where blocks lie: memory, or a file without a name.
type slots interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// cache keeps sealed bytes up to a limit. It begins empty. What its file gives
// back is checked, so that a bad disk costs a request and not a failure.
type cache struct {
	slots slots
	limit int

	mu    sync.Mutex
	index map[blockKey]int
	meta  []slotMeta // grows up to limit
	hand  int        // of the clock
}

type slotMeta struct {
	key  blockKey
	size int
	sum  uint32
	used bool // since the hand passed
	busy bool // is being written
	full bool
}

// newCache makes one of so many bytes, in memory if dir is empty.
func newCache(dir string, bytes int64) (*cache, error) {
	limit := int(min(max(bytes, 0)/cacheBlock, 1<<24))
	c := &cache{limit: limit, index: make(map[blockKey]int), slots: &memorySlots{}}
	if dir == "" || limit == 0 {
		return c, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	f, err := os.CreateTemp(dir, "cache-")
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make the cache: %w", err), f.Close())
	}
	c.slots = f
	return c, nil
}

func (c *cache) close() error { return c.slots.Close() }

// get copies a block from off on. It misses if the block is shorter.
func (c *cache) get(k blockKey, off int, p []byte) bool {
	c.mu.Lock()
	i, ok := c.index[k]
	if !ok {
		c.mu.Unlock()
		return false
	}
	c.meta[i].used = true
	m := c.meta[i]
	c.mu.Unlock()
	if off+len(p) > m.size {
		return false
	}
	b := make([]byte, m.size)
	// Meanwhile the slot may get another block: the sum tells.
	if _, err := c.slots.ReadAt(b, int64(i)*cacheBlock); err != nil || crc32.Checksum(b, castagnoli) != m.sum {
		return false
	}
	copy(p, b[off:])
	return true
}

// put keeps a block, if there is room or something older.
func (c *cache) put(k blockKey, b []byte) {
	i, ok := c.claim(k, len(b))
	if !ok {
		return
	}
	sum := crc32.Checksum(b, castagnoli)
	_, err := c.slots.WriteAt(b, int64(i)*cacheBlock)
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &c.meta[i]
	m.busy = false
	if err != nil {
		return
	}
	if j, twice := c.index[k]; twice {
		c.meta[j].full = false
	}
	*m = slotMeta{key: k, size: len(b), sum: sum, full: true}
	c.index[k] = i
}

// claim finds a slot to write to, and takes its block out of the index.
func (c *cache) claim(k blockKey, size int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.index[k]; ok && c.meta[i].size >= size {
		return 0, false
	}
	if len(c.meta) < c.limit {
		c.meta = append(c.meta, slotMeta{busy: true})
		return len(c.meta) - 1, true
	}
	for range 2 * len(c.meta) {
		i := c.hand
		c.hand = (c.hand + 1) % len(c.meta)
		m := &c.meta[i]
		switch {
		case m.busy:
		case m.full && m.used:
			m.used = false
		default:
			if m.full {
				delete(c.index, m.key)
			}
			*m = slotMeta{busy: true}
			return i, true
		}
	}
	return 0, false
}

// memorySlots are slots in memory, made as they are used.
type memorySlots struct {
	mu     sync.RWMutex
	blocks [][]byte
}

// ReadAt implements io.ReaderAt for reads within one slot.
func (m *memorySlots) ReadAt(p []byte, off int64) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	i := int(off / cacheBlock)
	if i >= len(m.blocks) || len(p) > len(m.blocks[i]) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, m.blocks[i]), nil
}

// WriteAt implements io.WriterAt for writes of one slot.
func (m *memorySlots) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := int(off / cacheBlock)
	for i >= len(m.blocks) {
		m.blocks = append(m.blocks, nil)
	}
	m.blocks[i] = append(m.blocks[i][:0:0], p...)
	return len(p), nil
}

// Close implements io.Closer.
func (m *memorySlots) Close() error { return nil }
