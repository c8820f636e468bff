package store

import "sync"

// maxKeyed is how many segments keep their cipher ready, about 1 KiB each.
const maxKeyed = 1024

// keyed bounds the ciphers in memory: the oldest one goes first.
type keyed struct {
	mu   sync.Mutex
	ring []*segment
	next int
}

// add notes that g has its cipher ready.
func (k *keyed) add(g *segment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ring) < maxKeyed {
		k.ring = append(k.ring, g)
		return
	}
	k.ring[k.next].sk.Store(nil)
	k.ring[k.next] = g
	k.next = (k.next + 1) % maxKeyed
}
