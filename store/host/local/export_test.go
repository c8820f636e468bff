package local

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/coffer-fs/coffer/store/host"
)

// MaxSpares lets tests fill the pool.
const MaxSpares = maxSpares

// RemoveSpares empties the pool of the volume in dir.
func RemoveSpares(t testing.TB, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, spareName, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// BreakDirSync replaces the directory of the segments by one that cannot be
// synced.
func BreakDirSync(t testing.TB, w host.Writer) {
	t.Helper()
	dir, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	tree := w.(*writer).tree
	tree.segments.Close()
	tree.segments = dir
}

// CutCatalog cuts the catalog in the middle of a transaction, and then reads.
func CutCatalog(v *Volume, dir string) error {
	return v.tree.catalog.view(context.Background(), func(tx *bbolt.Tx) error {
		if err := os.Truncate(filepath.Join(dir, catalogName), 0); err != nil {
			return err
		}
		_, err := recordOf(tx, "root")
		return err
	})
}

// BreakSync replaces the file of a segment by one that cannot be synced: the
// end of a pipe.
func BreakSync(t testing.TB, w host.Writer, id host.SegmentID) {
	t.Helper()
	_, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.(*writer).appender(id)
	if err != nil {
		t.Fatal(err)
	}
	a.file.Close()
	a.file = end
}

// SyncTwice syncs a segment for two callers of whom neither saw the other's end: it
// gives what each is told.
func SyncTwice(t testing.TB, w host.Writer, id host.SegmentID) (first, second error) {
	t.Helper()
	a, err := w.(*writer).appender(id)
	if err != nil {
		t.Fatal(err)
	}
	dir := w.(*writer).tree.segments
	return a.sync(dir), a.sync(dir)
}

// BreakStage replaces the file that comes by one that cannot be synced, the end of a
// pipe, until mend is called.
func BreakStage(t testing.TB, in *Incoming) (mend func()) {
	t.Helper()
	_, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	file := in.file
	in.file = end
	return func() {
		end.Close()
		in.file = file
	}
}

// FailNoteSync has the sync of the note of how far a transfer has come fail.
func FailNoteSync(in *Incoming, err error) { in.syncNote = func(*os.File) error { return err } }

// RemoveCopies is the step of Forget that meets an Adopt.
func RemoveCopies(w host.Writer) error { return w.(*writer).tree.removeCopies() }
