package memhost

import "encoding/binary"

// ground is what shows where a segment was never written: zeros, what an
// earlier segment left there, or junk.
type ground struct {
	old  *segment // not nil: its chunks show, over zeros
	junk uint64   // not 0: the seed of junk
}

// fill sets p to the ground at off.
func (g ground) fill(p []byte, off int64) {
	switch {
	case g.old != nil:
		g.old.read(p, off)
	case g.junk != 0:
		fillJunk(p, off, g.junk)
	default:
		clear(p)
	}
}

// fillJunk makes each byte a function of seed and place, so that junk needs no
// memory and reads the same every time.
func fillJunk(p []byte, off int64, seed uint64) {
	var word [8]byte
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(seed^uint64(off>>3)*0x9e3779b97f4a7c15))
		n := copy(p, word[off&7:])
		p, off = p[n:], off+int64(n)
	}
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
