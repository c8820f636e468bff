package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

func mkfifo(t testing.TB, name string) {
	t.Helper()
	must(t, syscall.Mkfifo(name, 0o600))
}

func inode(t testing.TB, path ...string) uint64 {
	t.Helper()
	info, err := os.Lstat(filepath.Join(path...))
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestForeignFilesAreIgnored(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	segments := filepath.Join(dir, "segments")
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, make([]byte, capacity), 0o600))
	must(t, os.Symlink(secret, filepath.Join(segments, "1.seg")))
	must(t, os.Mkdir(filepath.Join(segments, "2.seg"), 0o700))
	mkfifo(t, filepath.Join(segments, "3.seg"))
	for _, name := range []string{"0.seg", "04.seg", "+4.seg", "4.SEG", "4", ".seg", "x.seg", "281474976710656.seg", "99999999999999999999.seg"} {
		must(t, os.WriteFile(filepath.Join(segments, name), nil, 0o600))
	}
	infos, err := w.Segments(ctx)
	if err != nil || len(infos) != 0 {
		t.Errorf("segments: %v, %v, want none", infos, err)
	}
	for id := host.SegmentID(1); id <= 3; id++ {
		if _, err := w.Read(ctx, id, 0, make([]byte, 1)); err == nil {
			t.Errorf("%d.seg was read", id)
		}
		if err := w.Append(ctx, id, 0, []byte("x")); !host.Refused(err) {
			t.Errorf("append to %d.seg: %v", id, err)
		}
		if err := w.Sync(ctx, id); err == nil {
			t.Errorf("%d.seg was synced", id)
		}
		if err := w.Delete(ctx, id); !errors.Is(err, host.ErrNotFound) {
			t.Errorf("delete %d.seg: %v", id, err)
		}
		if err := w.Create(ctx, id, capacity); !errors.Is(err, host.ErrExists) {
			t.Errorf("create %d.seg: %v", id, err)
		}
	}
	must(t, w.Create(ctx, 4, capacity))
}

func TestRecycling(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, []byte("old")))
	first := inode(t, dir, "segments/1.seg")
	must(t, w.Delete(ctx, 1))
	if got := names(t, dir, "spare"); !slices.Equal(got, []string{"1048576.1"}) {
		t.Errorf("spares are %q", got)
	}
	must(t, w.Create(ctx, 2, 2*capacity))
	must(t, w.Create(ctx, 3, capacity))
	must(t, w.Create(ctx, 4, capacity))
	if inode(t, dir, "segments/3.seg") != first || inode(t, dir, "segments/2.seg") == first {
		t.Error("the file was not used again for the next segment of its size")
	}
	must(t, w.Append(ctx, 3, 0, []byte("new")))
	p := make([]byte, 3)
	if _, err := w.Read(ctx, 3, 0, p); err != nil || string(p) != "new" {
		t.Errorf("read %q, %v", p, err)
	}
}

func TestSparesAreBounded(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	const count = local.MaxSpares + 3
	for id := range host.SegmentID(count) {
		must(t, w.Create(ctx, id+1, capacity))
	}
	for id := range host.SegmentID(count) {
		must(t, w.Delete(ctx, id+1))
	}
	if got := len(names(t, dir, "spare")); got != local.MaxSpares {
		t.Errorf("%d spares, want %d", got, local.MaxSpares)
	}
	must(t, w.Create(ctx, 1, 2*capacity))
	must(t, w.Delete(ctx, 1))
	if got := names(t, dir, "spare"); !slices.Contains(got, "2097152.1") {
		t.Errorf("spares of a size that is not wanted any more stay: %q", got)
	}
}

func TestFalseSparesAreNotUsed(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, []byte("live")))
	spare := func(name string) string { return filepath.Join(dir, "spare", name) }
	must(t, os.Link(filepath.Join(dir, "segments/1.seg"), spare("1048576.1")))
	must(t, os.WriteFile(spare("1048576.2"), []byte("short"), 0o600))
	must(t, os.Symlink(filepath.Join(dir, "segments/1.seg"), spare("1048576.3")))
	mkfifo(t, spare("1048576.4"))
	must(t, w.Create(ctx, 2, capacity))
	must(t, w.Append(ctx, 2, 0, make([]byte, capacity)))
	p := make([]byte, 4)
	if _, err := w.Read(ctx, 1, 0, p); err != nil || string(p) != "live" {
		t.Errorf("the live segment reads %q, %v", p, err)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Create(ctx, 2, capacity))
	must(t, w.Append(ctx, 1, 0, []byte("x")))
	local.BreakSync(t, w, 1)
	first := w.Sync(ctx, 1)
	if !errors.Is(first, syscall.EINVAL) || host.Refused(first) {
		t.Fatalf("sync: %v", first)
	}
	_, swap := w.Swap(ctx, "root", "", nil)
	for what, err := range map[string]error{
		"sync again":       w.Sync(ctx, 1),
		"sync another":     w.Sync(ctx, 2),
		"append":           w.Append(ctx, 1, 1, []byte("x")),
		"append elsewhere": w.Append(ctx, 2, 0, []byte("x")),
		"create":           w.Create(ctx, 3, capacity),
		"delete":           w.Delete(ctx, 2),
		"swap":             swap,
	} {
		if !errors.Is(err, syscall.EINVAL) || host.Refused(err) || !strings.Contains(err.Error(), "writer failed for good") {
			t.Errorf("%s after a failed sync: %v", what, err)
		}
	}
	if _, err := w.Read(ctx, 1, 0, make([]byte, 1)); err != nil {
		t.Errorf("read after a failed sync: %v", err)
	}
}

