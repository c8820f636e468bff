package serve_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// fill appends so many segments of a MiB.
func fill(t *testing.T, w host.Writer, from host.SegmentID, count int) {
	t.Helper()
	for i := range count {
		id := from + host.SegmentID(i)
		must(t, w.Create(ctx, id, 1<<20))
		must(t, w.Append(ctx, id, 0, bytes.Repeat([]byte{byte(id)}, 1<<20)))
		must(t, w.Sync(ctx, id))
	}
}

// A host process that is killed while a volume is pulled from it, and started anew, is
// waited for.
func TestKilledWhilePulling(t *testing.T) {
	p := newProcess(t)
	v := p.open()
	w := acquire(t, v, host.AcquireOptions{})
	fill(t, w, 1, 24)
	pt, err := v.TakePoint(ctx, host.PointOptions{Name: "p"})
	must(t, err)
	defer pt.Close()
	fill(t, w, 100, 2)
	m := point.Of(pt.Contents(), nil)
	dir := filepath.Join(t.TempDir(), "copy")
	place := func(m point.Manifest) (transfer.Place, error) {
		return local.Receive(ctx, dir, m, local.ReceiveOptions{})
	}
	kills := 0
	must(t, transfer.CopyInto(ctx, pt, m, place, func(n int64) {
		if kills < 2 && n > int64(kills+1)*4<<20 {
			kills++
			p.kill()
			p.start()
		}
	}))
	if kills != 2 {
		t.Errorf("it was killed %d times", kills)
	}
	fetched, err := local.Open(dir)
	must(t, err)
	defer fetched.Close()
	got, err := fetched.TakePoint(ctx, host.PointOptions{})
	must(t, err)
	defer got.Close()
	a, err := transfer.DigestOf(ctx, got, nil)
	must(t, err)
	b, err := transfer.DigestOf(ctx, pt, nil) // by the other host's word
	must(t, err)
	if a != b {
		t.Errorf("the copy is %v, and the point %v", a, b)
	}
	if r, ok, err := fetched.Received(ctx); !ok || err != nil || r.Name != "p" {
		t.Errorf("the copy is %+v, %v, %v", r, ok, err)
	}
}

// Whoever has the token for pulling reads volumes and points, and changes nothing.
func TestPullToken(t *testing.T) {
	d := newDir(t)
	socket := start(t, d, serve.Options{Token: []byte("all"), PullToken: []byte("pull")})
	url := "unix:" + socket + "#v"
	must(t, remote.Create(ctx, url, remote.Options{Token: []byte("all")}))
	owner, err := remote.Open(ctx, url, remote.Options{Token: []byte("all")})
	must(t, err)
	defer owner.Close()
	w := acquire(t, owner, host.AcquireOptions{})
	fill(t, w, 1, 1)
	kept, err := owner.TakePoint(ctx, host.PointOptions{Name: "kept"})
	must(t, err)
	must(t, kept.Close())

	v, err := remote.Open(ctx, url, remote.Options{Token: []byte("pull")})
	must(t, err)
	defer v.Close()
	if _, err := v.Segments(ctx); err != nil {
		t.Errorf("list segments: %v", err)
	}
	if _, err := v.Read(ctx, 1, 0, make([]byte, 10)); err != nil {
		t.Errorf("read: %v", err)
	}
	p, err := v.TakePoint(ctx, host.PointOptions{Keep: time.Hour})
	must(t, err)
	if _, err := p.Read(ctx, 1, 0, make([]byte, 10)); err != nil {
		t.Errorf("read a point: %v", err)
	}
	must(t, p.Close())
	must(t, v.DropPoint(ctx, p.Contents().Info.Name))
	for what, err := range map[string]error{
		"acquire": func() error {
			_, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
			return err
		}(),
		"create": remote.Create(ctx, "unix:"+socket+"#w", remote.Options{Token: []byte("pull")}),
	} {
		if !errors.Is(err, remote.ErrUnauthorized) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"drop a point of others": v.DropPoint(ctx, "kept"),
		"keep one for ever": func() error {
			_, err := v.TakePoint(ctx, host.PointOptions{Name: "x"})
			return err
		}(),
		"keep one for long": func() error {
			_, err := v.TakePoint(ctx, host.PointOptions{Name: "x", Keep: 1000 * time.Hour})
			return err
		}(),
	} {
		if !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, w.Append(ctx, 1, 1<<20, nil)) // nobody took the volume from its owner
}

