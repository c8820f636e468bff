package store

import (
	"context"
	"errors"

	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// KnownFrame is a frame, and what opens it.
type KnownFrame struct {
	key            seal.SegmentKey
	kind           seal.FrameType
	offset, length uint32
}

// OpensIn reports whether the frame opens in a file, where it lay in its segment.
func (k KnownFrame) OpensIn(file []byte) bool {
	end := int(k.offset) + int(k.length)
	if end > len(file) {
		return false
	}
	_, err := k.key.Open(nil, k.kind, k.offset, file[k.offset:end])
	return err == nil
}

// KnownFrames lists every frame that lies in the volume's segments, dead ones of the
// log too, and root copies not.
func (s *Store) KnownFrames(ctx context.Context) (frames []KnownFrame, err error) {
	s.mu.Lock()
	v := s.tree.View(ctx)
	pages := s.table.pages
	var logs []*segment
	for _, g := range s.table.byID {
		if g.kind == seal.KindLog {
			logs = append(logs, g)
		}
	}
	s.mu.Unlock()
	add := func(g *segment, kind seal.FrameType, offset, length uint32) error {
		k, err := s.key(g)
		frames = append(frames, KnownFrame{k, kind, offset, length})
		return err
	}
	for _, g := range logs {
		if err := s.logFrames(ctx, g, add); err != nil {
			return nil, err
		}
	}
	for _, p := range pages {
		if err := add(s.segment(p.ptr.segment), seal.FrameTable, p.ptr.offset, p.ptr.length); err != nil {
			return nil, err
		}
	}
	err = v.Places(func(p tree.Place) error {
		return add(s.segment(p.Ptr.Segment), seal.FrameNode, p.Ptr.Offset, p.Ptr.Length)
	})
	return frames, err
}

func (s *Store) logFrames(ctx context.Context, g *segment, add func(*segment, seal.FrameType, uint32, uint32) error) error {
	at, err := s.firstBatch(ctx, g)
	for err == nil {
		var b found
		if b, err = s.readBatch(ctx, g, at); err != nil {
			break
		}
		err = errors.Join(add(g, seal.FrameBatch, at, batchHeaderSize), add(g, seal.FrameRecords, at+b.header.records, b.header.recordsSize+seal.TagSize))
		data, dataErr := appendFrames(nil, b)
		for _, f := range data {
			err = errors.Join(err, add(g, seal.FrameData, f.offset, f.length+seal.TagSize))
		}
		err = errors.Join(err, dataErr)
		at += b.header.size
	}
	if errors.Is(err, ErrDamaged) {
		return nil // the end of what was written
	}
	return err
}
