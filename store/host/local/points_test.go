package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

// contentsOf writes a volume of one segment that says what it is.
func volumeWith(t *testing.T, text string) string {
	t.Helper()
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, []byte(text)))
	must(t, w.Sync(ctx, 1))
	must(t, w.Release(ctx))
	return dir
}

func sizeAtPoint(t *testing.T, dir string) int64 {
	t.Helper()
	p, err := open(t, dir).TakePoint(ctx, host.PointOptions{})
	must(t, err)
	defer p.Close()
	return p.Contents().Segments[0].Size
}

// Where a segment ends is known of a writer that was killed, and of one that gave
// the volume back; after a crash of the machine it counts only if it was durable.
func TestTails(t *testing.T) {
	const text = "twenty-three characters"
	patch := func(dir string, at int64, b ...byte) {
		f, err := os.OpenFile(filepath.Join(dir, "tails"), os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(b, at)
		must(t, errors.Join(err, f.Close()))
	}
	otherBoot := func(dir string) { patch(dir, 24, bytes.Repeat([]byte{0xEE}, 16)...) }
	for name, c := range map[string]struct {
		change func(dir string)
		want   int64
	}{
		"clean":                {func(string) {}, int64(len(text))},
		"clean, and a reboot":  {otherBoot, int64(len(text))},
		"killed":               {func(dir string) { patch(dir, 23, 0) }, int64(len(text))},
		"killed, and a reboot": {func(dir string) { patch(dir, 23, 0); otherBoot(dir) }, capacity},
		"killed in an append":  {func(dir string) { patch(dir, 23, 0); patch(dir, 72, 0x80) }, capacity},
		"of another epoch":     {func(dir string) { patch(dir, 15, 9) }, capacity},
		"void":                 {func(dir string) { patch(dir, 0, 0) }, capacity},
		"missing":              {func(dir string) { must(t, os.Remove(filepath.Join(dir, "tails"))) }, capacity},
		"cut off":              {func(dir string) { must(t, os.Truncate(filepath.Join(dir, "tails"), 10)) }, capacity},
		"twice":                {func(dir string) { patch(dir, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1) }, capacity},
		"too large":            {func(dir string) { patch(dir, 72, 1) }, capacity},
		"beyond the file":      {func(dir string) { patch(dir, 72, 0, 0, 0, 0, 1) }, capacity},
	} {
		t.Run(name, func(t *testing.T) {
			dir := volumeWith(t, text)
			c.change(dir)
			if got := sizeAtPoint(t, dir); got != c.want {
				t.Errorf("the segment has %d bytes, want %d", got, c.want)
			}
			// The next writer takes it up.
			must(t, acquire(t, dir).Release(ctx))
			if got := sizeAtPoint(t, dir); got != c.want {
				t.Errorf("the segment has %d bytes after another writer, want %d", got, c.want)
			}
		})
	}
}

// appendUntilKilled makes segments of ones, by appends that take a while.
func appendUntilKilled(dir string) error {
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		return err
	}
	p := bytes.Repeat([]byte{1}, 700<<10)
	fmt.Println("ready")
	for id := host.SegmentID(1); err == nil; id++ {
		if err = w.Create(ctx, id, 4<<20); err != nil {
			break
		}
		for off := int64(0); off+int64(len(p)) <= 4<<20 && err == nil; off += int64(len(p)) {
			err = w.Append(ctx, id, off, p)
		}
	}
	return err
}

// Whatever a killed writer has written, of which nobody was told, is in a point too:
// the next one may build on it.
func TestPointOfAKilledWriter(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 16 {
		dir := newVolume(t)
		c := startChild(t, "large", dir, nil)
		c.says("ready")
		time.Sleep(time.Duration(rng.IntN(30_000)) * time.Microsecond) // where it is cut off
		must(t, c.Process.Kill())
		_ = c.Wait()
		p, err := open(t, dir).TakePoint(ctx, host.PointOptions{})
		must(t, err)
		for _, s := range p.Contents().Segments {
			b, err := os.ReadFile(filepath.Join(dir, "segments", fmt.Sprintf("%d.seg", s.ID)))
			must(t, err)
			if written := int64(bytes.LastIndexByte(b, 1)) + 1; written > s.Size {
				t.Errorf("seed %d: %d bytes of segment %d were written, and the point has %d", seed, written, s.ID, s.Size)
			}
		}
		must(t, p.Close())
		must(t, os.RemoveAll(dir))
	}
}

