package store

// Recovered is a volume as Open found it, in a world where root n has the hash n
// and the chain up to batch n is n.
type Recovered struct {
	Root, Log, Head    uint64 // root, batch before its log, last batch
	Bare               bool   // the root knows of no anchor
	Confirmed, Pending AnchorState
}

// PointAt is a state of the anchor in that world.
func PointAt(epoch, root, sequence uint64) AnchorState {
	return AnchorState{Epoch: epoch, Root: root, Sequence: sequence, Hash: anchorHash([16]byte{}, [32]byte{byte(root)}, [32]byte{byte(sequence)})}
}

// Verdict is that of Open when the anchor has now.
func (r Recovered) Verdict(now AnchorState) error {
	s := &Store{root: root{sequence: r.Root, log: logPosition{sequence: r.Log}}}
	if !r.Bare {
		s.root.anchored = &rootAnchor{previous: [32]byte{byte(r.Root - 1)}, confirmed: r.Confirmed, pending: r.Pending}
	}
	s.anchor.confirmed, s.anchor.root = now, [32]byte{byte(r.Root)}
	for n := r.Log; n <= r.Head; n++ {
		s.log.sequence = n
		s.anchor.note(n, [32]byte{byte(n)})
	}
	return s.verdict()
}
