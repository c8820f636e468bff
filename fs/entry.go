package fs

import (
	"encoding/binary"
	"slices"
	"syscall"

	"github.com/coffer-fs/coffer/store"
)

// entry is a directory entry. A directory holds it twice: by the hash of its
// name, for looking it up, and by its index, for reading the directory in an
// order that does not change.
type entry struct {
	ino   Ino
	kind  byte // file type bits of the mode, shifted down by 12
	index uint64
	name  string
}

const entryFixed = 8 + 1 + 8 + 1

func (e entry) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.ino))
	b = append(b, e.kind)
	b = binary.BigEndian.AppendUint64(b, e.index)
	b = append(b, byte(len(e.name)))
	return append(b, e.name...)
}

// parseEntries decodes the entries that share a key: one, unless hashes of
// names collide.
func parseEntries(b []byte) ([]entry, error) {
	var es []entry
	for len(b) > 0 {
		if len(b) < entryFixed || b[17] == 0 || len(b) < entryFixed+int(b[17]) {
			return nil, damaged("directory entry of %d bytes", len(b))
		}
		end := entryFixed + int(b[17])
		es = append(es, entry{
			ino: Ino(binary.BigEndian.Uint64(b)), kind: b[8],
			index: binary.BigEndian.Uint64(b[9:]), name: string(b[entryFixed:end]),
		})
		b = b[end:]
	}
	return es, nil
}

// parseIndex decodes the entry of dir that stands at an index.
func parseIndex(dir Ino, k store.Key, v []byte) (entry, error) {
	es, err := parseEntries(v)
	if err != nil {
		return entry{}, err
	}
	if len(es) != 1 || es[0].index != k.Sub {
		return entry{}, damaged("directory %d: %d entries at index %d", dir, len(es), k.Sub)
	}
	return es[0], nil
}

func encodeEntries(es []entry) []byte {
	var b []byte
	for _, e := range es {
		b = e.append(b)
	}
	return b
}

// checkName refuses what can't be a name.
func checkName(name string) error {
	if len(name) > MaxName {
		return syscall.ENAMETOOLONG
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return syscall.EINVAL
		}
	}
	if name == "" {
		return syscall.ENOENT
	}
	return nil
}

// checkNewName refuses what can't be given to a file.
func checkNewName(name string) error {
	if name == "." || name == ".." {
		return syscall.EEXIST
	}
	return checkName(name)
}

// find returns the entry of that name in dir, and whether there is one.
func (f *Tree) find(tx *store.Tx, dir Ino, name string) (entry, bool, error) {
	_, es, at, err := f.bucket(tx, dir, name)
	if err != nil || at < 0 {
		return entry{}, false, err
	}
	return es[at], true, nil
}

// bucket returns the entries whose names share the hash of name, and the index
// of that with the very name, or -1.
func (f *Tree) bucket(tx *store.Tx, dir Ino, name string) (store.Key, []entry, int, error) {
	k := entryKey(dir, f.hash(name))
	b, ok, err := tx.Get(k)
	if err != nil || !ok {
		return k, nil, -1, err
	}
	es, err := parseEntries(b)
	if err != nil {
		return k, nil, -1, err
	}
	return k, es, slices.IndexFunc(es, func(e entry) bool { return e.name == name }), nil
}

// addEntry gives the inode a name in dir, whose inode d it changes and stores.
// The name must be free.
func (f *Tree) addEntry(tx *store.Tx, dir Ino, d *inode, name string, i Ino, kind byte) error {
	k, es, at, err := f.bucket(tx, dir, name)
	if err != nil {
		return err
	}
	if at >= 0 {
		return syscall.EEXIST
	}
	e := entry{i, kind, d.nextIndex, name}
	d.nextIndex++
	d.size++
	if err := tx.Put(k, encodeEntries(append(es, e))); err != nil {
		return err
	}
	if err := tx.Put(indexKey(dir, e.index), e.append(nil)); err != nil {
		return err
	}
	return touchDir(tx, dir, d)
}

// removeEntry takes a name from dir, whose inode d it changes and stores.
func (f *Tree) removeEntry(tx *store.Tx, dir Ino, d *inode, name string) error {
	k, es, at, err := f.bucket(tx, dir, name)
	if err != nil {
		return err
	}
	if at < 0 {
		return syscall.ENOENT
	}
	if err := tx.Delete(indexKey(dir, es[at].index)); err != nil {
		return err
	}
	d.size--
	if es = slices.Delete(es, at, at+1); len(es) == 0 {
		err = tx.Delete(k)
	} else {
		err = tx.Put(k, encodeEntries(es))
	}
	if err != nil {
		return err
	}
	return touchDir(tx, dir, d)
}

// replaceEntry lets a name in dir mean another inode.
func (f *Tree) replaceEntry(tx *store.Tx, dir Ino, d *inode, name string, i Ino, kind byte) error {
	k, es, at, err := f.bucket(tx, dir, name)
	if err != nil {
		return err
	}
	if at < 0 {
		return syscall.ENOENT
	}
	es[at].ino, es[at].kind = i, kind
	if err := tx.Put(k, encodeEntries(es)); err != nil {
		return err
	}
	if err := tx.Put(indexKey(dir, es[at].index), es[at].append(nil)); err != nil {
		return err
	}
	return touchDir(tx, dir, d)
}

// touchDir stores a directory that was changed just now.
func touchDir(tx *store.Tx, dir Ino, d *inode) error {
	d.mtime = now()
	d.ctime = d.mtime
	return putInode(tx, dir, *d)
}
