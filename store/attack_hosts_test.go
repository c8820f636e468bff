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
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// What an attack did to the host in memory is done to the files of a directory
// too, and the volume is opened from there, and from a host process that serves
// that directory, and to a volume in an object store: all must find the same.

// hostKinds are the other hosts that attacks are made on.
var hostKinds = []string{"local", "remote", "bucket"}

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
	if kind == "bucket" {
		return copyToBucket(t, h)
	}
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
	w, err := fillRecords(h, v)
	if err != nil {
		return err
	}
	for _, id := range h.SegmentIDs() {
		file := filepath.Join(dir, "segments", fmt.Sprintf("%d.seg", id))
		if err := os.WriteFile(file, h.Segment(id), 0o600); err != nil {
			return err
		}
	}
	return w.Release(bg)
}

// fillRecords gives a volume the records of h, and returns its writer.
func fillRecords(h *memhost.Host, v host.Volume) (host.Writer, error) {
	w, err := v.Acquire(bg, host.AcquireOptions{})
	if err != nil {
		return nil, err
	}
	for _, name := range h.RecordNames() {
		if _, err := w.Swap(bg, name, "", h.Record(name)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// copyToBucket makes a volume in an object store of what h holds, and opens it.
func copyToBucket(t *testing.T, h *memhost.Host) host.Volume {
	t.Helper()
	v := mustBucket(t, bucketURL, bucketOptions(s3test.Quiet(nil), ""))
	w, err := fillRecords(h, v)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range h.SegmentIDs() {
		if err := w.Create(bg, id, host.MaxSegmentSize); err != nil {
			t.Fatal(err)
		}
		if p := h.Segment(id); len(p) > 0 {
			if err := w.Append(bg, id, 0, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Sync(bg, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Release(bg); err != nil {
		t.Fatal(err)
	}
	return v
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
