package memhost

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/coffer-fs/coffer/store/host"
)

// Get implements host.Reader.
func (h *Host) Get(ctx context.Context, name string) (host.Record, error) {
	return h.get(ctx, nil, name)
}

// Read implements host.Reader.
func (h *Host) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	return h.read(ctx, nil, id, off, p)
}

// Segments implements host.Reader.
func (h *Host) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	return h.list(ctx, nil)
}

func (h *Host) get(ctx context.Context, w *writer, name string) (found host.Record, err error) {
	err = h.inspect(ctx, w, OpGet, func() error {
		if err := host.CheckRecord(name, nil); err != nil {
			return err
		}
		r, ok := h.records[name]
		if !ok {
			return host.ErrNotFound
		}
		found = host.Record{Value: bytes.Clone(r.value), Version: r.version}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("get record %q: %w", name, err)
	}
	return found, err
}

func (h *Host) read(ctx context.Context, w *writer, id host.SegmentID, off int64, p []byte) (n int, err error) {
	err = h.inspect(ctx, w, OpRead, func() error {
		if err := host.CheckSegment(id, off, len(p)); err != nil {
			return err
		}
		s := h.segments[id]
		if s == nil {
			return host.ErrNotFound
		}
		n = s.read(p, off)
		h.stats.read.Add(int64(n))
		if n < len(p) {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return n, err
}

func (h *Host) list(ctx context.Context, w *writer) (infos []host.SegmentInfo, err error) {
	err = h.inspect(ctx, w, OpSegments, func() error {
		for id, s := range h.segments {
			infos = append(infos, host.SegmentInfo{ID: id, Size: s.end})
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("list segments: %w", err)
	}
	return infos, err
}
