package memhost

import (
	"iter"
	"math/rand/v2"
)

// MaxOutcomes is up to how many outcomes of one crash Outcomes lists all. Of more,
// so many are sampled.
const MaxOutcomes = 1 << 10

// Outcome is what one crash leaves of each pending change, part by part: of an
// append, for each sector that it touches, whether what it wrote there is found; of
// any other change one part, which is whether it was made. That the parts are
// independent is what lets changes tear, and reach the disk in any order.
type Outcome [][]bool

// Parts is how many parts a change has that reach the disk on their own.
func (p Pending) Parts() int {
	if p.Op != OpAppend || p.Size <= 0 {
		return 1
	}
	return int((p.Off+p.Size-1)/SectorSize - p.Off/SectorSize + 1)
}

// Coverage says how much of what a crash may leave Outcomes lists.
type Coverage int

const (
	// Sampled: MaxOutcomes that the seed chose.
	Sampled Coverage = iota
	// EveryTear: every combination of changes that are kept, dropped, or torn
	// behind any sector, and what the seed chose of the rest.
	EveryTear
	// Everything: every set of parts.
	Everything
)

// Covered is how much Outcomes lists.
func Covered(pending []Pending) Coverage {
	all, tears := 1, 1
	for _, p := range pending {
		all = capped(all, 1<<min(p.Parts(), 62))
		tears = capped(tears, p.Parts()+1)
	}
	switch {
	case all <= MaxOutcomes:
		return Everything
	case tears <= MaxOutcomes:
		return EveryTear
	}
	return Sampled
}

// capped is the product, or any number above MaxOutcomes.
func capped(a, b int) int {
	if a > MaxOutcomes || b > MaxOutcomes {
		return MaxOutcomes + 1
	}
	return a * b
}

// Outcomes lists what a crash may leave of these changes: all that is possible if
// that is MaxOutcomes or less, and MaxOutcomes otherwise, as Covered says. The
// outcomes must not be changed, and are good until the next one.
func Outcomes(pending []Pending, seed uint64) iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		o, left := newOutcome(pending), MaxOutcomes
		switch Covered(pending) {
		case Everything:
			o.each(0, o.everySet, func() bool { return yield(o) })
			return
		case EveryTear:
			more := o.each(0, o.everyTear, func() bool { left--; return yield(o) })
			if !more {
				return
			}
		}
		for rng := rand.New(rand.NewPCG(seed, 0x07c0)); left > 0; left-- {
			for _, parts := range o {
				pick(parts, rng)
			}
			if !yield(o) {
				return
			}
		}
	}
}

func newOutcome(pending []Pending) Outcome {
	o := make(Outcome, len(pending))
	for i, p := range pending {
		o[i] = make([]bool, p.Parts())
	}
	return o
}

// each calls fn for every way in which states fills the changes from i on.
func (o Outcome) each(i int, states func(parts []bool, fn func() bool) bool, fn func() bool) (more bool) {
	if i == len(o) {
		return fn()
	}
	return states(o[i], func() bool { return o.each(i+1, states, fn) })
}

// everySet makes every set of the parts.
func (Outcome) everySet(parts []bool, fn func() bool) bool {
	for set := range 1 << len(parts) {
		for j := range parts {
			parts[j] = set>>j&1 == 1
		}
		if !fn() {
			return false
		}
	}
	return true
}

// everyTear makes every prefix of the parts: none of them, all of them, and a tear
// behind each.
func (Outcome) everyTear(parts []bool, fn func() bool) bool {
	for n := range len(parts) + 1 {
		for j := range parts {
			parts[j] = j < n
		}
		if !fn() {
			return false
		}
	}
	return true
}

// pick lets rng choose: kept, dropped, torn, or some parts and not others.
func pick(parts []bool, rng *rand.Rand) {
	kind := rng.IntN(4)
	if len(parts) == 1 {
		kind %= 2
	}
	for j := range parts {
		parts[j] = kind != 1
	}
	switch kind {
	case 2:
		clear(parts[rng.IntN(len(parts)):])
	case 3:
		for range 1 + rng.IntN(maxHoles) {
			from := rng.IntN(len(parts))
			count := 1 + rng.IntN(len(parts)-from)>>rng.IntN(8)
			clear(parts[from : from+count])
		}
	}
}

// leave takes from the append of size bytes at off the parts that are not found.
func leave(s *segment, off, size int64, parts []bool) {
	first := off / SectorSize
	for j := 0; j < len(parts); j++ {
		from := j
		for j < len(parts) && !parts[j] {
			j++
		}
		if j > from {
			eraseWithin(s, off, size, (first+int64(from))*SectorSize, (first+int64(j))*SectorSize)
		}
	}
}
