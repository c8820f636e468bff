package memhost

import "math/rand/v2"

// maxHoles bounds how many runs of sectors Shred loses of one append.
const maxHoles = 8

// tear takes from the append of size bytes at off what its fate takes.
func tear(s *segment, off, size int64, f Fate, rng *rand.Rand) {
	first, last := off/SectorSize, (off+size-1)/SectorSize
	switch f {
	case Drop:
		s.erase(off, size)
	case Tear:
		cutOff := (first + rng.Int64N(last-first+1)) * SectorSize
		eraseWithin(s, off, size, cutOff, off+size)
	case Shred:
		for range 1 + rng.IntN(maxHoles) {
			from := first + rng.Int64N(last-first+1)
			count := 1 + rng.Int64N(last-from+1)>>rng.IntN(8)
			eraseWithin(s, off, size, from*SectorSize, (from+count)*SectorSize)
		}
	}
}

// eraseWithin erases what [from, to) and the append have in common.
func eraseWithin(s *segment, off, size, from, to int64) {
	from, to = max(from, off), min(to, off+size)
	if from < to {
		s.erase(from, to-from)
	}
}
