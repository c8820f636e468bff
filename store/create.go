package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// Create makes an empty volume on a host that holds none yet: its header, with
// one key slot, and its first root. host.ErrExists if there is a volume.
func Create(ctx context.Context, v host.Volume, o CreateOptions) (err error) {
	if err := checkCapacity(o.Capacity); err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{Owner: "coffer init"})
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	defer func() { err = errors.Join(err, w.Release(context.WithoutCancel(ctx))) }()
	if _, err := w.Get(ctx, recordHeader); err == nil {
		return fmt.Errorf("create volume: %w", host.ErrExists)
	} else if !isNotFound(err) {
		return fmt.Errorf("create volume: %w", err)
	}
	var volume [16]byte
	rand.Read(volume[:])
	ring := seal.Keyring{1: key.New()}
	header, err := seal.BuildHeader(volume, segmentShift(o.Capacity), 1, []seal.SlotSecret{{
		Kind: o.Secret.Kind, Generation: 1, Descriptor: o.Secret.Descriptor, Key: o.Secret.Key,
	}}, ring)
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	rootHash, err := createRoot(ctx, w, volume, ring, segmentShift(o.Capacity), header, o)
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	if err := createAnchor(ctx, o.Anchor, volume, rootHash); err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	prepareSegments(ctx, w, int64(1)<<segmentShift(o.Capacity))
	// The header comes last: only with it is there a volume.
	if _, err := w.Swap(ctx, recordHeader, "", header); err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	return nil
}

// createAnchor tells the anchor of the first root.
func createAnchor(ctx context.Context, to Anchor, volume [16]byte, root [32]byte) error {
	if to == nil {
		return nil
	}
	first := AnchorState{Epoch: 1, Root: 1, Hash: anchorHash(volume, root, [32]byte{})}
	rand.Read(first.Opening[:])
	err := to.Advance(ctx, volume, AnchorState{}, first)
	if err == nil || errors.Is(err, ErrAnchorOther) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAnchorUnavailable, err)
}

// createRoot writes an empty tree and the root that points to it, and returns the
// hash of that root.
func createRoot(ctx context.Context, w host.Writer, volume [16]byte, ring seal.Keyring, shift uint8, header []byte, o CreateOptions) (hash [32]byte, err error) {
	g := &segment{id: 1, kind: seal.KindNode, generation: 1}
	rand.Read(g.salt[:])
	b := seal.Preamble{Kind: g.kind, Volume: volume, Number: 1, Generation: 1, Salt: g.salt, Header: header}.Encode()
	k := seal.NewSegmentKey(ring[1], volume, 1, g.salt)
	node := tree.EmptyNode()
	ptr := tree.Ptr{Segment: 1, Offset: uint32(len(b)), Length: uint32(len(node) + seal.TagSize)}
	b = k.Seal(b, seal.FrameNode, ptr.Offset, node)
	g.live = int64(ptr.Length)
	plain := encodePage([]entry{g.entry()})
	pp := pagePtr{1, uint32(len(b)), uint32(len(plain) + seal.TagSize), 1, g.salt}
	b = k.Seal(b, seal.FrameTable, pp.offset, plain)
	r := root{
		sequence: 1, headerSequence: 1, clean: true, capacity: o.Capacity,
		tree: ptr, nextSegment: 2, pages: []pagePtr{pp},
	}
	if o.Anchor != nil {
		r.anchored = &rootAnchor{}
	}
	sealed, err := seal.SealRoot(ring[1], volume, 1, r.sequence, r.encode())
	if err != nil {
		return hash, err
	}
	// An earlier attempt may have been cut off before its header.
	if err := w.Delete(ctx, 1); err != nil && !isNotFound(err) {
		return hash, err
	}
	old, err := w.Get(ctx, recordRoot)
	if err != nil && !isNotFound(err) {
		return hash, err
	}
	if err := w.Create(ctx, 1, int64(1)<<shift); err != nil {
		return hash, err
	}
	if err := w.Append(ctx, 1, 0, b); err != nil {
		return hash, err
	}
	if err := w.Sync(ctx, 1); err != nil {
		return hash, err
	}
	_, err = w.Swap(ctx, recordRoot, old.Version, sealed)
	return sha256.Sum256(sealed), err
}

// preparedSegments is how many segments of a new volume are written beforehand:
// the log's, and the one that follows it.
const preparedSegments = 2

// prepareSegments asks the host for segments that are quick to sync. It is no
// failure if there are none.
func prepareSegments(ctx context.Context, w host.Writer, size int64) {
	if p, ok := w.(host.Preparer); ok {
		_ = p.Prepare(ctx, size, preparedSegments)
	}
}
