package fs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// What nobody outside may find: long enough not to be there by chance.
var (
	secretName    = "a name that only the enclave knows"
	secretTarget  = "where-the-symbolic-link-leads-to"
	secretAttr    = "user.what-is-noted-of-the-file"
	secretContent = bytes.Repeat([]byte("contents of no concern to others."), 4000)
)

// writeSecrets writes the same things twice, in two directories.
func writeSecrets(t *testing.T, f *fs.FS) {
	t.Helper()
	for _, dir := range []string{"one", "two"} {
		for _, err := range []error{
			f.Mkdir(dir, 0o700),
			f.WriteFile(filepath.Join(dir, secretName), secretContent, 0o600),
			f.WriteFile(filepath.Join(dir, "small"), secretContent[:500], 0o600),
			f.Symlink(secretTarget, filepath.Join(dir, "link")),
			f.SetXattr(filepath.Join(dir, secretName), secretAttr, secretContent[:100], 0),
			f.Sync(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The same names, contents and attributes, in two directories and two volumes, have
// nothing in common on the host: no 16 bytes of what is sealed come twice.
func TestA40_EqualNames(t *testing.T) {
	seen := map[[16]byte]bool{}
	for range 2 {
		v := memhost.New(memhost.Options{})
		formatted(t, v, 64<<20)
		writeSecrets(t, opened(t, v, fs.Options{}))
		for _, id := range v.SegmentIDs() {
			b := v.Segment(id)
			for at := 4096; at+16 <= len(b); at += 16 { // behind the public preamble
				if bytes.HasPrefix(b[at:], []byte("coffroot")) {
					at += 64 // the public part of a copy of the root
					continue
				}
				block := [16]byte(b[at:])
				if block != [16]byte{} && seen[block] {
					t.Fatalf("segment %d, offset %d: 16 bytes that were there before", id, at)
				}
				seen[block] = true
			}
		}
	}
	if len(seen) < 4*len(secretContent)/16 {
		t.Errorf("only %d blocks were seen", len(seen))
	}
}

// Nothing that was written is found in any file that a volume in a directory
// consists of, while it is open, after a crash and after closing; and nothing is
// written elsewhere: not into the directory for temporary files either.
func TestA43_NoPlaintextResidue(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := filepath.Join(t.TempDir(), "volume")
	if err := local.Create(dir); err != nil {
		t.Fatal(err)
	}
	v := openLocal(t, dir)
	storetest.Create(t, v, 64<<20)
	st := storetest.Open(t, v)
	if err := fs.Format(bg, st, 0, 0); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(bg, st, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	writeSecrets(t, f)
	searchFiles(t, dir)
	if err := f.RemoveAll("one"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	searchFiles(t, dir)
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("in the directory for temporary files: %v, %v", left, err)
	}
}

func openLocal(t *testing.T, dir string) host.Volume {
	t.Helper()
	v, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// searchFiles looks for secrets in all files below dir.
func searchFiles(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		for _, secret := range []string{secretName, secretTarget, secretAttr, string(secretContent[:24])} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files: %v", files, err)
	}
}
