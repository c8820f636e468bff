package remote

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

var _ host.PointKeeper = (*Volume)(nil)

// use names an opened point: the host process counts it as open until it is told
// otherwise, or nothing has been asked of it for a while.
func newUse() string {
	b := make([]byte, wire.UseSize)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func useHeader(use string) http.Header { return http.Header{wire.HeaderUse: {use}} }

// TakePoint implements host.PointKeeper.
func (v *Volume) TakePoint(ctx context.Context, o host.PointOptions) (host.Point, error) {
	if err := host.CheckPoint(o); err != nil {
		return nil, fmt.Errorf("take point: %w", err)
	}
	body, err := json.Marshal(wire.PointRequest{Name: o.Name, KeepNanos: int64(o.Keep)})
	if err != nil {
		return nil, err
	}
	use := newUse()
	p, err := v.point(ctx, use, request{method: http.MethodPost, path: "/points", body: body, header: useHeader(use)})
	if err != nil {
		return nil, fmt.Errorf("take point %q: %w", o.Name, err)
	}
	return p, nil
}

// OpenPoint implements host.PointKeeper.
func (v *Volume) OpenPoint(ctx context.Context, name string) (host.Point, error) {
	if !pointName(name) {
		return nil, fmt.Errorf("open point %q: %w", name, host.ErrNotFound)
	}
	use := newUse()
	p, err := v.point(ctx, use, request{method: http.MethodGet, path: "/points/" + name, header: useHeader(use)})
	if err != nil {
		return nil, fmt.Errorf("open point %q: %w", name, err)
	}
	return p, nil
}

// pointName reports whether a point can be called so, by its name or id.
func pointName(name string) bool { return host.CheckRecord(name, nil) == nil }

func (v *Volume) point(ctx context.Context, use string, r request) (*Point, error) {
	r.limit = wire.MaxContents
	a, err := v.retry(ctx, r)
	if err != nil {
		return nil, err
	}
	c, err := wire.ParseContents(a.body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	v.keep()
	return &Point{v: v, use: use, contents: c, closed: sync.OnceFunc(v.drop)}, nil
}

// Points implements host.PointKeeper.
func (v *Volume) Points(ctx context.Context) ([]host.PointInfo, error) {
	a, err := v.retry(ctx, request{method: http.MethodGet, path: "/points", limit: wire.MaxPointList})
	if err == nil {
		var infos []host.PointInfo
		if infos, err = wire.ParsePoints(a.body); err == nil {
			return infos, nil
		}
		err = fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil, fmt.Errorf("list points: %w", err)
}

// DropPoint implements host.PointKeeper.
func (v *Volume) DropPoint(ctx context.Context, name string) error {
	if !pointName(name) {
		return fmt.Errorf("drop point %q: %w", name, host.ErrNotFound)
	}
	r := request{method: http.MethodDelete, path: "/points/" + name}
	_, err := v.do(ctx, r)
	if isCut(err) || err == errBusy {
		if _, err = v.retry(ctx, r); errors.Is(err, host.ErrNotFound) {
			err = nil // it had its effect
		}
	}
	if err != nil {
		return fmt.Errorf("drop point %q: %w", name, err)
	}
	return nil
}

// Received implements host.PointKeeper.
func (v *Volume) Received(ctx context.Context) (r host.Received, ok bool, err error) {
	a, err := v.retry(ctx, request{method: http.MethodGet, path: "/received", limit: wire.MaxStatus})
	if errors.Is(err, host.ErrNotFound) {
		return r, false, nil
	}
	if err == nil {
		if r, err = wire.ParseReceived(a.body); err != nil {
			err = fmt.Errorf("%w: %w", ErrAnswer, err)
		}
	}
	if err != nil {
		return host.Received{}, false, fmt.Errorf("look whether the volume was received: %w", err)
	}
	return r, true, nil
}

// Point is a point of a volume of a host process. It implements host.Point. Its bytes
// are the host's word.
type Point struct {
	v        *Volume
	use      string
	contents host.PointContents
	closed   func()
}

// Contents implements host.Point.
func (p *Point) Contents() host.PointContents { return p.contents }

func (p *Point) path() string { return "/points/" + p.contents.Info.ID.String() }

// Read implements host.Point.
func (p *Point) Read(ctx context.Context, id host.SegmentID, off int64, b []byte) (n int, err error) {
	if err = host.CheckSegment(id, off, len(b)); err == nil {
		n, err = p.read(ctx, id, off, b)
	}
	if err != nil {
		return n, fmt.Errorf("read segment %d of a point, %d bytes at %d: %w", id, len(b), off, err)
	}
	return n, nil
}

func (p *Point) read(ctx context.Context, id host.SegmentID, off int64, b []byte) (int, error) {
	size, ok := p.contents.SegmentSize(id)
	if !ok {
		return 0, host.ErrNotFound
	}
	want := min(int64(len(b)), max(size-off, 0))
	if want > 0 {
		a, err := p.v.retry(ctx, request{
			method: http.MethodGet, path: p.path() + segmentPath(id), into: b[:want],
			header: http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+want-1)}, wire.HeaderUse: {p.use}},
		})
		if err != nil || int64(a.count) < want {
			return a.count, orShort(err)
		}
	}
	if want < int64(len(b)) {
		return int(want), io.ErrUnexpectedEOF
	}
	return len(b), nil
}

func orShort(err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// SegmentDigest is SHA-256 of a segment's bytes, by the word of the host process.
func (p *Point) SegmentDigest(ctx context.Context, id host.SegmentID) (sum [sha256.Size]byte, err error) {
	a, err := p.v.retry(ctx, request{
		method: http.MethodGet, path: p.path() + segmentPath(id) + "/digest", into: sum[:], header: useHeader(p.use),
	})
	if err == nil && a.count != len(sum) {
		err = fmt.Errorf("%w: a digest of %d bytes", ErrAnswer, a.count)
	}
	if err != nil {
		return sum, fmt.Errorf("digest of segment %d of a point: %w", id, err)
	}
	return sum, nil
}

// Close implements host.Point. A host process that is not told, because it can't be
// reached, finds out.
func (p *Point) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.v.options.Timeout)
	defer cancel()
	_, _ = p.v.once(ctx, request{method: http.MethodDelete, path: p.path() + "/use", header: useHeader(p.use)})
	p.closed()
	return nil
}
