package s3

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
)

// piece is what must be fetched of one object.
type piece struct {
	at  place
	end uint32 // of the extent in the object: more is not read
	p   []byte
}

// plan says where the bytes of a segment are: those of recent entries are copied
// at once. n is how many there will be; io.ErrUnexpectedEOF if that is less than
// was asked for.
func (s *state) plan(g *segment, off int64, p []byte) (n int, pieces []piece, err error) {
	if g == nil {
		return 0, nil, host.ErrNotFound
	}
	if len(p) == 0 {
		return 0, nil, nil
	}
	if left := max(int64(g.tail)-off, 0); int64(len(p)) > left {
		p, err = p[:left], io.ErrUnexpectedEOF
	}
	if len(p) == 0 {
		return 0, nil, err
	}
	at := int64(0)
	for _, e := range g.extents {
		from, to := at, at+int64(e.size)
		at = to
		if to <= off {
			continue
		}
		if from >= off+int64(len(p)) {
			break
		}
		skip := max(off-from, 0)
		dst := p[from+skip-off : min(to-off, int64(len(p)))]
		start := e.at.plus(uint32(skip))
		if !s.recall(start, 0, dst) {
			pieces = append(pieces, piece{start, e.at.offset + e.size, dst})
		}
	}
	return len(p), pieces, err
}

// maxPieces is how many pieces of one read are fetched at once.
const maxPieces = 8

// fetch fills pieces, from the cache or with one request each.
func (v *Volume) fetch(ctx context.Context, pieces []piece) error {
	if len(pieces) == 1 {
		return v.fetchPiece(ctx, pieces[0])
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, maxPieces)
	errs := make([]error, len(pieces))
	for i, p := range pieces {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = v.fetchPiece(ctx, p)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// fetchPiece reads whole blocks where the cache has none, with one request from
// the first that is missing to the last.
func (v *Volume) fetchPiece(ctx context.Context, p piece) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	first, last := p.at.offset/cacheBlock, (p.at.offset+uint32(len(p.p))-1)/cacheBlock
	for first <= last && v.fromCache(p, first) {
		first++
	}
	for last > first && v.fromCache(p, last) {
		last--
	}
	if first > last {
		return nil
	}
	from, to := first*cacheBlock, min((last+1)*cacheBlock, p.end)
	b := make([]byte, to-from)
	if err := v.objects.read(ctx, p.at.object(), int64(from), b); err != nil {
		return err
	}
	v.keepBlocks(p.at, from, b)
	begin := max(p.at.offset, from)
	copy(p.p[begin-p.at.offset:], b[begin-from:])
	return nil
}

// fromCache copies what a piece has of a block.
func (v *Volume) fromCache(p piece, block uint32) bool {
	from := max(p.at.offset, block*cacheBlock)
	to := min(p.at.offset+uint32(len(p.p)), (block+1)*cacheBlock)
	return v.cache.get(p.at.block(block), int(from-block*cacheBlock), p.p[from-p.at.offset:to-p.at.offset])
}

// keepBlocks puts bytes of an object, from a block's begin on, into the cache.
func (v *Volume) keepBlocks(at place, from uint32, b []byte) {
	for block := from / cacheBlock; len(b) > 0; block++ {
		n := min(len(b), cacheBlock)
		v.cache.put(at.block(block), b[:n])
		b = b[n:]
	}
}

func (p place) block(i uint32) blockKey { return blockKey{p.kind, p.epoch, p.number, i} }
