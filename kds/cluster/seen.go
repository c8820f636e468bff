package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

const (
	// SeenFile is where a node remembers the newest root of the ledger.
	SeenFile = "cluster.seen"

	maxSeenBytes = 4096

	seenLabel = "coffer/cluster/v1/seen"
)

// remember takes a root that is not older than the newest, and has it on the
// disk when it returns. ErrOlder.
func (w *witness) remember(h ledger.Head) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.load(); err != nil {
		return err
	}
	switch {
	case h == w.seen:
		return nil
	case h.Number <= w.seen.Number:
		return fmt.Errorf("%w: it shows root %d, and this node has seen root %d", ledger.ErrOlder, h.Number, w.seen.Number)
	}
	return w.write(w.n.Current(), h)
}

// write has h in the file, under the key of g. w.mu is held.
func (w *witness) write(g kds.Generation, h ledger.Head) error {
	body := seenBody(g, h)
	tag, err := w.n.authentic(g, body, seenLabel)
	if err != nil {
		return err
	}
	b := append(binary.BigEndian.AppendUint32(body, uint32(len(tag))), tag...)
	if err := secretfile.Replace(filepath.Join(w.n.o.Dir, SeenFile), b); err != nil {
		return fmt.Errorf("remember the newest root: %w", err)
	}
	w.seen, w.under = h, g
	return nil
}

func seenBody(g kds.Generation, h ledger.Head) []byte {
	return key.Info(seenLabel, u32(uint32(g)), u64(h.Number), h.Hash[:])
}

// seenFile is what the file says, to be believed if the tag is right.
type seenFile struct {
	under kds.Generation
	head  ledger.Head
	tag   []byte
}

// read reads the file. fs.ErrNotExist, ErrSealed. w.mu is held.
func (w *witness) read() (seenFile, error) {
	b, err := secretfile.ReadBounded(filepath.Join(w.n.o.Dir, SeenFile), maxSeenBytes)
	if errors.Is(err, secretfile.ErrDamaged) {
		return seenFile{}, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	if err != nil {
		return seenFile{}, err
	}
	p, err := lists.Parse(b, seenLabel, 4)
	if err != nil || len(p[2]) != sha256.Size {
		return seenFile{}, fmt.Errorf("%w: %q is damaged", ErrSealed, SeenFile)
	}
	g, e1 := lists.U32(p[0])
	number, e2 := lists.U64(p[1])
	if err := errors.Join(e1, e2); err != nil {
		return seenFile{}, fmt.Errorf("%w: %q: %w", ErrSealed, SeenFile, err)
	}
	return seenFile{kds.Generation(g), ledger.Head{Number: number, Hash: [32]byte(p[2])}, p[3]}, nil
}

// load reads the file, once. If it is under a generation whose key is gone, it
// counts no more, and the others remember: this node did not write it so. w.mu is
// held.
func (w *witness) load() error {
	if w.open || w.damaged != nil {
		return w.damaged
	}
	f, err := w.read()
	if errors.Is(err, fs.ErrNotExist) {
		w.open = true
		return nil
	}
	if err != nil {
		return err
	}
	tag, err := w.n.authentic(f.under, seenBody(f.under, f.head), seenLabel)
	switch {
	case err != nil && w.n.retired(f.under):
		w.n.o.Logger.Warn("what this node remembered of the ledger is of a generation that ended while it had no key", "generation", int(f.under))
	case err != nil:
		return err
	case !hmac.Equal(tag, f.tag):
		return fmt.Errorf("%w: %q is damaged", ErrSealed, SeenFile)
	default:
		w.seen, w.under = f.head, f.under
	}
	w.open = true
	return nil
}

// loadBefore loads the file if it is under a generation whose key is about to go
// with the state next. A damaged file keeps no key: then that stays an error of load.
func (w *witness) loadBefore(next record.State) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	ends := func(g kds.Generation) bool { return next.Retired[g] && !w.n.retired(g) }
	if w.open || w.damaged != nil || !slices.ContainsFunc(slices.Collect(maps.Keys(next.Retired)), ends) {
		return nil
	}
	f, err := w.read()
	if err == nil && ends(f.under) {
		err = w.load()
	}
	switch {
	case errors.Is(err, ErrSealed):
		w.damaged = err
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// follow writes the file again if the key that it is under is gone.
func (w *witness) follow() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.under == 0 || !w.n.retired(w.under) {
		return nil
	}
	w.n.mu.RLock()
	g := w.n.newestHeld()
	w.n.mu.RUnlock()
	return w.write(g, w.seen)
}

func (n *Node) retired(g kds.Generation) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.state.Retired[g]
}

// newestHeld is the newest generation whose key the node has, 0 if it has none.
// n.mu is held.
func (n *Node) newestHeld() (newest kds.Generation) {
	for g := range n.keys {
		newest = max(newest, g)
	}
	return newest
}
