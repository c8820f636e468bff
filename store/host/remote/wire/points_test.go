package wire_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

func contents() host.PointContents {
	return host.PointContents{
		Info:     host.PointInfo{ID: host.PointID{1}, Name: "p", Taken: time.Unix(0, 5), Expires: time.Unix(9, 0)},
		Records:  map[string][]byte{"root": []byte("r")},
		Segments: []host.PointSegment{{ID: 1, Size: 100, Mark: 7}, {ID: 5, Size: 0, Mark: 8}},
	}
}

func TestContents(t *testing.T) {
	c := contents()
	got, err := wire.ParseContents(wire.AppendContents(c))
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v became %+v, %v", c, got, err)
	}
}

// FuzzContents decodes what a host says of a point: what is taken is within its limits,
// and encodes to the same bytes.
func FuzzContents(f *testing.F) {
	f.Add(wire.AppendContents(contents()))
	f.Add([]byte("coffpoin"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := wire.ParseContents(b); err == nil && !bytes.Equal(wire.AppendContents(c), b) {
			t.Errorf("%x decodes, and encodes to other bytes", b)
		}
	})
}

// FuzzPoints decodes lists of points, and what is said of where a volume came from: what
// is taken can be shown, and can be said again.
func FuzzPoints(f *testing.F) {
	list, err := wire.AppendPoints([]host.PointInfo{contents().Info})
	if err != nil {
		f.Fatal(err)
	}
	received, err := wire.AppendReceived(host.Received{Point: host.PointID{2}, Name: "p", At: time.Unix(1, 0)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(list)
	f.Add(received)
	f.Fuzz(func(t *testing.T, b []byte) {
		if infos, err := wire.ParsePoints(b); err == nil {
			again, err := wire.AppendPoints(infos)
			if err != nil || len(infos) > host.MaxPoints {
				t.Errorf("%q: %v, %d points", b, err, len(infos))
			}
			if twice, err := wire.ParsePoints(again); err != nil || !reflect.DeepEqual(twice, infos) {
				t.Errorf("%q became %q: %v", b, again, err)
			}
		}
		if r, err := wire.ParseReceived(b); err == nil {
			if err := host.CheckRecord(r.Name, nil); err != nil {
				t.Errorf("%q: %v", b, err)
			}
		}
	})
}