// What points keep counts in the quota: who deletes behind a point has no more room
// than before.
func TestQuotaCountsPoints(t *testing.T) {
	d := newDir(t)
	socket := start(t, d, serve.Options{Quota: 8 << 20})
	url := "unix:" + socket + "#v"
	must(t, remote.Create(ctx, url, remote.Options{}))
	v, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer v.Close()
	w := acquire(t, v, host.AcquireOptions{})
	fill(t, w, 1, 6)
	p, err := v.TakePoint(ctx, host.PointOptions{Name: "p"})
	must(t, err)
	must(t, p.Close())
	for id := range host.SegmentID(6) {
		must(t, w.Delete(ctx, id+1))
	}
	fill(t, w, 11, 2)
	if err := w.Create(ctx, 20, 1<<20); !errors.Is(err, host.ErrNoSpace) {
		t.Fatalf("create beyond the quota: %v", err)
	}
	st, err := v.Status(ctx)
	must(t, err)
	if st.HeldBytes != 6<<20 || st.SegmentBytes != 2<<20 {
		t.Errorf("%+v", st)
	}
	must(t, v.DropPoint(ctx, "p"))
	fill(t, w, 20, 6)
}

// A point that a client has open is let go of when the server ends, and its bytes are
// not sent by another volume's name.
func TestOpenPoints(t *testing.T) {
	d := newDir(t)
	socket := start(t, d, serve.Options{})
	must(t, remote.Create(ctx, "unix:"+socket+"#v", remote.Options{}))
	v, err := remote.Open(ctx, "unix:"+socket+"#v", remote.Options{})
	must(t, err)
	defer v.Close()
	p, err := v.TakePoint(ctx, host.PointOptions{Name: "p"})
	must(t, err)
	const use = "Coffer-Use: 00112233445566778899aabbccddeeff\r\n"
	const other = "Coffer-Use: ff112233445566778899aabbccddeeff\r\n"
	for request, want := range map[string]int{
		"GET /v1/volumes/v/points/p HTTP/1.1\r\nHost: h\r\n\r\n":                                      400,
		"GET /v1/volumes/v/points/p HTTP/1.1\r\nHost: h\r\nCoffer-Use: 0011\r\n\r\n":                  400,
		"GET /v1/volumes/v/points/none HTTP/1.1\r\nHost: h\r\n" + other + "\r\n":                      404,
		"GET /v1/volumes/v/points/..%2fp HTTP/1.1\r\nHost: h\r\n" + other + "\r\n":                    404,
		"GET /v1/volumes/v/points/p/segments/1 HTTP/1.1\r\nHost: h\r\n" + use + "\r\n":                400,
		"GET /v1/volumes/v/points/p/segments/1/digest HTTP/1.1\r\nHost: h\r\n" + use + "\r\n":         404,
		"POST /v1/volumes/v/points HTTP/1.1\r\nHost: h\r\n" + use + "Content-Length: 1\r\n\r\n{":      400,
		"POST /v1/volumes/v/points HTTP/1.1\r\nHost: h\r\n" + use + "Content-Length: 999999\r\n\r\n{": 400,
		"GET /v1/volumes/v/received HTTP/1.1\r\nHost: h\r\n\r\n":                                      404,
		"DELETE /v1/volumes/v/points/none/use HTTP/1.1\r\nHost: h\r\nCoffer-Use: x\r\n\r\n":           400,
	} {
		if status, body := raw(t, socket, request); status != want {
			t.Errorf("%.60q: %d, want %d: %s", request, status, want, body)
		}
	}
	if err := v.DropPoint(ctx, "p"); !errors.Is(err, host.ErrInUse) {
		t.Errorf("drop a point that is open: %v", err)
	}
	must(t, p.Close())
	if status, body := raw(t, socket, "DELETE /v1/volumes/v/points/p/use HTTP/1.1\r\nHost: h\r\n"+use+"\r\n"); status != 204 {
		t.Errorf("let go of a point: %d: %s", status, body)
	}
	must(t, v.DropPoint(ctx, "p"))
	if _, err := os.Stat(filepath.Join(d.Root, "v", "points", "p")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
