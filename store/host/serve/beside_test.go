package serve_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// gated is a directory of volumes that hold some calls up.
type gated struct {
	*serve.Dir
	begun, let chan struct{}
}

func newGated(t *testing.T) gated {
	return gated{newDir(t), make(chan struct{}, 100), make(chan struct{})}
}

func (g gated) Open(name string) (host.Volume, error) {
	v, err := g.Dir.Open(name)
	if err != nil {
		return nil, err
	}
	return gatedVolume{v.(*local.Volume), g}, nil
}

type gatedVolume struct {
	*local.Volume
	g gated
}

func (v gatedVolume) wait() {
	v.g.begun <- struct{}{}
	<-v.g.let
}

func (v gatedVolume) OpenPoint(ctx context.Context, name string) (host.Point, error) {
	v.wait()
	return v.Volume.OpenPoint(ctx, name)
}

func (v gatedVolume) HeldBytes(ctx context.Context) (int64, error) {
	v.wait()
	return v.Volume.HeldBytes(ctx)
}

// However many come at once, no more points are open than may be.
func TestPointsOpenedAtOnce(t *testing.T) {
	const most, busy = 32, 503
	g := newGated(t)
	socket := start(t, g, serve.Options{})
	must(t, remote.Create(ctx, "unix:"+socket+"#v", remote.Options{}))
	answers := make(chan int, most+1)
	ask := func(i int) {
		status, _ := raw(t, socket, fmt.Sprintf("GET /v1/volumes/v/points/none HTTP/1.1\r\nHost: x\r\nCoffer-Use: %032x\r\n\r\n", i))
		answers <- status
	}
	for i := range most {
		go ask(i)
	}
	for range most {
		<-g.begun
	}
	go ask(most)
	select {
	case status := <-answers:
		if status != busy {
			t.Errorf("one too many: %d", status)
		}
	case <-g.begun:
		t.Error("one too many is opened")
		defer func() { <-answers }()
	}
	close(g.let)
	for range most {
		if status := <-answers; status != 404 {
			t.Errorf("of a point that is not there: %d", status)
		}
	}
	go ask(most)
	if status := <-answers; status != 404 {
		t.Errorf("when the others are done: %d", status)
	}
}

// While the points of a volume are listed, to know what is left of its quota, other
// calls go on.
func TestAppendWhilePointsAreListed(t *testing.T) {
	g := newGated(t)
	url := "unix:" + start(t, g, serve.Options{Quota: 64 << 20}) + "#v"
	must(t, remote.Create(ctx, url, remote.Options{}))
	v, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer v.Close()
	w := acquire(t, v, host.AcquireOptions{})
	made := make(chan error, 1)
	create := func(id host.SegmentID) { made <- w.Create(ctx, id, 1<<20) }
	go create(1)
	<-g.begun
	g.let <- struct{}{}
	must(t, <-made)
	go create(2)
	<-g.begun
	appended := make(chan error, 1)
	go func() { appended <- w.Append(ctx, 1, 0, []byte("x")) }()
	select {
	case err := <-appended:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Error("an append waits for it")
	}
	close(g.let)
	must(t, <-made)
}
