package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/kds/audit"
)

// readBytes is about how much one transaction reads, so that who appends waits for
// a moment only.
const readBytes = 1 << 20

// Rotate begins a new file, and returns the name that the present one has from
// then on. Nodes may append meanwhile. A file without batches stays.
//
//	link audit.db to audit.db.FIRST; make audit.db.new, with the last batch; rename it to audit.db
//
// After a crash at any point audit.db is the old file or the new one.
func Rotate(ctx context.Context, path string) (old string, err error) {
	err = transact(ctx, path, false, func(db *bbolt.DB) error {
		var first, next uint64
		var text []byte
		err := db.View(func(tx *bbolt.Tx) error {
			if k, _ := tx.Bucket(batchesBucket).Cursor().First(); len(k) == 8 {
				first = binary.BigEndian.Uint64(k)
			}
			next, text = last(tx)
			return nil
		})
		if err != nil || first == 0 {
			return err
		}
		old = fmt.Sprintf("%s.%d", path, first)
		if err := link(path, old); err != nil {
			return err
		}
		if err := create(path+".new", append(number(next), text...)); err != nil {
			return err
		}
		return replace(path+".new", path)
	})
	if err != nil {
		return "", fmt.Errorf("begin a new file of the audit log: %w", err)
	}
	return old, nil
}

// link gives path a second name; that of a try that a crash cut off is right.
func link(path, name string) error {
	err := os.Link(path, name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	a, err := os.Stat(path)
	b, err2 := os.Stat(name)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if !os.SameFile(a, b) {
		return fmt.Errorf("%w: %q is there", fs.ErrExist, name)
	}
	return nil
}

// create makes a file without batches; carried is what the one before it ends with.
func create(path string, carried []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize, NoStatistics: true,
		OpenFile: func(name string, flags int, mode fs.FileMode) (*os.File, error) {
			return os.OpenFile(name, flags|unix.O_EXCL|unix.O_NOFOLLOW, mode)
		}})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		m, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(batchesBucket); err != nil {
			return err
		}
		if carried != nil {
			if err := m.Put(carriedKey, carried); err != nil {
				return err
			}
		}
		return m.Put(formatKey, []byte(format))
	})
	return errors.Join(err, db.Close())
}

// replace renames, durably.
func replace(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// globbed is a path as a pattern that matches it alone.
func globbed(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Is reports whether a file looks like one of a log, rather than like its export.
func Is(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 24)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n == len(head) && binary.LittleEndian.Uint32(head[16:]) == 0xED0CDAED, nil
}

// Batches writes the batches of one file to w, from the one that has the line from
// on, as audit.Verify reads them.
func Batches(ctx context.Context, path string, from uint64, w io.Writer) error {
	for more := true; more; {
		var text []byte
		err := view(ctx, path, func(tx *bbolt.Tx) error {
			c := tx.Bucket(batchesBucket).Cursor()
			k, v := seek(c, from)
			for more = false; k != nil; k, v = c.Next() {
				if len(k) != 8 || len(v) < 4 {
					return fmt.Errorf("%w: %q has a strange record", audit.ErrDamaged, path)
				}
				if len(text) >= readBytes {
					more = true
					return nil
				}
				text = append(text, v[4:]...)
				from = binary.BigEndian.Uint64(k) + uint64(binary.BigEndian.Uint32(v))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// seek finds the batch that has a line.
func seek(c *bbolt.Cursor, line uint64) (k, v []byte) {
	k, v = c.Seek(number(line))
	if len(k) == 8 && binary.BigEndian.Uint64(k) == line {
		return k, v
	}
	if k == nil {
		k, v = c.Last()
	} else if k, v = c.Prev(); k == nil {
		return c.First()
	}
	if len(k) == 8 && len(v) >= 4 && binary.BigEndian.Uint64(k)+uint64(binary.BigEndian.Uint32(v)) <= line {
		return c.Next() // it ends before the line
	}
	return k, v
}

// Next is the number of the line that will follow.
func Next(ctx context.Context, path string) (next uint64, err error) {
	err = view(ctx, path, func(tx *bbolt.Tx) error { next, _ = last(tx); return nil })
	return next, err
}

// Files are the files of the log whose newest one is path, in order.
func Files(path string) ([]string, error) {
	all, err := filepath.Glob(globbed(path) + ".[0-9]*")
	if err != nil {
		return nil, err
	}
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(name[len(path)+1:], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	all = slices.DeleteFunc(all, func(name string) bool { return number(name) == 0 })
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	return append(all, path), nil
}
