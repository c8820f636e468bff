package local

import (
	"os"
	"path/filepath"
	"testing"

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
