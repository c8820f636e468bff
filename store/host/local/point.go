package local

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/coffer-fs/coffer/store/host"
)

// Point is an open point of a volume. It implements host.Point, and may be used
// after the Volume is closed.
type Point struct {
	dir, lock *os.File
	files     *files
	contents  host.PointContents
}

var _ host.Point = (*Point)(nil)

// Contents implements host.Point.
func (p *Point) Contents() host.PointContents { return p.contents }

// Read implements host.Point.
func (p *Point) Read(ctx context.Context, id host.SegmentID, off int64, b []byte) (n int, err error) {
	if err = ctx.Err(); err == nil {
		err = host.CheckSegment(id, off, len(b))
	}
	if err == nil {
		n, err = p.read(id, off, b)
	}
	if err != nil {
		return n, fmt.Errorf("read segment %d of a point, %d bytes at %d: %w", id, len(b), off, err)
	}
	return n, nil
}

func (p *Point) read(id host.SegmentID, off int64, b []byte) (int, error) {
	size, ok := p.contents.SegmentSize(id)
	if !ok {
		return 0, host.ErrNotFound
	}
	want := min(int64(len(b)), max(size-off, 0))
	n, err := readOpen(p.files, id, off, b[:want])
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// SegmentFile gives the file of a segment, to be read while the point is open, as
// far as Contents says: others may close it, and then it is to be asked for again.
func (p *Point) SegmentFile(ctx context.Context, id host.SegmentID) (*os.File, error) {
	if _, ok := p.contents.SegmentSize(id); !ok {
		return nil, host.ErrNotFound
	}
	return p.files.get(id)
}

// Close implements host.Point.
func (p *Point) Close() error {
	if p.files != nil {
		p.files.close()
	}
	if p.lock != nil {
		p.lock.Close()
	}
	if p.dir != nil {
		p.dir.Close()
	}
	return nil
}
