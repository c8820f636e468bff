package fs

import "github.com/coffer-fs/coffer/store"

const (
	// InlineMax is the largest file that lives in the tree, beside its inode,
	// in bytes. It is what a quarter of a node's room for an entry allows and
	// half of a block: a file this small costs no read of its own.
	InlineMax = 2048
	// inlinePart is the most one inline item holds.
	inlinePart = 2048
)

// getInline returns the contents of the inline items of i.
func getInline(tx *store.Tx, i Ino) ([]byte, error) {
	var out []byte
	err := tx.Scan(inlineKey(i, 0), typeEnd(uint64(i), typeInline), func(_ store.Key, v []byte) (bool, error) {
		if len(out)+len(v) > MaxTarget+1 {
			return false, damaged("inode %d: inline items over %d bytes", i, MaxTarget)
		}
		out = append(out, v...)
		return true, nil
	})
	return out, err
}

// putInline stores p, at most MaxTarget bytes, in inline items.
func putInline(tx *store.Tx, i Ino, p []byte) error {
	for part := 0; part == 0 || len(p) > 0; part++ {
		n := min(len(p), inlinePart)
		if err := tx.Put(inlineKey(i, part), append([]byte(nil), p[:n]...)); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
