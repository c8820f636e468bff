package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/tree"
)

// recordScrub is the record that says how far a scrub has come.
const recordScrub = "scrub"

// scrubParts are the parts of Damage by their number in the record. A number is
// never reused.
var scrubParts = map[uint8]Part{1: PartPage, 2: PartNode, 3: PartData}

const (
	scrubFixed  = 1 + tree.KeySize + 5*8 + 2
	scrubDamage = 1 + tree.KeySize + 8 + 4 + 4
)

// encodeScrub encodes a position (docs/format.md, "Scrub").
func encodeScrub(r ScrubReport) []byte {
	b := make([]byte, 0, scrubFixed+len(r.Damage)*scrubDamage)
	var complete byte
	if r.Complete {
		complete = 1
	}
	b = r.Next.Append(append(b, complete))
	for _, n := range []int64{r.Pages, r.Nodes, r.Frames, r.Bytes, r.Damaged} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Damage)))
	for _, d := range r.Damage {
		for n, part := range scrubParts {
			if part == d.Part {
				b = append(b, n)
			}
		}
		b = d.Key.Append(b)
		b = binary.BigEndian.AppendUint64(b, uint64(d.Segment))
		b = binary.BigEndian.AppendUint32(b, d.Offset)
		b = binary.BigEndian.AppendUint32(b, d.Length)
	}
	return b
}

// parseScrub decodes a position. ErrDamaged.
func parseScrub(b []byte) (r ScrubReport, err error) {
	if len(b) < scrubFixed || b[0] > 1 {
		return r, fmt.Errorf("scrub position of %d bytes: %w", len(b), ErrDamaged)
	}
	r.Complete, r.Next = b[0] == 1, tree.DecodeKey(b[1:])
	for i, n := range []*int64{&r.Pages, &r.Nodes, &r.Frames, &r.Bytes, &r.Damaged} {
		if *n = int64(binary.BigEndian.Uint64(b[1+tree.KeySize+8*i:])); *n < 0 {
			return r, fmt.Errorf("scrub position that counts %d: %w", *n, ErrDamaged)
		}
	}
	count := int(binary.BigEndian.Uint16(b[scrubFixed-2:]))
	b = b[scrubFixed:]
	if count > MaxDamageListed || len(b) != count*scrubDamage || int64(count) > r.Damaged || (count == 0) != (r.Damaged == 0) {
		return r, fmt.Errorf("scrub position with %d damaged frames: %w", count, ErrDamaged)
	}
	for ; len(b) > 0; b = b[scrubDamage:] {
		d := Damage{
			Part: scrubParts[b[0]], Key: tree.DecodeKey(b[1:]), Segment: host.SegmentID(binary.BigEndian.Uint64(b[1+tree.KeySize:])),
			Offset: binary.BigEndian.Uint32(b[9+tree.KeySize:]), Length: binary.BigEndian.Uint32(b[13+tree.KeySize:]), Err: ErrDamaged,
		}
		if d.Part == "" {
			return r, fmt.Errorf("scrub position with an unknown part: %w", ErrDamaged)
		}
		r.Damage = append(r.Damage, d)
	}
	return r, nil
}

// resume takes up the position of a pass that did not come to its end. Without one
// that opens the pass begins anew, and says so if there was one.
func (b *scrubber) resume(ctx context.Context) {
	if b.s.host == nil {
		return
	}
	r, err := b.s.keptScrub(ctx)
	switch {
	case err != nil:
		b.report.Lost = err.Error()
		b.s.logger.Warn("take up the position of the last scrub", "error", err)
	case r != nil && !r.Complete:
		b.report, b.report.Resumed = *r, true
	}
}

// keptScrub returns the position that is kept, nil if none is.
func (s *Store) keptScrub(ctx context.Context) (*ScrubReport, error) {
	rec, err := s.host.Get(ctx, recordScrub)
	if isNotFound(err) || err == nil && len(rec.Value) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := seal.OpenScrub(*s.ring.Load(), s.volume, rec.Value)
	if err != nil {
		return nil, sealError(err)
	}
	r, err := parseScrub(p)
	return &r, err
}

// forgetScrub empties a position that an older volume key opens: it names objects. No
// scrub can go on from it, once that key is dropped.
func (s *Store) forgetScrub(ctx context.Context) error {
	rec, err := s.host.Get(ctx, recordScrub)
	if isNotFound(err) || err == nil && len(rec.Value) == 0 {
		return nil
	}
	ring := *s.ring.Load()
	newest := ring.Newest()
	if err == nil {
		if _, err := seal.OpenScrub(seal.Keyring{newest: ring[newest]}, s.volume, rec.Value); err == nil {
			return nil
		}
		_, err = s.host.Swap(ctx, recordScrub, rec.Version, nil)
	}
	if errors.Is(err, host.ErrConflict) {
		return nil // a scrub kept its position meanwhile, under the newest key
	}
	if err != nil {
		return fmt.Errorf("forget the position of the scrub: %w", err)
	}
	return nil
}

// keep stores the position. It is no failure of the scrub if it can't.
func (b *scrubber) keep(ctx context.Context) {
	if b.s.host == nil {
		return
	}
	ring := *b.s.ring.Load()
	sealed := seal.SealScrub(ring[ring.Newest()], b.s.volume, ring.Newest(), encodeScrub(b.report))
	rec, err := b.s.host.Get(ctx, recordScrub)
	if err == nil || isNotFound(err) {
		_, err = b.s.host.Swap(ctx, recordScrub, rec.Version, sealed)
	}
	b.report.Unkept = ""
	if err != nil {
		b.report.Unkept = err.Error()
		b.s.logger.Warn("keep the position of the scrub", "error", err)
	}
}
