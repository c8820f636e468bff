package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	manifest "github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/transfer"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

// everyFile reads all files of a directory.
func everyFile(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// openLocal opens the volume in a directory until the end of the test.
func openLocal(t *testing.T, dir string) *local.Volume {
	t.Helper()
	v, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// receivedVolume makes a volume in a directory by a transfer, and begins to bring it to a
// later point, which is given up.
func receivedVolume(t *testing.T, dir string) *files {
	t.Helper()
	origin := filepath.Join(t.TempDir(), "origin")
	if err := local.Create(origin); err != nil {
		t.Fatal(err)
	}
	v := openLocal(t, origin)
	storetest.Create(t, v, 16<<20)
	s := storetest.Open(t, v)
	defer s.Close()
	f := newFiles(t, newRand(t), 100<<10)
	point := func(f *files, name string) host.Point {
		for range 50 {
			if err := f.step(s, 8); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(bg); err != nil {
			t.Fatal(err)
		}
		p, err := v.TakePoint(bg, host.PointOptions{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	receive := func(p, since host.Point, most int64) error {
		var c *host.PointContents
		if since != nil {
			had := since.Contents()
			c = &had
		}
		m := manifest.Of(p.Contents(), c)
		ctx, stop := context.WithCancel(bg)
		defer stop()
		return transfer.CopyInto(ctx, p, m, func(m manifest.Manifest) (transfer.Place, error) {
			return local.Receive(bg, dir, m, local.ReceiveOptions{})
		}, func(n int64) {
			if n >= most {
				stop()
			}
		})
	}
	early := point(f, "early")
	if err := receive(early, nil, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if err := receive(point(f.clone(), "late"), early, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("a test of nothing: %v", err)
	}
	return f
}

// localVolume makes a volume in a directory that was used for a while, with spares, a
// catalog that was replaced, and what came of a transfer.
func localVolume(t *testing.T) (dir string, v *local.Volume, s *store.Store, f *files) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "vol")
	f = receivedVolume(t, dir)
	v = openLocal(t, dir)
	s = storetest.Open(t, v)
	data := make([]byte, 100<<10)
	for o := uint64(100); o < 160; o++ { // so that it takes more than one segment
		f.fill(data)
		if err := f.write(s, o, 0, data); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 400 {
		if err := f.step(s, 8); err != nil {
			t.Fatal(err)
		}
		if i == 200 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = storetest.Open(t, v)
		}
	}
	if err := errors.Join(s.EmptyAll(bg), s.Checkpoint(bg), s.Commit(bg)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "catalog.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "catalog.old.1"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, v, s, f
}

// After a migration nothing that was sealed under the old key is in any file of the
// volume's directory: no frame opens where it lay, be it in a segment, in what is kept
// for new ones, or in a part of a file that was not written again; no sector of it is
// anywhere; and the old header and roots are in no page of the catalog.
func TestNothingOldOnDisk(t *testing.T) {
	dir, v, s, f := localVolume(t)
	frames, err := s.KnownFrames(bg)
	if err != nil {
		t.Fatal(err)
	}
	before := everyFile(t, dir)
	sectors := oldSectors(t, before)
	header, err := v.Get(bg, "header")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]int{} // files of each directory
	for path := range before {
		in[filepath.Base(filepath.Dir(path))]++
	}
	opened := 0
	for _, k := range frames {
		for _, b := range before {
			if k.OpensIn(b) {
				opened++
			}
		}
	}
	if in["spare"] == 0 || in["incoming"] < 2 || opened < len(frames) || len(sectors) < 1000 {
		t.Fatalf("a test of nothing: %v, %d of %d frames open, %d sectors", in, opened, len(frames), len(sectors))
	}
	if err := rekey(s); err != nil {
		t.Fatal(err)
	}
	for range 100 { // it goes on being used, and files are kept and used again
		if err := f.step(s, 8); err != nil {
			t.Fatal(err)
		}
	}
	f.mustCheck(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for path, b := range everyFile(t, dir) {
		for i, k := range frames {
			if k.OpensIn(b) {
				t.Errorf("%s: frame %d opens under the old key", path, i)
			}
		}
		for at := 0; at+seal.SectorSize <= len(b); at += seal.SectorSize {
			if sectors[string(b[at:at+seal.SectorSize])] {
				t.Fatalf("%s: a sector of before at %d", path, at)
			}
		}
		for at := 0; at+64 <= len(header.Value); at += 64 {
			if bytes.Contains(b, header.Value[at:at+64]) {
				t.Errorf("%s: bytes %d of the old header", path, at)
			}
		}
		if bytes.Contains(b, append([]byte{0, byte(len(oldSecret.Descriptor))}, oldSecret.Descriptor...)) {
			t.Errorf("%s: the old slot", path)
		}
	}
}

// oldSectors are the sectors of segments, spares and what came in which something is.
func oldSectors(t *testing.T, files map[string][]byte) map[string]bool {
	t.Helper()
	sectors := map[string]bool{}
	for path, b := range files {
		if d := filepath.Base(filepath.Dir(path)); d != "segments" && d != "spare" && d != "incoming" {
			continue
		}
		for at := 0; at+seal.SectorSize <= len(b); at += seal.SectorSize {
			if p := b[at : at+seal.SectorSize]; bytes.Trim(p, "\x00") != nil {
				sectors[string(p)] = true
			}
		}
	}
	return sectors
}
