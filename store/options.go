package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store/seal"
)

// Limits of a volume's size, in bytes.
const (
	MinCapacity = 8 << 20
	MaxCapacity = 8 << 40
)

// Slot is the public part of a key slot: whose key to ask for.
type Slot struct {
	Kind       seal.SlotKind
	Generation uint32
	Descriptor []byte
}

// Secret is a key slot to be made.
type Secret struct {
	Kind       seal.SlotKind
	Descriptor []byte // at most seal.MaxDescriptorSize; public
	Key        key.Key
}

// Unlocker finds the key of one of the slots of a volume. The slots come from
// the host: they say what to ask for, and nothing of them is trusted yet. The
// key belongs to the store afterwards, which destroys it.
type Unlocker interface {
	Unlock(ctx context.Context, slots []Slot) (index int, k key.Key, err error)
}

// Secrets is an Unlocker that has the keys already. Of the slots it has a key for
// it opens the one of the newest generation.
type Secrets []Secret

// Unlock implements Unlocker. ErrWrongKey if there is no slot for any of them.
func (s Secrets) Unlock(_ context.Context, slots []Slot) (index int, k key.Key, err error) {
	index = -1
	for i, slot := range slots {
		at := slices.IndexFunc(s, func(s Secret) bool {
			return s.Kind == slot.Kind && bytes.Equal(s.Descriptor, slot.Descriptor)
		})
		if at >= 0 && (index < 0 || slot.Generation > slots[index].Generation) {
			index, k = i, s[at].Key
		}
	}
	if index < 0 {
		return 0, key.Key{}, fmt.Errorf("no key for any of the %d key slots: %w", len(slots), ErrWrongKey)
	}
	k, err = key.FromBytes(k.Bytes())
	return index, k, err
}

// CreateOptions describe a new volume.
type CreateOptions struct {
	// Capacity is the size limit in bytes, MinCapacity..MaxCapacity.
	Capacity int64
	// Secret is the key that will open the volume.
	Secret Secret
	// Anchor is told of the volume from its first state on. Default: none.
	Anchor Anchor
}

// Options say how to open a volume. The zero value of each field but Unlocker
// is the default.
type Options struct {
	// Unlocker must be set.
	Unlocker Unlocker
	// ReadOnly opens the present state and changes nothing on the host.
	ReadOnly bool
	// Takeover fences a present writer instead of giving way to it.
	Takeover bool
	// Owner is shown to whoever finds the volume in use. It is public.
	Owner string
	// Logger receives what an operator should know. Default: silent.
	Logger *slog.Logger
	// NodeCacheBytes bounds clean tree nodes in memory. Default 32 MiB.
	NodeCacheBytes int
	// FrameCacheBytes bounds opened data frames in memory. Default 16 MiB.
	FrameCacheBytes int
	// CheckpointBytes of changed nodes, or a quarter of that in log records,
	// cause a checkpoint. Updates wait once twice as much is changed. Small
	// volumes do with less. Default 32 MiB.
	CheckpointBytes int

	// Anchor is where the newest state is remembered, and must be given for a
	// volume that has one. Default: none; then an older copy of the volume opens
	// unnoticed.
	Anchor Anchor
	// AnchorEvery is how often it is told: AnchorEveryCommit (default),
	// AnchorAtClose, or so often.
	AnchorEvery time.Duration
	// AnchorWait is how long an anchor may be out of reach before the volume
	// takes no more changes. Default 30 s.
	AnchorWait time.Duration
	// AdoptAnchor lets a volume without an anchor get one: whatever copy of it
	// is found becomes the newest.
	AdoptAnchor bool
	// ApproveAnchor lets a volume be opened that the anchor speaks against. It
	// is the AnchorReport's Approval, and holds once.
	ApproveAnchor [32]byte
	// DetachAnchor lets a volume that has an anchor go on without.
	DetachAnchor bool
	// InspectAnchor opens read-only whatever the anchor says, for AnchorReport.
	InspectAnchor bool
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.NodeCacheBytes, 32<<20)
	def(&o.FrameCacheBytes, 16<<20)
	def(&o.CheckpointBytes, 32<<20)
	if o.AnchorWait == 0 {
		o.AnchorWait = defaultAnchorWait
	}
	return o
}

// segmentShift is log2 of the segment size for a capacity: a 64th of it,
// within the limits of the format.
func segmentShift(capacity int64) uint8 {
	shift := uint8(seal.MinSegmentShift)
	for shift < seal.MaxSegmentShift && int64(1)<<(shift+6) < capacity {
		shift++
	}
	return shift
}

func checkCapacity(n int64) error {
	if n < MinCapacity || n > MaxCapacity {
		return fmt.Errorf("capacity of %d bytes is outside %d..%d", n, int64(MinCapacity), int64(MaxCapacity))
	}
	return nil
}
