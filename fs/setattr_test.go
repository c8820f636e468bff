package fs_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/coffer-fs/coffer/fs"
)

// The access list follows a mode that is set together with a size.
func TestListFollowsModeSetWithSize(t *testing.T) {
	const name = "system.posix_acl_access"
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 7, ^uint32(0)}, {0x02, 7, 1000}, {0x04, 7, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 7, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.perm)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	want := bytes.Clone(list)
	for i, perm := range map[int]byte{0: 6, 3: 4, 4: 0} { // owner, mask, others
		want[4+8*i+2] = perm
	}
	f, _ := newFS(t)
	for _, size := range []*int64{nil, new(int64)} {
		if err := f.WriteFile("f", []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.SetXattr("f", name, list, 0); err != nil {
			t.Fatal(err)
		}
		a, err := f.Tree().Lookup(bg, fs.RootIno, "f")
		if err != nil {
			t.Fatal(err)
		}
		mode := uint32(0o640)
		if _, err := f.Tree().SetAttr(bg, a.Ino, fs.SetAttr{Mode: &mode, Size: size}); err != nil {
			t.Fatal(err)
		}
		if got, err := f.GetXattr("f", name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("with a size: %v: the list is %x (%v), want %x", size != nil, got, err, want)
		}
	}
}
