// Package hosttest is the one suite that every host.Volume passes. Each sentence
// of the interface's comments is a test here.
//
// An implementation's own test says how to make a volume and how to open it:
//
//	func TestHost(t *testing.T) {
//		hosttest.Run(t, func(t *testing.T) hosttest.Opener {
//			dir := ... // a new, empty volume
//			return func() (host.Volume, error) { return local.Open(dir) }
//		})
//	}
//
// What a crash leaves is not tested here, nor what a dishonest host does.
package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
)

// Opener opens the volume of one test. It is called again to see what lasted,
// and to stand for another process while earlier ones are open.
type Opener func() (host.Volume, error)

// Capacity is that of the suite's segments, in bytes.
const Capacity = 1 << 20

// Run runs the suite. newVolume makes a new, empty volume for each test, and
// cleans up with t.Cleanup.
func Run(t *testing.T, newVolume func(t *testing.T) Opener) {
	groups := []group{
		{"Records", recordTests},
		{"Segments", segmentTests},
		{"Lease", leaseTests},
		{"Calls", callTests},
	}
	if keepsPoints(t, newVolume(t)) {
		groups = append(groups, group{"Points", pointTests})
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					test.run(&volume{T: t, open: newVolume(t)})
				})
			}
		})
	}
}

type group struct {
	name  string
	tests []test
}

type test struct {
	name string
	run  func(v *volume)
}

var ctx = context.Background()

// volume is the volume of one test, with the checks that tests share.
type volume struct {
	*testing.T
	open Opener
}

// handle opens the volume until the end of the test.
func (v *volume) handle() host.Volume {
	v.Helper()
	h, err := v.open()
	v.ok("open", err)
	v.Cleanup(func() { v.ok("close", h.Close()) })
	return h
}

// acquire opens the volume and acquires it until the end of the test.
func (v *volume) acquire() host.Writer {
	v.Helper()
	w, err := v.handle().Acquire(ctx, host.AcquireOptions{Owner: v.Name()})
	v.ok("acquire", err)
	v.Cleanup(func() { _ = w.Release(ctx) })
	return w
}

func (v *volume) ok(what string, err error) {
	v.Helper()
	if err != nil {
		v.Fatalf("%s: %v", what, err)
	}
}

// refused expects that kind of error.
func (v *volume) refused(what string, err, want error) {
	v.Helper()
	if !errors.Is(err, want) {
		v.Errorf("%s: error %v, want %q", what, err, want)
	}
}

func (v *volume) swap(w host.Writer, name string, old host.Version, value string) host.Version {
	v.Helper()
	version, err := w.Swap(ctx, name, old, []byte(value))
	v.ok("swap "+name, err)
	return version
}

// record expects the named record to be that.
func (v *volume) record(r host.Reader, name string, version host.Version, value string) {
	v.Helper()
	got, err := r.Get(ctx, name)
	v.ok("get "+name, err)
	if string(got.Value) != value || got.Version != version {
		v.Errorf("record %q is %.40q in version %q, want %.40q in %q", name, got.Value, got.Version, value, version)
	}
}

func (v *volume) create(w host.Writer, ids ...host.SegmentID) {
	v.Helper()
	for _, id := range ids {
		v.ok(fmt.Sprint("create ", id), w.Create(ctx, id, Capacity))
	}
}

func (v *volume) append(w host.Writer, id host.SegmentID, off int64, p []byte) {
	v.Helper()
	v.ok(fmt.Sprint("append to ", id), w.Append(ctx, id, off, p))
}

// bytes expects a segment to hold p at off.
func (v *volume) bytes(r host.Reader, id host.SegmentID, off int64, p []byte) {
	v.Helper()
	got := make([]byte, len(p))
	n, err := r.Read(ctx, id, off, got)
	v.ok(fmt.Sprint("read ", id), err)
	if n != len(p) || !bytes.Equal(got, p) {
		v.Errorf("segment %d: the %d bytes at %d are not what was appended", id, len(p), off)
	}
}

// sizes lists the segments.
func (v *volume) sizes(r host.Reader) map[host.SegmentID]int64 {
	v.Helper()
	infos, err := r.Segments(ctx)
	v.ok("list", err)
	sizes := make(map[host.SegmentID]int64)
	for _, info := range infos {
		if _, twice := sizes[info.ID]; twice {
			v.Errorf("segment %d is listed twice", info.ID)
		}
		sizes[info.ID] = info.Size
	}
	return sizes
}

// pattern returns bytes that differ from place to place and from seed to seed.
func pattern(size int, seed byte) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8)*31 ^ seed*101
	}
	return p
}