// A resumed writer that goes on with a segment, of which it is not known where it
// ends, changes no byte that a point has of it.
func TestAdoptLeavesPointsAlone(t *testing.T) {
	dir := newVolume(t)
	v := open(t, dir)
	token := [32]byte{1}
	w, err := v.AcquireAs(ctx, host.AcquireOptions{}, token)
	must(t, err)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, []byte("durable, and gone")))
	must(t, os.Remove(filepath.Join(dir, "tails"))) // as after a crash of the machine
	p, err := v.TakePoint(ctx, host.PointOptions{})
	must(t, err)
	defer p.Close()
	w, err = v.Resume(ctx, host.AcquireOptions{}, token)
	must(t, err)
	must(t, w.(interface {
		Adopt(c context.Context, id host.SegmentID, capacity, tail int64) error
	}).Adopt(ctx, 1, capacity, 7))
	must(t, w.Append(ctx, 1, 7, []byte(" again")))
	later, err := v.TakePoint(ctx, host.PointOptions{})
	must(t, err)
	defer later.Close()
	for p, want := range map[host.Point]string{p: "durable, and gone", later: "durable again"} {
		b := make([]byte, len(want))
		if _, err := p.Read(ctx, 1, 0, b); err != nil || string(b) != want {
			t.Errorf("a point has %q (%v), want %q", b, err, want)
		}
	}
	if p.Contents().Segments[0].Mark == later.Contents().Segments[0].Mark {
		t.Error("two points have the segment by one mark, and it is not the same")
	}
	if got := later.Contents().Segments[0].Size; got != 13 {
		t.Errorf("the segment ends at %d, want 13", got)
	}
}

// pointsUntilKilled takes and drops points.
func pointsUntilKilled(dir string) error {
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		p, err := v.TakePoint(ctx, host.PointOptions{})
		if err != nil {
			return err
		}
		if err := p.Close(); err != nil {
			return err
		}
		list, err := v.Points(ctx)
		if err != nil {
			return err
		}
		for len(list) > 3 {
			if err := v.DropPoint(ctx, list[0].Name); err != nil {
				return err
			}
			list = list[1:]
		}
	}
}

// Whoever takes and drops points may be killed at any moment: every point that there
// is is whole, nothing else is left, and the writer has noticed nothing.
func TestKilledBetweenPoints(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := newVolume(t)
	must(t, os.Mkdir(filepath.Join(dir, "points"), 0o700)) // as the first one would
	w := acquire(t, dir)
	v := open(t, dir)
	for round := range 12 {
		id := host.SegmentID(round + 1)
		must(t, w.Create(ctx, id, capacity))
		c := startChild(t, "points", dir, nil)
		c.says("ready")
		end := time.Now().Add(time.Duration(rng.IntN(20)) * time.Millisecond)
		for off := int64(0); time.Now().Before(end) && off < capacity; off += 512 {
			must(t, w.Append(ctx, id, off, bytes.Repeat([]byte{byte(id)}, 512)))
		}
		must(t, c.Process.Kill())
		_ = c.Wait()
		if round > 3 {
			must(t, w.Delete(ctx, id-3))
		}
		list, err := v.Points(ctx)
		must(t, err)
		for _, i := range list {
			checkPoint(t, seed, v, i.Name)
		}
		left := names(t, filepath.Join(dir, "points"))
		if len(left) != len(list) {
			t.Errorf("seed %d: %d points, and in the directory %q", seed, len(list), left)
		}
	}
	list, err := v.Points(ctx)
	must(t, err)
	for _, i := range list {
		must(t, v.DropPoint(ctx, i.Name))
	}
	if left := names(t, filepath.Join(dir, "points")); len(left) != 0 {
		t.Errorf("seed %d: %q is left", seed, left)
	}
	u, err := v.Usage(ctx)
	must(t, err)
	if u.HeldBytes != 0 {
		t.Errorf("seed %d: %d bytes are held by nothing", seed, u.HeldBytes)
	}
}

