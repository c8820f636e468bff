package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// Limits of what is said of points.
const (
	// UseSize is the size of the name of an opened point, in bytes; it is sent in hex.
	UseSize = 16
	// MaxPointRequest is the largest body of a request for a point.
	MaxPointRequest = 4 << 10
	// MaxPointList is the largest list of points.
	MaxPointList = 64 << 10
	// MaxContents is the largest description of a point.
	MaxContents = point.MaxSize + 8*host.MaxPointSegments
)

// PointRequest is the body of a request for a point.
type PointRequest struct {
	Name      string `json:"name"`
	KeepNanos int64  `json:"keepNanos"`
}

// Point is a point in a list.
type Point struct {
	ID        string `json:"id"` // of zeros: it is damaged
	Name      string `json:"name"`
	Taken     int64  `json:"takenNanos"`
	Expires   int64  `json:"expiresNanos"` // 0: never
	HeldBytes int64  `json:"heldBytes"`
}

// AppendPoints encodes a list of points.
func AppendPoints(infos []host.PointInfo) ([]byte, error) {
	list := make([]Point, len(infos))
	for i, p := range infos {
		list[i] = Point{p.ID.String(), p.Name, nanos(p.Taken), nanos(p.Expires), p.HeldBytes}
	}
	return json.Marshal(list)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// ParsePoints decodes a list of points, and takes only what can be one.
func ParsePoints(b []byte) ([]host.PointInfo, error) {
	var list []Point
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	if len(list) > host.MaxPoints {
		return nil, fmt.Errorf("a list of %d points", len(list))
	}
	infos := make([]host.PointInfo, len(list))
	for i, p := range list {
		id, err := host.ParsePointID(p.ID)
		if err == nil {
			err = host.CheckRecord(p.Name, nil)
		}
		if err == nil && p.HeldBytes < 0 {
			err = errors.New("a point keeps less than nothing")
		}
		if err != nil {
			return nil, err
		}
		infos[i] = host.PointInfo{ID: id, Name: p.Name, Taken: timeOf(p.Taken), Expires: timeOf(p.Expires), HeldBytes: p.HeldBytes}
	}
	return infos, nil
}

// AppendContents encodes a point: its manifest, and behind that the mark of each
// segment.
func AppendContents(c host.PointContents) []byte {
	m := point.Of(c, nil)
	m.Expires = c.Info.Expires
	b := m.Append(nil)
	for _, s := range c.Segments {
		b = binary.BigEndian.AppendUint64(b, s.Mark)
	}
	return b
}

// ParseContents is the inverse of AppendContents.
func ParseContents(b []byte) (c host.PointContents, err error) {
	const countAt = 64
	if len(b) < countAt+4 {
		return c, point.ErrManifest
	}
	marks := 8 * int64(binary.BigEndian.Uint32(b[countAt:]))
	if marks > int64(len(b)) {
		return c, point.ErrManifest
	}
	m, err := point.Parse(b[:int64(len(b))-marks])
	if err != nil {
		return c, err
	}
	if !m.Whole() {
		return c, fmt.Errorf("it is since another point: %w", point.ErrManifest)
	}
	c.Info = host.PointInfo{ID: m.ID, Name: m.Name, Taken: m.Taken, Expires: m.Expires}
	c.Records = m.Records
	b = b[int64(len(b))-marks:]
	c.Segments = make([]host.PointSegment, len(m.Segments))
	for i, s := range m.Segments {
		c.Segments[i] = host.PointSegment{ID: s.ID, Size: s.Size, Mark: binary.BigEndian.Uint64(b[8*i:])}
	}
	return c, nil
}

// Received is what is said of a volume that came by a transfer.
type Received struct {
	Point   string `json:"point"`
	Name    string `json:"name"`
	Taken   int64  `json:"takenNanos"`
	At      int64  `json:"atNanos"`
	Changed bool   `json:"changed"`
}

// AppendReceived encodes it.
func AppendReceived(r host.Received) ([]byte, error) {
	return json.Marshal(Received{r.Point.String(), r.Name, nanos(r.Taken), nanos(r.At), r.Changed})
}

// ParseReceived is the inverse of AppendReceived.
func ParseReceived(b []byte) (r host.Received, err error) {
	var in Received
	if err := json.Unmarshal(b, &in); err != nil {
		return r, err
	}
	id, err := host.ParsePointID(in.Point)
	if err == nil {
		err = host.CheckRecord(in.Name, nil)
	}
	return host.Received{Point: id, Name: in.Name, Taken: timeOf(in.Taken), At: timeOf(in.At), Changed: in.Changed}, err
}
