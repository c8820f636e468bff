//go:build ignore

// This program made the volumes beside it: one of 8 MiB in each state that a
// volume may be left in, as a directory in a tar file, and what each holds, in
// tree.json. They are golden: every later version opens them and finds what
// tree.json says. It refuses to replace them.
//
//	go run gen.go
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/seal"
)

var ctx = context.Background()

// secret is the key of a slot: its name, and zeros behind it.
func secret(name string) store.Secret {
	var b [key.Size]byte
	copy(b[:], name)
	k, err := key.FromBytes(b[:])
	must(err)
	return store.Secret{Kind: seal.SlotSpec, Descriptor: []byte(name), Key: k}
}

// remembered is an anchor that is written into anchor.json.
type remembered struct {
	Volume [16]byte
	State  store.AnchorState
}

func (r *remembered) Read(_ context.Context, volume [16]byte) (store.AnchorState, error) {
	if r.Volume != volume {
		return store.AnchorState{}, store.ErrAnchorEmpty
	}
	return r.State, nil
}

func (r *remembered) Advance(_ context.Context, volume [16]byte, _, next store.AnchorState) error {
	r.Volume, r.State = volume, next
	return nil
}

// volume is one that is being made.
type volume struct {
	dir    string
	host   *local.Volume
	store  *store.Store
	fs     *fs.FS
	anchor *remembered
}

func create(dir string, anchored bool) *volume {
	v := &volume{dir: filepath.Join(dir, "volume")}
	must(local.Create(v.dir))
	var err error
	v.host, err = local.Open(v.dir)
	must(err)
	o := store.CreateOptions{Capacity: store.MinCapacity, Secret: secret("golden")}
	if anchored {
		v.anchor = &remembered{}
		o.Anchor = v.anchor
	}
	must(store.Create(ctx, v.host, o))
	v.open()
	must(fs.Format(ctx, v.store, 0, 0))
	v.fs, err = fs.Open(ctx, v.store, fs.Options{CommitEvery: time.Hour})
	must(err)
	return v
}

func (v *volume) open() {
	o := store.Options{Unlocker: store.Secrets{secret("golden")}}
	if v.anchor != nil {
		o.Anchor = v.anchor
	}
	var err error
	v.store, err = store.Open(ctx, v.host, o)
	must(err)
}

func (v *volume) close() {
	must(v.fs.Close())
	must(v.store.Close())
	must(v.host.Close())
}

// fill makes something of each kind.
func (v *volume) fill() {
	f := v.fs
	must(f.MkdirAll("a/b", 0o755))
	must(f.WriteFile("inline", []byte("a small file lives in the map\n"), 0o600))
	must(f.WriteFile("a/data", noise(40_000), 0o644))
	must(f.WriteFile("a/b/äöü ☃", []byte("names are bytes"), 0o400))
	must(f.WriteFile("a/b/empty", nil, 0o640))
	must(f.Link("a/data", "a/b/link"))
	must(f.Symlink("../a/data", "a/symlink"))
	must(f.Mknod("a/fifo", 0o010600, 0))
	must(f.SetXattr("inline", "user.note", []byte("golden"), 0))
	sparse, err := f.Create("sparse")
	must(err)
	_, err = sparse.WriteAt(noise(5000), 1<<20)
	must(err)
	must(sparse.Truncate(3 << 20))
	must(sparse.Close())
	must(f.Sync())
}

func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// entry is a file as tree.json has it.
type entry struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"`
	Xattr  string `json:"user.note,omitempty"`
}

func list(f *fs.FS, dir string) (entries []entry) {
	des, err := f.ReadDir(dir)
	must(err)
	for _, d := range des {
		path := filepath.Join(dir, d.Name())
		info, err := f.Lstat(path)
		must(err)
		e := entry{Path: path, Mode: info.Mode().String(), Size: info.Size()}
		switch {
		case info.IsDir():
			e.Size = 0
			entries = append(entries, list(f, path)...)
		case info.Mode().IsRegular():
			b, err := f.ReadFile(path)
			must(err)
			sum := sha256.Sum256(b)
			e.SHA256 = hex.EncodeToString(sum[:])
		case info.Mode()&iofs.ModeSymlink != 0:
			e.Target, err = f.Readlink(path)
			must(err)
		}
		if x, err := f.GetXattr(path, "user.note"); err == nil {
			e.Xattr = string(x)
		}
		entries = append(entries, e)
	}
	return entries
}

func main() {
	log.SetFlags(0)
	work, err := os.MkdirTemp("", "golden")
	must(err)
	defer os.RemoveAll(work)
	trees := map[string][]entry{}
	for name, leave := range map[string]func(*volume){
		"clean":     (*volume).close,
		"anchored":  func(v *volume) { v.close(); writeJSON("anchor.json", v.anchor) },
		"crashed":   leaveOpen,
		"migrating": leaveBetweenKeys,
		"snapshot":  leaveSnapshot,
	} {
		v := create(must1(os.MkdirTemp(work, name)), name == "anchored")
		v.fill()
		trees[name] = list(v.fs, ".")
		leave(v)
		writeTar(name+".tar.gz", v.dir)
	}
	writeJSON("tree.json", trees)
}

// leaveOpen leaves a volume as a machine does that loses power: with a log behind
// the root.
func leaveOpen(v *volume) {
	must(v.store.Commit(ctx))
}

// leaveBetweenKeys leaves a volume whose key is being changed.
func leaveBetweenKeys(v *volume) {
	must(v.store.AddGeneration(ctx, secret("golden 2")))
	v.close()
}

// leaveSnapshot leaves a volume with a snapshot of what there was, and one file
// less.
func leaveSnapshot(v *volume) {
	_, err := v.fs.TakeSnapshot("before")
	must(err)
	must(v.fs.RemoveAll("a"))
	v.close()
}

// writeTar writes dir, which is not being changed.
func writeTar(name, dir string) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	must(filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
		rel, _ := filepath.Rel(filepath.Dir(dir), path)
		if err != nil || !d.Type().IsRegular() || filepath.Base(filepath.Dir(path)) == "spare" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		err = t.WriteHeader(&tar.Header{Name: rel, Mode: 0o600, Size: int64(len(b))})
		_, werr := io.Copy(t, bytes.NewReader(b))
		return errors.Join(err, werr)
	}))
	must(t.Close())
	must(z.Close())
	write(name, out.Bytes())
}

func writeJSON(name string, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	must(err)
	write(name, append(b, '\n'))
}

// write makes a file that is not there.
func write(name string, b []byte) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	must(err)
	_, err = f.Write(b)
	must(errors.Join(err, f.Close()))
	fmt.Println(name, len(b), "bytes")
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must1(s string, err error) string { must(err); return s }
