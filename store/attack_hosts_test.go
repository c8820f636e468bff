package store_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// What an attack did to the host in memory is done to the files of a directory
// too, and the volume is opened from there, and from a host process that serves
// that directory: all must find the same.

// hostKinds are the other hosts that attacks are made on.
var hostKinds = []string{"local", "remote"}

// served is a directory of volumes, and the socket of the process that serves it.
type served struct {
	root, socket string
	count        atomic.Int64
}

func newServed(t *testing.T) *served {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	d := &served{root: dir, socket: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	s, ended := serve.New(&serve.Dir{Root: dir}, serve.Options{}), make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(bg); err != nil {
			t.Error(err)
		}
		<-ended
		os.RemoveAll(dir)
	})
	return d
}

// copyTo makes a directory of what h holds, past every rule, and opens it.
func (d *served) copyTo(t *testing.T, h *memhost.Host, kind string) host.Volume {
	t.Helper()
	name := fmt.Sprintf("v%d", d.count.Add(1))
	dir := filepath.Join(d.root, name)
	if err := fillDirectory(h, dir); err != nil {
		t.Fatal(err)
	}
	var v host.Volume
	var err error
	if kind == "local" {
		v, err = local.Open(dir)
	} else {
		v, err = remote.Open(bg, "unix:"+d.socket+"#"+name, remote.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func fillDirectory(h *memhost.Host, dir string) error {
	if err := local.Create(dir); err != nil {
		return err
	}
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	defer v.Close()
	w, err := v.Acquire(bg, host.AcquireOptions{})
	if err != nil {
		return err
	}
	for _, name := range h.RecordNames() {
		if _, err := w.Swap(bg, name, "", h.Record(name)); err != nil {
			return err
		}
	}
	for _, id := range h.SegmentIDs() {
		file := filepath.Join(dir, "segments", fmt.Sprintf("%d.seg", id))
		if err := os.WriteFile(file, h.Segment(id), 0o600); err != nil {
			return err
		}
	}
	return w.Release(bg)
}

// elsewhere makes the same attack on the other hosts.
func (v *vault) elsewhere(t *testing.T, h *memhost.Host, readOnly bool, want survey) {
	t.Helper()
	if v.served == nil {
		v.served = newServed(t)
	}
	for _, kind := range hostKinds {
		f := v.surveyOn(t, v.served.copyTo(t, h, kind), readOnly)
		if (f.opened == nil) != (want.opened == nil) || f.state != want.state || !maps.Equal(f.damaged, want.damaged) {
			t.Errorf("%s: %+v; in memory: %+v", kind, f, want)
		}
	}
}
