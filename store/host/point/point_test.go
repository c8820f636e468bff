package point_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

func sample() point.Manifest {
	return point.Manifest{
		ID: host.PointID{1}, Since: host.PointID{2}, Name: "monday", Taken: time.Unix(1, 2),
		Records:  map[string][]byte{"header": []byte("h"), "root": []byte("r")},
		Segments: []point.Segment{{ID: 3, Size: 10}, {ID: 7, From: 10, Size: 10}, {ID: 9, From: 4096, Size: 8192}},
	}
}

func TestParse(t *testing.T) {
	for name, change := range map[string]func(*point.Manifest){
		"relative": func(*point.Manifest) {},
		"whole":    func(m *point.Manifest) { m.Since, m.Segments = host.PointID{}, []point.Segment{{ID: 1, Size: 5}} },
		"empty":    func(m *point.Manifest) { m.Since, m.Segments, m.Records = host.PointID{}, nil, nil },
		"expires":  func(m *point.Manifest) { m.Expires = time.Unix(5, 0) },
	} {
		m := sample()
		change(&m)
		got, err := point.Parse(m.Append(nil))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(got.Append(nil), m.Append(nil)) || got.Name != m.Name || !got.Taken.Equal(m.Taken) {
			t.Errorf("%s: %+v became %+v", name, m, got)
		}
	}
}

// Each case is a manifest with one defect.
func TestParseRefuses(t *testing.T) {
	for name, change := range map[string]func(*point.Manifest){
		"no id":                  func(m *point.Manifest) { m.ID = host.PointID{} },
		"since itself":           func(m *point.Manifest) { m.Since = m.ID },
		"no name":                func(m *point.Manifest) { m.Name = "" },
		"a name with a slash":    func(m *point.Manifest) { m.Name = "a/b" },
		"a name with dots":       func(m *point.Manifest) { m.Name = ".." },
		"a name that is an id":   func(m *point.Manifest) { m.Name = m.ID.String() },
		"a long name":            func(m *point.Manifest) { m.Name = strings.Repeat("a", 65) },
		"a record's name":        func(m *point.Manifest) { m.Records["../root"] = nil },
		"a large record":         func(m *point.Manifest) { m.Records["root"] = make([]byte, host.MaxRecordSize+1) },
		"segments out of order":  func(m *point.Manifest) { m.Segments[1].ID = 2 },
		"a segment twice":        func(m *point.Manifest) { m.Segments[1].ID = 3 },
		"segment 0":              func(m *point.Manifest) { m.Segments[0].ID = 0 },
		"a segment beyond all":   func(m *point.Manifest) { m.Segments[2].ID = host.MaxSegmentID + 1 },
		"a large segment":        func(m *point.Manifest) { m.Segments[2].Size = host.MaxSegmentSize + 1 },
		"begins behind its end":  func(m *point.Manifest) { m.Segments[1].From = 11 },
		"a part, in a whole one": func(m *point.Manifest) { m.Since = host.PointID{} },
		"too many segments":      func(m *point.Manifest) { m.Segments = make([]point.Segment, host.MaxPointSegments+1) },
	} {
		m := sample()
		change(&m)
		if _, err := point.Parse(m.Append(nil)); !errors.Is(err, point.ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := sample().Append(nil)
	for n := range whole {
		if _, err := point.Parse(whole[:n]); !errors.Is(err, point.ErrManifest) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := point.Parse(append(whole, 0)); !errors.Is(err, point.ErrManifest) {
		t.Errorf("one byte more: %v", err)
	}
	binary.BigEndian.PutUint16(whole[8:], 2)
	if _, err := point.Parse(whole); !errors.Is(err, point.ErrManifest) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
}

// What is new since a point is what it lacks of the same segments, and all of others.
func TestOf(t *testing.T) {
	before := host.PointContents{Info: host.PointInfo{ID: host.PointID{1}}, Segments: []host.PointSegment{
		{ID: 1, Size: 100, Mark: 11}, {ID: 2, Size: 100, Mark: 12}, {ID: 3, Size: 100, Mark: 13}, {ID: 4, Size: 100, Mark: 14},
	}}
	now := host.PointContents{Info: host.PointInfo{ID: host.PointID{2}, Name: "now"}, Segments: []host.PointSegment{
		{ID: 2, Size: 100, Mark: 12}, {ID: 3, Size: 150, Mark: 13}, {ID: 4, Size: 150, Mark: 99}, {ID: 5, Size: 10, Mark: 15},
	}}
	m := point.Of(now, &before)
	want := []point.Segment{{2, 100, 100}, {3, 100, 150}, {4, 0, 150}, {5, 0, 10}}
	if !reflect.DeepEqual(m.Segments, want) || m.Since != before.Info.ID || m.Bytes() != 210 || m.VolumeBytes() != 410 {
		t.Errorf("%+v, want %v", m, want)
	}
	if whole := point.Of(now, nil); !whole.Whole() || whole.Bytes() != 410 {
		t.Errorf("%+v", whole)
	}
}

// FuzzManifest: what is taken is within its limits, and encodes to the same bytes.
func FuzzManifest(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add([]byte("coffpoin"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := point.Parse(b)
		if err == nil && !bytes.Equal(m.Append(nil), b) {
			t.Errorf("%x decodes, and encodes to %x", b, m.Append(nil))
		}
	})
}
