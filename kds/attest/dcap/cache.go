package dcap

import (
	"crypto/sha256"
	"sync"
)

// cache keeps what was verified of some bytes, for the next quote that comes
// with the same bytes. It holds nothing that depends on time.
type cache[V any] struct {
	most  int
	mu    sync.Mutex
	byKey map[[sha256.Size]byte]V
	order [][sha256.Size]byte // oldest first
}

// get returns what was kept for bytes, or else makes it and keeps it.
func (c *cache[V]) get(bytes []byte, read func() (V, error)) (V, error) {
	k := sha256.Sum256(bytes)
	c.mu.Lock()
	v, ok := c.byKey[k]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err == nil {
		c.put(k, v)
	}
	return v, err
}

func (c *cache[V]) put(k [sha256.Size]byte, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[[sha256.Size]byte]V{}
	}
	if _, ok := c.byKey[k]; ok {
		return
	}
	if len(c.order) == c.most {
		delete(c.byKey, c.order[0])
		c.order = c.order[1:]
	}
	c.byKey[k] = v
	c.order = append(c.order, k)
}
