package salvage

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
)

// writer writes every file under its number. It is the fs.Visitor of a run.
type writer struct {
	*run
	attr   fs.Attr
	known  bool
	isDir  bool
	skip   bool // deleted, and only waiting for it
	file   *os.File
	end    int64 // behind the last byte that is there, or was
	made   bool
	xattrs map[string][]byte
	lostTo fs.Ino // up to here something may be lost of files that are visited
}

// Begin implements fs.Visitor.
func (w *writer) Begin(a fs.Attr, known bool) error {
	w.attr, w.known, w.isDir, w.file, w.end, w.made = a, known, known && a.IsDir(), nil, 0, false
	w.skip = known && a.Links == 0
	w.xattrs = map[string][]byte{}
	if w.skip {
		return nil
	}
	if a.Ino <= w.lostTo {
		w.hits(a.Ino) // the log may have a part of it, and what is lost the rest
	}
	if w.isDir {
		return w.mark()
	}
	if known && a.Type() != unix.S_IFREG && a.Type() != unix.S_IFLNK {
		return w.special()
	}
	return nil
}

// mark notes that there is a directory.
func (w *writer) mark() error {
	f, err := w.dirs.create(number(w.attr.Ino))
	if err != nil {
		return err
	}
	return f.Close()
}

// special makes what has no content.
func (w *writer) special() error {
	d, err := w.shard(w.attr.Ino)
	if err != nil {
		return err
	}
	err = unix.Mknodat(d.fd(), number(w.attr.Ino), w.attr.Type()|0o600, int(w.attr.Rdev))
	if err != nil {
		w.hits(w.attr.Ino)
		w.lost("inode %d: a special file of mode %o, device %d: %v", w.attr.Ino, w.attr.Mode, w.attr.Rdev, err)
		w.skip = true
		return nil
	}
	w.made = true
	return nil
}

// Entries implements fs.Visitor.
func (w *writer) Entries() error {
	if w.isDir || w.skip {
		return nil
	}
	w.isDir = true
	return w.mark()
}

// Xattr implements fs.Visitor.
func (w *writer) Xattr(name string, value []byte) error {
	w.xattrs[name] = value // at most 64 KiB of names, as the filesystem has it
	return nil
}

// Link implements fs.Visitor.
func (w *writer) Link(target string) error {
	if w.skip {
		return nil
	}
	d, err := w.shard(w.attr.Ino)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(target, d.fd(), number(w.attr.Ino)); err != nil {
		w.hits(w.attr.Ino)
		w.lost("inode %d: symbolic link to %q: %v", w.attr.Ino, target, err)
		w.skip = true
		return nil
	}
	w.made = true
	return nil
}

// Data implements fs.Visitor.
func (w *writer) Data(off int64, p []byte) error {
	if w.skip {
		return nil
	}
	if err := w.open(); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(p, off); err != nil {
		return err
	}
	w.summary.Bytes += int64(len(p))
	w.end = max(w.end, off+int64(len(p)))
	return nil
}

func (w *writer) open() error {
	if w.file != nil {
		return nil
	}
	d, err := w.shard(w.attr.Ino)
	if err != nil {
		return err
	}
	w.file, err = d.create(number(w.attr.Ino))
	w.made = err == nil
	return err
}

// Lost implements fs.Visitor.
func (w *writer) Lost(l fs.Loss) error {
	if w.skip && l.Ino == w.attr.Ino && l.Last == l.Ino {
		return nil
	}
	w.hits(l.Ino)
	if l.Last != l.Ino {
		w.hits(l.Last)
		w.lostTo = max(w.lostTo, l.Last) // losses come in the order of files
	}
	if l.Ino == w.attr.Ino && l.Len > 0 {
		w.end = max(w.end, l.Off+l.Len)
	}
	w.lost("%v", l)
	return nil
}

// End implements fs.Visitor.
func (w *writer) End() error {
	if w.isDir || w.skip {
		return nil
	}
	isFile := !w.known || w.attr.Type() == unix.S_IFREG
	if isFile {
		if err := w.finish(); err != nil {
			return err
		}
	}
	if !w.made {
		return nil // a link without its target
	}
	d, err := w.shard(w.attr.Ino)
	if err != nil {
		return err
	}
	w.setAttributes(d, number(w.attr.Ino), w.attr, w.known, w.xattrs)
	w.summary.Files++
	if w.options.Progress != nil {
		w.options.Progress(w.summary)
	}
	return w.ctx.Err()
}

// finish gives a file its size: what is missing at its end is a hole.
func (w *writer) finish() error {
	if err := w.open(); err != nil {
		return err
	}
	size := w.end
	if w.known {
		size = w.attr.Size
	}
	err := w.file.Truncate(size)
	if err != nil {
		w.hits(w.attr.Ino)
		w.lost("inode %d: make it %d bytes long: %v", w.attr.Ino, size, err)
	}
	return w.file.Close()
}
