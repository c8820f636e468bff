package memhost

import (
	"slices"
	"sort"
)

// segment is a run of bytes: chunks where something was written, ground where
// nothing was. Chunks are sorted, do not overlap, and their bytes never change,
// so that copies of a segment share them.
type segment struct {
	capacity int64
	end      int64 // reads end here
	tail     int64 // the next append goes here
	chunks   []chunk
	ground   ground
	creator  *writer // the one who may append
}

type chunk struct {
	off  int64
	data []byte
}

func (c chunk) end() int64 { return c.off + int64(len(c.data)) }

// copy returns a segment that shares the chunks and belongs to no writer.
func (s *segment) copy() *segment {
	c := *s
	c.chunks = slices.Clip(c.chunks)
	c.creator = nil
	return &c
}

// written is the end of the last chunk.
func (s *segment) written() int64 {
	if len(s.chunks) == 0 {
		return 0
	}
	return s.chunks[len(s.chunks)-1].end()
}

// from returns the index of the first chunk that ends after off.
func (s *segment) from(off int64) int {
	return sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].end() > off })
}

// read fills p from off, as far as the segment goes.
func (s *segment) read(p []byte, off int64) int {
	if off >= s.end {
		return 0
	}
	p = p[:min(int64(len(p)), s.end-off)]
	end, at := off+int64(len(p)), off
	for _, c := range s.chunks[s.from(off):] {
		if c.off >= end {
			break
		}
		if c.off > at {
			s.ground.fill(p[at-off:c.off-off], at)
			at = c.off
		}
		at += int64(copy(p[at-off:], c.data[at-c.off:]))
	}
	s.ground.fill(p[at-off:], at)
	return len(p)
}

// append adds data, which it keeps, at the tail.
func (s *segment) append(data []byte) {
	s.chunks = append(s.chunks, chunk{s.tail, data})
	s.tail += int64(len(data))
}

// erase makes the n bytes at off unwritten.
func (s *segment) erase(off, n int64) {
	end := off + n
	kept := make([]chunk, 0, len(s.chunks)+1)
	for _, c := range s.chunks {
		if c.end() <= off || c.off >= end {
			kept = append(kept, c)
			continue
		}
		if c.off < off {
			kept = append(kept, chunk{c.off, c.data[:off-c.off]})
		}
		if c.end() > end {
			kept = append(kept, chunk{end, c.data[end-c.off:]})
		}
	}
	s.chunks = kept
}

// overwrite puts data, which it keeps, at off, whatever was there.
func (s *segment) overwrite(off int64, data []byte) {
	if len(data) == 0 {
		return
	}
	s.erase(off, int64(len(data)))
	s.chunks = slices.Insert(s.chunks, s.from(off), chunk{off, data})
}
