package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
)

// Limits of what is copied by one update.
const (
	maxCopyBytes  = 1 << 20 // of frames
	maxCopyPieces = 1024
	// maxCopyTries bounds how often changed extents are looked up again.
	maxCopyTries = 8
)

// copier copies what lives in one log segment, which it keeps pinned, into the open
// log. It is used by the holder of cleanMu.
type copier struct {
	s       *Store
	seg     *segment
	copied  func()      // called after each copy
	between betweenFunc // called after each copy too; may be nil
}

// piece is an extent item that refers to the segment being emptied.
type piece struct {
	key    Key
	extent Extent
}

func (p piece) start() uint64 { return p.key.Sub - uint64(p.extent.Count) }

// object is the one whose bytes p has: items in the layers of snapshots are found
// by it too.
func (p piece) object() uint64 { return p.key.Object & MaxObject }

// follows reports whether p continues q in their object.
func (p piece) follows(q piece) bool { return p.object() == q.object() && p.start() == q.key.Sub }

func (p piece) compare(q piece) int {
	return cmp.Or(cmp.Compare(p.object(), q.object()), cmp.Compare(p.start(), q.start()), p.key.Compare(q.key))
}

// copyFrames copies what is alive of these frames. It reorders them.
func (c *copier) copyFrames(ctx context.Context, frames []frameRecord) error {
	slices.SortFunc(frames, func(a, b frameRecord) int {
		return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.at, b.at))
	})
	for range maxCopyTries {
		pieces, err := c.find(ctx, frames)
		if err != nil {
			return err
		}
		if again, err := c.copyAll(ctx, pieces); err != nil || !again {
			return err
		}
	}
	return nil // what goes on changing is dead soon
}

// find looks up the extents that refer to the frames, in order: those of the present
// state, and those that snapshots keep.
func (c *copier) find(ctx context.Context, frames []frameRecord) ([]piece, error) {
	var pieces []piece
	err := c.s.viewAll(ctx, func(tx *Tx, layers []layer) error {
		for _, l := range layers {
			for _, f := range frames {
				var err error
				if pieces, err = c.findFrame(tx, l, f, pieces); err != nil {
					return err
				}
			}
		}
		return nil
	})
	slices.SortFunc(pieces, piece.compare)
	return pieces, err
}

// findFrame appends the extents of a layer that refer to one frame.
func (c *copier) findFrame(tx *Tx, l layer, f frameRecord, pieces []piece) ([]piece, error) {
	from := l.key(Key{Object: f.object, Type: TypeExtent, Sub: f.at + 1})
	to := l.key(Key{Object: f.object, Type: TypeExtent, Sub: f.at + uint64(f.length) + 1})
	err := tx.Scan(from, to, func(k Key, v []byte) (bool, error) {
		e, err := ParseExtent(v)
		if err == nil && e.Segment == c.seg.id && e.Offset == f.offset {
			pieces = append(pieces, piece{k, e})
		}
		return true, err
	})
	return pieces, err
}

