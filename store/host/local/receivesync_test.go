package local_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
)

// A disk tells of a lost write once: what a later sync says of it is worth nothing, and a
// transfer that goes on does so from before.
func TestReceiveFailedSync(t *testing.T) {
	m := point.Manifest{ID: host.PointID{1}, Name: "p", Taken: time.Unix(1, 0), Segments: []point.Segment{{ID: 1, Size: 64}}}
	dir := filepath.Join(t.TempDir(), "copy")
	in, err := local.Receive(ctx, dir, m, local.ReceiveOptions{})
	must(t, err)
	must(t, in.Write(ctx, make([]byte, 16)))
	must(t, in.Flush())
	must(t, in.Write(ctx, make([]byte, 16)))
	mend := local.BreakStage(t, in)
	if err := in.Flush(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a sync that fails: %v", err)
	}
	mend()
	for what, err := range map[string]error{"flush": in.Flush(), "rewind": in.Rewind(m.Start()), "close": in.Close()} {
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s after it: %v", what, err)
		}
	}
	in, err = local.Receive(ctx, dir, m, local.ReceiveOptions{})
	must(t, err)
	if in.At() != (point.Position{Offset: 16}) {
		t.Errorf("it goes on at %+v", in.At())
	}
	must(t, in.Close())
}

// What is before the place that a transfer goes back to is said to be there, so it must
// be durable; and so must the note, before anything behind it is written anew.
func TestRewindIsDurable(t *testing.T) {
	m := point.Manifest{ID: host.PointID{1}, Name: "p", Taken: time.Unix(1, 0), Segments: []point.Segment{{ID: 1, Size: 64}}}
	begin := func() *local.Incoming {
		in, err := local.Receive(ctx, filepath.Join(t.TempDir(), "copy"), m, local.ReceiveOptions{})
		must(t, err)
		must(t, in.Write(ctx, make([]byte, 32)))
		return in
	}
	in := begin()
	mend := local.BreakStage(t, in)
	if err := in.Rewind(point.Position{Offset: 16}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("what is before it can't be made durable: %v", err)
	}
	mend()
	_ = in.Close()
	in = begin()
	local.FailNoteSync(in, syscall.EIO)
	if err := in.Rewind(point.Position{Offset: 16}); !errors.Is(err, syscall.EIO) {
		t.Errorf("the note can't be made durable: %v", err)
	}
	if err := in.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("flush after it: %v", err)
	}
	_ = in.Close()
}
