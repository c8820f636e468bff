package record

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

// Find is the generation that a retirement ends, if it may.
func (s State) Find(r Retirement) (*Generation, error) { return s.find(r.Generation) }

// Retirement ends a generation: no node derives from it, or keeps it, any more.
type Retirement struct {
	Generation Hash // of the generation's record
	Operator   ed25519.PublicKey
	Signature  []byte
}

// RetirementBytes is what an operator signs to end a generation.
func (h Hash) RetirementBytes() []byte { return key.Info(retirementOpLabel, h[:]) }

// Encode is the record of a retirement.
func (r Retirement) Encode() []byte {
	return key.Info(retirementLabel, r.Generation[:], r.Operator, r.Signature)
}

// ParseRetirement reads the record of a retirement and checks its signature.
func ParseRetirement(b []byte, c *nodeconfig.Config) (Retirement, error) {
	p, err := lists.Parse(b, retirementLabel, 3)
	if err != nil {
		return Retirement{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if len(p[0]) != len(Hash{}) || len(p[1]) != ed25519.PublicKeySize {
		return Retirement{}, fmt.Errorf("%w: a part has another size", ErrRecord)
	}
	r := Retirement{Hash(p[0]), p[1], p[2]}
	switch {
	case !c.Operator(r.Operator):
		err = errors.New("not signed by an operator of the measured configuration")
	case !ed25519.Verify(r.Operator, r.Generation.RetirementBytes(), r.Signature):
		err = errors.New("the operator's signature does not match")
	}
	if err != nil {
		return Retirement{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return r, nil
}

// State is all records of a cluster's master keys: the generations from 1, and
// which of them are retired.
type State struct {
	Generations []*Generation
	Retired     map[kds.Generation]bool

	retirements map[kds.Generation][]byte
}

// Encode is the records that s was built of.
func (s State) Encode() (generations, retirements [][]byte) {
	for _, g := range s.Generations {
		generations = append(generations, g.Encode())
		if r := s.retirements[g.Number]; r != nil {
			retirements = append(retirements, r)
		}
	}
	return generations, retirements
}

// Retirement is the record that ends a generation, nil if there is none.
func (s State) Retirement(n kds.Generation) []byte { return s.retirements[n] }

// Build makes the state of the records that somebody kept. Every record is
// checked, and that they follow one another; the newest is never retired.
func Build(generations, retirements [][]byte, c *nodeconfig.Config) (State, error) {
	s := State{Retired: map[kds.Generation]bool{}, retirements: map[kds.Generation][]byte{}}
	if len(generations) > MaxGenerations || len(retirements) > MaxGenerations {
		return State{}, fmt.Errorf("%w: %d generations", ErrRecord, len(generations))
	}
	var before *Generation
	for _, b := range generations {
		g, err := Parse(b, c)
		if err == nil {
			err = g.After(before)
		}
		if err != nil {
			return State{}, err
		}
		s.Generations, before = append(s.Generations, g), g
	}
	for _, b := range retirements {
		r, err := ParseRetirement(b, c)
		if err != nil {
			return State{}, err
		}
		g, err := s.find(r.Generation)
		if err != nil {
			return State{}, err
		}
		s.Retired[g.Number], s.retirements[g.Number] = true, b
	}
	return s, nil
}

// find is the generation with that hash, if it may be retired.
func (s State) find(h Hash) (*Generation, error) {
	for i, g := range s.Generations {
		switch {
		case g.Hash() != h:
		case i == len(s.Generations)-1:
			return nil, fmt.Errorf("%w: generation %d is the newest, and cannot be retired", ErrRecord, g.Number)
		default:
			return g, nil
		}
	}
	return nil, fmt.Errorf("%w: no generation has the hash %x", ErrRecord, h[:8])
}

// Get is the generation with that number, nil if there is none.
func (s State) Get(n kds.Generation) *Generation {
	if n == 0 || int(n) > len(s.Generations) {
		return nil
	}
	return s.Generations[n-1]
}

// Newest is the newest generation, nil before the birth.
func (s State) Newest() *Generation { return s.Get(kds.Generation(len(s.Generations))) }

// Extends reports whether s holds all that old does: nothing went back.
func (s State) Extends(old State) bool {
	for i, g := range old.Generations {
		if i >= len(s.Generations) || s.Generations[i].Hash() != g.Hash() {
			return false
		}
	}
	for n := range old.Retired {
		if !s.Retired[n] {
			return false
		}
	}
	return true
}