// Who waits for another's sync is not told that it went well when it did not.
func TestFailedSyncIsEverybodys(t *testing.T) {
	w := acquire(t, newVolume(t))
	for id, fresh := range []bool{true, false} {
		id := host.SegmentID(id + 1)
		must(t, w.Create(ctx, id, capacity))
		if !fresh {
			must(t, w.Sync(ctx, id))
		}
		must(t, w.Append(ctx, id, 0, []byte("x")))
		local.BreakSync(t, w, id)
		if first, second := local.SyncTwice(t, w, id); !errors.Is(first, syscall.EINVAL) || !errors.Is(second, syscall.EINVAL) {
			t.Errorf("fresh %v: the first is told %v, the second %v", fresh, first, second)
		}
	}
}

func TestEachSyncSyncsWhatWasAppended(t *testing.T) {
	w := acquire(t, newVolume(t))
	for id := range host.SegmentID(2) {
		must(t, w.Create(ctx, id+1, capacity))
		must(t, w.Append(ctx, id+1, 0, []byte("x")))
		must(t, w.Sync(ctx, id+1))
	}
	local.BreakSync(t, w, 1)
	if err := w.Sync(ctx, 1); err != nil {
		t.Errorf("a sync of nothing new: %v", err)
	}
	must(t, w.Append(ctx, 2, 1, []byte("x")))
	local.BreakSync(t, w, 2)
	if err := w.Sync(ctx, 1, 2); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a sync after an append did not reach the file: %v", err)
	}
}

func TestFirstSyncOfASegmentSyncsTheDirectory(t *testing.T) {
	w := acquire(t, newVolume(t))
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Create(ctx, 2, capacity))
	must(t, w.Sync(ctx, 1))
	must(t, w.Append(ctx, 1, 0, []byte("x")))
	local.BreakDirSync(t, w)
	if err := w.Sync(ctx, 1); err != nil {
		t.Errorf("a later sync: %v", err)
	}
	if err := w.Sync(ctx, 2); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("the first sync did not reach the directory: %v", err)
	}
}

func TestManyFilesStayBounded(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	for id := range host.SegmentID(300) {
		must(t, w.Create(ctx, id+1, 4096))
		must(t, w.Sync(ctx, id+1))
		if _, err := w.Read(ctx, id+1, 0, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	open := 0
	for _, name := range names(t, "/proc/self/fd") {
		target, _ := os.Readlink("/proc/self/fd/" + name)
		if strings.HasPrefix(target, dir) {
			open++
		}
	}
	if open > 150 {
		t.Errorf("%d files of a volume are open", open)
	}
}

func TestCloseLeavesNothingOpen(t *testing.T) {
	dir := newVolume(t)
	v, err := local.Open(dir)
	must(t, err)
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	must(t, err)
	must(t, w.Create(ctx, 1, capacity))
	if _, err := v.Read(ctx, 1, 0, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	must(t, v.Close())
	if _, err := v.Get(ctx, "root"); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("get after close: %v", err)
	}
	must(t, w.Append(ctx, 1, 0, []byte("x")))
	must(t, w.Release(ctx))
	if err := w.Append(ctx, 1, 1, []byte("x")); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("append after release: %v", err)
	}
	for _, name := range names(t, "/proc/self/fd") {
		if target, _ := os.Readlink("/proc/self/fd/" + name); strings.HasPrefix(target, dir) {
			t.Errorf("%s is still open", target)
		}
	}
	if got, want := names(t, dir), []string{"catalog.db", "fence", "segments", "spare", "tails", "turn"}; !slices.Equal(got, want) {
		t.Errorf("the volume has %q, want %q", got, want)
	}
}

func TestCopyOfAVolumeInUse(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, w.Create(ctx, 1, capacity))
	must(t, w.Append(ctx, 1, 0, []byte("x")))
	must(t, w.Sync(ctx, 1))
	version, err := w.Swap(ctx, "root", "", []byte("one"))
	must(t, err)
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	must(t, os.Remove(filepath.Join(copied, "spare")))
	c := acquire(t, copied)
	if r, err := c.Get(ctx, "root"); err != nil || r.Version != version {
		t.Errorf("the copy's record: %v, %v", r, err)
	}
	must(t, c.Create(ctx, 2, capacity))
	must(t, c.Delete(ctx, 1))
	must(t, w.Append(ctx, 1, 1, []byte("x")))
}

// TestCatalogPutBack: an older catalog under a living writer must not give a new
// writer the same epoch.
func TestCatalogPutBack(t *testing.T) {
	dir := newVolume(t)
	catalog := filepath.Join(dir, "catalog.db")
	old, err := os.ReadFile(catalog)
	must(t, err)
	w := acquire(t, dir)
	must(t, os.WriteFile(catalog, old, 0o600))
	v := open(t, dir)
	if _, err := v.Acquire(ctx, host.AcquireOptions{}); !errors.Is(err, host.ErrInUse) {
		t.Errorf("acquire: %v", err)
	}
	next, err := v.Acquire(ctx, host.AcquireOptions{Takeover: true})
	must(t, err)
	if err := w.Create(ctx, 1, capacity); !errors.Is(err, host.ErrFenced) {
		t.Errorf("create by the first writer: %v", err)
	}
	must(t, next.Release(ctx))
}

func TestStrangeLockFile(t *testing.T) {
	dir := newVolume(t)
	w := acquire(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, "lock.1"), []byte("{\"pid\": \"x\x1b[31m"), 0o600))
	_, err := open(t, dir).Acquire(ctx, host.AcquireOptions{})
	if !errors.Is(err, host.ErrInUse) || !strings.Contains(err.Error(), "held by an unknown process") {
		t.Errorf("acquire: %v", err)
	}
	must(t, w.Sync(ctx))
}
