package fs_test

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// A name without a file, which only damage leaves, is told, and not looked for for ever.
func TestOpenNameWithoutFile(t *testing.T) {
	for what, c := range map[string]struct {
		hurt func(tx *store.Tx, ino uint64) error
		flag int
	}{
		"its inode is missing": {func(tx *store.Tx, ino uint64) error {
			return tx.Delete(store.Key{Object: ino, Type: inodeItem})
		}, os.O_RDWR | os.O_CREATE},
		"its inode says it has no name": {func(tx *store.Tx, ino uint64) error {
			return edit(tx, store.Key{Object: ino, Type: inodeItem}, func(b []byte) { binary.BigEndian.PutUint32(b[14:], 0) })
		}, os.O_RDONLY},
	} {
		t.Run(what, func(t *testing.T) {
			f, st := newFS(t)
			if err := f.WriteFile("f", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			info, err := f.Lstat("f")
			if err != nil {
				t.Fatal(err)
			}
			ino := uint64(info.Sys().(fs.Attr).Ino)
			clean(t, f)
			if err := st.Update(bg, func(tx *store.Tx) error { return c.hurt(tx, ino) }); err != nil {
				t.Fatal(err)
			}
			opened := make(chan error, 1)
			go func() {
				_, err := f.OpenFile("f", c.flag, 0o600)
				opened <- err
			}()
			select {
			case err := <-opened:
				if !errors.Is(err, store.ErrDamaged) {
					t.Errorf("open: %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("open goes on for ever")
			}
		})
	}
}
