package host

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Limits of points.
const (
	// MaxPoints is how many points of a volume a host keeps at once.
	MaxPoints = 64
	// MaxPointRecords is how many records a volume of which a point is taken may
	// have.
	MaxPointRecords = 64
	// MaxPointSegments is how many segments it may have.
	MaxPointSegments = 1 << 18
)

// PointID names a point like no other one of any volume. It is random.
type PointID [16]byte

func (id PointID) String() string { return hex.EncodeToString(id[:]) }

// ParsePointID is the inverse of PointID.String.
func ParsePointID(s string) (id PointID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || s != hex.EncodeToString(b) {
		return id, fmt.Errorf("%.40q is not the id of a point: %w", s, ErrInvalid)
	}
	return PointID(b), nil
}

// PointInfo describes a point.
type PointInfo struct {
	ID   PointID
	Name string
	// Taken is when.
	Taken time.Time
	// Expires is when the host may drop it. Zero: never.
	Expires time.Time
	// HeldBytes is the room of segments that are no longer in the volume, and
	// that this point, perhaps with others, keeps.
	HeldBytes int64
}

// PointOptions say which point to take.
type PointOptions struct {
	// Name by which it is found; the rules are those of the names of records.
	// Empty: the host takes one that begins with "transfer-", for a point that
	// whoever takes it drops when it has served its purpose.
	Name string
	// Keep is after how long the host may drop it. 0: never.
	Keep time.Duration
}

// PointSegment is a segment as it was at a point.
type PointSegment struct {
	ID SegmentID
	// Size is how many bytes there are in it. It is exact if the writer that
	// appended is known to have noted it, else an upper bound.
	Size int64
	// Mark tells segments of one number apart: if two points of a volume have a
	// segment of the same number and mark, the longer one begins with the bytes of
	// the shorter one.
	Mark uint64
}

// PointContents is what a volume was at a point.
type PointContents struct {
	Info PointInfo
	// Records has the value of each record.
	Records map[string][]byte
	// Segments are in the order of their numbers.
	Segments []PointSegment
}

// SegmentSize finds a segment.
func (c PointContents) SegmentSize(id SegmentID) (size int64, ok bool) {
	i, ok := slices.BinarySearchFunc(c.Segments, id, func(s PointSegment, id SegmentID) int { return cmp.Compare(s.ID, id) })
	if !ok {
		return 0, false
	}
	return c.Segments[i].Size, true
}

// Point is a volume as it was at one instant: as if its writer had been killed
// between two calls, and not the machine. So whatever a Sync acknowledged before
// is in it; and what the volume recovers to is a state that it had. It lasts until
// it is dropped or expires, over restarts too, whatever the volume's writers do
// meanwhile; and while a Point is open it can't be dropped.
//
// Its bytes are durable, and do not change.
type Point interface {
	// Contents is what the volume was. It must not be changed.
	Contents() PointContents
	// Read is that of Reader. Of a segment there is what Contents says.
	Read(ctx context.Context, id SegmentID, off int64, p []byte) (int, error)
	// Close lets go of the point, and does not drop it.
	Close() error
}

// PointKeeper is what a Volume has that can keep points of itself. Taking one
// needs no lease: the volume goes on being written.
//
// What a point keeps counts as the volume's: against its quota, and in what is
// said of its size. A volume that finds out only when it is asked that it keeps none
// says ErrInvalid.
type PointKeeper interface {
	// TakePoint takes a point and opens it. ErrExists if there is one of that
	// name, ErrNoSpace if the host keeps as many as it will.
	TakePoint(ctx context.Context, o PointOptions) (Point, error)
	// OpenPoint opens the point of that name or id. ErrNotFound if there is none.
	OpenPoint(ctx context.Context, name string) (Point, error)
	// Points lists them, the oldest first.
	Points(ctx context.Context) ([]PointInfo, error)
	// DropPoint drops the point of that name or id. ErrInUse while somebody has it
	// open, ErrNotFound if there is none.
	DropPoint(ctx context.Context, name string) error
	// Received says whether the volume came by a transfer, and of which point.
	Received(ctx context.Context) (r Received, ok bool, err error)
}

// Received is what is noted of a volume that came by a transfer.
type Received struct {
	// Point and Name are those of the point that it is.
	Point PointID
	Name  string
	// Taken is when the point was, and At when it came here.
	Taken, At time.Time
	// Changed: the volume was opened for writing since, so that it is not that
	// point any more.
	Changed bool
}

// CheckPoint refuses options outside the limits, for implementations to call
// before they act.
func CheckPoint(o PointOptions) error {
	if o.Keep < 0 {
		return fmt.Errorf("point to be kept for %v: %w", o.Keep, ErrInvalid)
	}
	if o.Name == "" {
		return nil
	}
	if err := CheckRecord(o.Name, nil); err != nil {
		return fmt.Errorf("point name %.80q: %w", o.Name, ErrInvalid)
	}
	if _, err := ParsePointID(o.Name); err == nil {
		return fmt.Errorf("point name %q has the form of an id: %w", o.Name, ErrInvalid)
	}
	return nil
}
