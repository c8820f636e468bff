package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/coffer-fs/coffer/store/seal"
)

// Flush seals data into the log ahead of the Update that will refer to it.
// Until Close the frames it sealed are kept although nothing refers to them. It
// is used by one goroutine.
type Flush struct {
	// FrameBytes is the most that one frame holds, 1..MaxFrame. Default: MaxFrame.
	FrameBytes int

	s      *Store
	class  spaceClass
	pinned []*segment
}

// NewFlush begins a flush. The caller must Close it after its Update.
func (s *Store) NewFlush() *Flush { return &Flush{FrameBytes: MaxFrame, s: s, class: spaceFreeing} }

// placed is a frame that has its place in a batch and is yet to be sealed.
type placed struct {
	batch *batch
	at    uint32 // offset in the segment
	dst   []byte // its place in the batch, which may be closed meanwhile
	plain []byte
}

// Seal seals p, the bytes of object from offset off on, and returns
// the extents, in order, that hold it: one frame for each FrameBytes. p may
// be reused afterwards. It must not be called inside of Update.
// Object and offset must be those under which the extents will be put.
// ErrFull only if the room was not reserved.
func (f *Flush) Seal(ctx context.Context, object, off uint64, p []byte) ([]Extent, error) {
	f.s.pace(ctx, f.class)
	extents := make([]Extent, 0, (len(p)+f.FrameBytes-1)/f.FrameBytes)
	for len(p) > 0 {
		frames, es, err := f.place(object, off, p)
		sealAll(f.s, frames)
		var w errWait
		if errors.As(err, &w) {
			err = w.wait(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		for _, e := range es {
			p = p[e.Length:]
			off += uint64(e.Length)
		}
		extents = append(extents, es...)
	}
	return extents, nil
}

// place gives places to as many frames of p as the open batch holds, or to one
// of a new batch. It may return both frames and an errWait.
func (f *Flush) place(object, off uint64, p []byte) ([]placed, []Extent, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var frames []placed
	var extents []Extent
	for len(p) > 0 {
		n := min(len(p), f.FrameBytes)
		if f.class == spaceCleaning {
			n = s.fitting(n)
		}
		b, err := s.room(n+seal.TagSize, frameRecordSize, f.class)
		if err != nil {
			s.kickIfDue()
			return frames, extents, err
		}
		f.pin(b.seg)
		at := b.place(n)
		e := Extent{Segment: b.seg.id, Offset: b.start + uint32(at), Length: uint32(n), Count: uint32(n)}
		b.records = frameRecord{e.Offset, e.Length, object, off}.append(b.records)
		b.frames.Add(1)
		frames = append(frames, placed{b, e.Offset, b.buf[at : at : at+n+seal.TagSize], p[:n]})
		extents = append(extents, e)
		p, off = p[n:], off+uint64(n)
	}
	return frames, extents, nil
}

// splitUnit is what a frame is cut to a multiple of to fill a segment up.
const splitUnit = 4096

// fitting returns how much of n bytes makes a frame that fits into the rest of the
// open segment, or n if it is not worth it: copies are packed, so that cleaning
// comes to an end. Callers hold mu.
func (s *Store) fitting(n int) int {
	at, used := s.log.offset, batchHeaderSize
	if b := s.log.open; b != nil {
		used = b.used + len(b.records)
	}
	rest := int(s.segmentSize) - finalRoom - int(at) - used - batchSlack - seal.TagSize - frameRecordSize
	if rest < n && rest >= splitUnit {
		return rest / splitUnit * splitUnit
	}
	return n
}

// pin keeps g from being deleted until Close. Callers hold mu.
func (f *Flush) pin(g *segment) {
	for _, have := range f.pinned {
		if have == g {
			return
		}
	}
	f.pinned = append(f.pinned, g)
	g.pins++
}

// Close lets the frames go: those that no item refers to are dead.
func (f *Flush) Close() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	for _, g := range f.pinned {
		if g.pins--; g.pins == 0 && g != f.s.log.seg {
			f.s.release()
		}
	}
	f.pinned = nil
}

// parallelFrames is from how many frames on sealing and opening is shared
// among cores.
const parallelFrames = 4

// sealAll seals placed frames, on all cores if there are many.
func sealAll(s *Store, frames []placed) {
	each(len(frames), func(i int) {
		p := frames[i]
		defer p.batch.frames.Done()
		k, err := s.key(p.batch.seg)
		if err != nil {
			panic("store: open segment without a key: " + err.Error())
		}
		k.Seal(p.dst, seal.FrameData, p.at, p.plain)
	})
}

// each calls fn for 0..n-1, on all cores if there is enough to do.
func each(n int, fn func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), runtime.NumCPU(), n/(parallelFrames/2))
	if workers < 2 {
		for i := range n {
			fn(i)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				fn(i)
			}
		})
	}
	wg.Wait()
}