// copyScanned copies what a scan of all items finds.
func (c *copier) copyScanned(ctx context.Context) error {
	next, more := Key{}, true
	for more {
		var pieces []piece
		err := c.s.viewAll(ctx, func(tx *Tx, _ []layer) (err error) {
			pieces, next, more, err = c.scan(tx, next)
			return err
		})
		if err != nil {
			return err
		}
		slices.SortFunc(pieces, piece.compare)
		if _, err := c.copyAll(ctx, pieces); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// maxScanItems bounds how long a scan keeps its View.
const maxScanItems = 100_000

// scan finds pieces from key from on, and tells where to go on.
func (c *copier) scan(tx *Tx, from Key) (pieces []piece, next Key, more bool, err error) {
	last := Key{Object: math.MaxUint64, Type: math.MaxUint8, Sub: math.MaxUint64}
	items := 0
	err = tx.Scan(from, last, func(k Key, v []byte) (bool, error) {
		if items++; items > maxScanItems || len(pieces) == maxCopyPieces {
			next, more = k, true
			return false, nil
		}
		if k.Type != TypeExtent {
			return true, nil
		}
		e, err := ParseExtent(v)
		if err == nil && e.Segment == c.seg.id {
			pieces = append(pieces, piece{k, e})
		}
		return true, err
	})
	return pieces, next, more, err
}

// copyAll copies the pieces, which are in order. again tells that some changed
// meanwhile and may have to be copied under their new keys. While a chunk is written
// the next one is read.
func (c *copier) copyAll(ctx context.Context, pieces []piece) (again bool, err error) {
	next := c.readAhead(ctx, pieces)
	for len(pieces) > 0 {
		now := next
		pieces = pieces[len(now.pieces):]
		next = c.readAhead(ctx, pieces)
		changed, err := c.copyChunk(ctx, now)
		c.copied()
		if err == nil && c.between != nil {
			err = c.between(ctx, sizeOf(now.pieces))
		}
		if err != nil {
			next.wait()
			return false, err
		}
		again = again || changed
	}
	return again, nil
}

// chunk is some pieces that are copied by one update, and what was read of them.
type chunk struct {
	pieces []piece
	done   chan struct{} // closed when the next two are there; nil if they are
	data   []byte
	err    error
}

func (k *chunk) wait() {
	if k.done != nil {
		<-k.done
	}
}

// readAhead begins to read the first of the pieces.
func (c *copier) readAhead(ctx context.Context, pieces []piece) *chunk {
	k := &chunk{pieces: pieces[:c.chunk(pieces)]}
	if len(k.pieces) == 0 {
		return k
	}
	k.done = make(chan struct{})
	go func() {
		defer close(k.done)
		k.data, k.err = c.read(ctx, k.pieces)
	}()
	return k
}

// readNow is readAhead that waits.
func (c *copier) readNow(ctx context.Context, pieces []piece) *chunk {
	data, err := c.read(ctx, pieces)
	return &chunk{pieces: pieces, data: data, err: err}
}

func sizeOf(pieces []piece) (bytes int64) {
	for _, p := range pieces {
		bytes += int64(p.extent.Count)
	}
	return bytes
}

// chunk returns how many of the pieces are copied by one update.
func (c *copier) chunk(pieces []piece) int {
	size := 0
	for n, p := range pieces[:min(len(pieces), maxCopyPieces)] {
		if size += int(p.extent.Length); size > maxCopyBytes && n > 0 {
			return n
		}
	}
	return min(len(pieces), maxCopyPieces)
}

// copyChunk copies the pieces of a chunk by one update. Of damaged frames it finds the
// one and leaves it where it is: nothing that was wrong is ever sealed anew.
func (c *copier) copyChunk(ctx context.Context, k *chunk) (again bool, err error) {
	k.wait()
	pieces, err := k.pieces, k.err
	switch {
	case errors.Is(err, ErrDamaged) && len(pieces) == 1:
		c.s.setStuck(c.seg, err)
		return false, nil
	case errors.Is(err, ErrDamaged):
		half := len(pieces) / 2
		first, err := c.copyChunk(ctx, c.readNow(ctx, pieces[:half]))
		if err != nil {
			return false, err
		}
		second, err := c.copyChunk(ctx, c.readNow(ctx, pieces[half:]))
		return first || second, err
	case err != nil:
		return false, err
	}
	return c.write(ctx, pieces, k.data)
}

// read returns the bytes of the pieces, one behind the other. Each frame is read
// and opened once.
func (c *copier) read(ctx context.Context, pieces []piece) ([]byte, error) {
	size := 0
	for _, p := range pieces {
		size += int(p.extent.Count)
	}
	data := make([]byte, size)
	type part struct {
		Extent
		dst []byte
	}
	parts, at := make([]part, len(pieces)), data
	for i, p := range pieces {
		parts[i] = part{p.extent, at[:p.extent.Count]}
		at = at[p.extent.Count:]
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.Offset, b.Offset) })
	var reads []Read
	frame := make([]int, len(parts)) // index into reads
	for i, p := range parts {
		if i == 0 || !p.sameFrame(parts[i-1].Extent) {
			whole := p.Extent
			whole.Start, whole.Count = 0, whole.Length
			dst := p.dst
			if len(dst) != int(whole.Length) {
				dst = make([]byte, whole.Length)
			}
			reads = append(reads, Read{Extent: whole, Dst: dst})
		}
		frame[i] = len(reads) - 1
	}
	if err := c.s.Read(ctx, reads); err != nil {
		return nil, err
	}
	for i, p := range parts {
		if whole := reads[frame[i]].Dst; &whole[0] != &p.dst[0] {
			copy(p.dst, whole[p.Start:])
		}
	}
	return data, nil
}

// write seals the data of the pieces anew and lets their items refer to it.
func (c *copier) write(ctx context.Context, pieces []piece, data []byte) (again bool, err error) {
	f := &Flush{FrameBytes: MaxFrame, s: c.s, class: spaceCleaning}
	defer f.Close()
	var runs []run
	for len(pieces) > 0 {
		n := 1
		for n < len(pieces) && pieces[n].follows(pieces[n-1]) {
			n++
		}
		r := run{pieces: pieces[:n]}
		size := pieces[n-1].key.Sub - pieces[0].start()
		if r.extents, err = f.Seal(ctx, pieces[0].object(), pieces[0].start(), data[:size]); err != nil {
			return false, err
		}
		runs = append(runs, r)
		pieces, data = pieces[n:], data[size:]
	}
	err = c.s.updateOwn(ctx, func(tx *Tx) (err error) {
		again, err = replaceRuns(tx, runs)
		return err
	}, spaceCleaning)
	return again, err
}

// run is a part of an object without a gap: how it was stored, and how it is
// now.
type run struct {
	pieces  []piece
	extents []Extent
}

// replaceRuns lets items refer to the copies, but for those that changed, and
// reports whether there were any. It is no change of what a snapshot holds.
func replaceRuns(tx *Tx, runs []run) (changed bool, err error) {
	for _, r := range runs {
		same := 0 // index of the first piece of those in a row that are as they were
		for i, p := range r.pieces {
			v, ok, err := tx.Get(p.key)
			if err != nil {
				return false, err
			}
			is := ok && bytes.Equal(v, p.extent.Append(nil))
			if is && r.pieces[same].key.Object == p.key.Object {
				continue
			}
			if err := r.replace(tx, same, i); err != nil {
				return false, err
			}
			if same = i; !is {
				changed, same = true, i+1
			}
		}
		if err := r.replace(tx, same, len(r.pieces)); err != nil {
			return false, err
		}
	}
	return changed, nil
}

// replace replaces the pieces [i, j).
func (r run) replace(tx *Tx, i, j int) error {
	if i == j {
		return nil
	}
	for _, p := range r.pieces[i:j] {
		if err := tx.Delete(p.key); err != nil {
			return err
		}
	}
	k := r.pieces[i].key
	from, to := r.pieces[i].start(), r.pieces[j-1].key.Sub
	at := r.pieces[0].start()
	for _, e := range r.extents {
		start, end := max(at, from), min(at+uint64(e.Count), to)
		if start < end {
			k.Sub = end
			part := e.Slice(uint32(start-at), uint32(end-start))
			if err := tx.Put(k, part.Append(nil)); err != nil {
				return err
			}
		}
		at += uint64(e.Count)
	}
	return nil
}