// checkPoint expects each segment to consist of its number.
func checkPoint(t *testing.T, seed uint64, v *local.Volume, name string) {
	t.Helper()
	p, err := v.OpenPoint(ctx, name)
	must(t, err)
	defer p.Close()
	for _, s := range p.Contents().Segments {
		b := make([]byte, s.Size)
		if _, err := p.Read(ctx, s.ID, 0, b); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(s.ID)}, len(b))) {
			t.Fatalf("seed %d: segment %d of point %q, %d bytes: %v", seed, s.ID, name, s.Size, err)
		}
	}
}

// What a crash may leave of a point goes away, and what is no point is not touched.
func TestPointRemains(t *testing.T) {
	dir := volumeWith(t, "text")
	points := filepath.Join(dir, "points")
	v := open(t, dir)
	p, err := v.TakePoint(ctx, host.PointOptions{Name: "whole"})
	must(t, err)
	must(t, p.Close())
	segment := filepath.Join(dir, "segments", "1.seg")
	for name, files := range map[string][]string{
		".new.1": {}, ".new.2": {"manifest"}, ".new.3": {"manifest", "1.seg"}, ".old.4": {"1.seg"}, ".old.5": {},
		".new.6": {"manifest", "precious"}, "precious": {"precious"},
	} {
		must(t, os.Mkdir(filepath.Join(points, name), 0o700))
		for _, f := range files {
			if f == "1.seg" {
				must(t, os.Link(segment, filepath.Join(points, name, f)))
			} else {
				must(t, os.WriteFile(filepath.Join(points, name, f), nil, 0o600))
			}
		}
	}
	list, err := v.Points(ctx)
	must(t, err)
	if len(list) != 2 || list[0].Name != "precious" || list[0].ID != (host.PointID{}) || list[1].Name != "whole" {
		t.Errorf("points: %+v", list)
	}
	if got, want := names(t, points), []string{".new.6", "precious", "whole"}; !slices.Equal(got, want) {
		t.Errorf("in the directory are %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(points, ".new.6", "precious")); err != nil {
		t.Errorf("a file that is nothing of ours is gone: %v", err)
	}
}

// A point whose files are not as they were made is damaged: it is not read, and can
// be dropped.
func TestPointDamaged(t *testing.T) {
	for name, spoil := range map[string]func(point string) error{
		"a segment is gone":     func(p string) error { return os.Remove(filepath.Join(p, "1.seg")) },
		"no manifest":           func(p string) error { return os.Remove(filepath.Join(p, "manifest")) },
		"an empty manifest":     func(p string) error { return os.Truncate(filepath.Join(p, "manifest"), 0) },
		"a manifest cut short":  func(p string) error { return os.Truncate(filepath.Join(p, "manifest"), 80) },
		"a manifest that grows": func(p string) error { return os.Truncate(filepath.Join(p, "manifest"), 1<<30) },
		"a segment that is a link": func(p string) error {
			return errors.Join(os.Remove(filepath.Join(p, "1.seg")), os.Symlink("../../segments/1.seg", filepath.Join(p, "1.seg")))
		},
		"a manifest that is a link": func(p string) error {
			return errors.Join(os.Rename(filepath.Join(p, "manifest"), filepath.Join(p, "m")), os.Symlink("m", filepath.Join(p, "manifest")))
		},
		"a link": func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := volumeWith(t, "text")
			v := open(t, dir)
			p, err := v.TakePoint(ctx, host.PointOptions{Name: "p"})
			must(t, err)
			must(t, p.Close())
			must(t, spoil(filepath.Join(dir, "points", "p")))
			if _, err := v.OpenPoint(ctx, "p"); !errors.Is(err, local.ErrDamaged) {
				t.Errorf("open: %v, want %q", err, local.ErrDamaged)
			}
			if _, err := v.Points(ctx); err != nil {
				t.Errorf("list: %v", err)
			}
			if _, err := v.Usage(ctx); err != nil {
				t.Errorf("usage: %v", err)
			}
		})
	}
}
