package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// volumeRecords are those that a volume has (docs/format.md, "Records").
var volumeRecords = []string{"header", "root", "scrub"}

// still is a volume that nobody writes, as a point.
type still struct {
	host.Reader
	contents host.PointContents
}

// Still is a volume on a host that keeps no points, as one. The caller holds it, as
// its writer, for as long as the point is used: so nothing changes it. The reader must
// be that writer, or see what it sees.
func Still(ctx context.Context, r host.Reader) (host.Point, error) {
	c := host.PointContents{Info: host.PointInfo{Taken: time.Now()}, Records: make(map[string][]byte)}
	for _, name := range volumeRecords {
		rec, err := r.Get(ctx, name)
		if errors.Is(err, host.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the volume: %w", err)
		}
		c.Records[name] = rec.Value
	}
	infos, err := r.Segments(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the volume: %w", err)
	}
	if len(infos) > host.MaxPointSegments {
		return nil, fmt.Errorf("read the volume: %d segments: %w", len(infos), host.ErrInvalid)
	}
	for _, i := range infos {
		c.Segments = append(c.Segments, host.PointSegment{ID: i.ID, Size: i.Size})
	}
	slices.SortFunc(c.Segments, func(a, b host.PointSegment) int { return cmp.Compare(a.ID, b.ID) })
	return &still{r, c}, nil
}

// Contents implements host.Point.
func (s *still) Contents() host.PointContents { return s.contents }

// Close implements host.Point.
func (s *still) Close() error { return nil }
