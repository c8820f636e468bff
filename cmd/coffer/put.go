package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
)

// copyBuffer is how much is copied at once, in bytes.
const copyBuffer = 1 << 20

func newPut() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "put VOLUME SOURCE PATH",
		Short: "Copy a file, or a directory with all that is in it, into a volume",
		Long: `put copies SOURCE, - for standard input, to PATH in the volume; into PATH if that
is a directory. Mode, owner and times are kept. A file has its name only when it
is whole: one that was there before is replaced then, and stays if put fails.`,
		Args: args(cobra.ExactArgs(3)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], false, func(ctx context.Context, v *coffer.Volume) error {
				p := &putter{ctx: ctx, v: v}
				if a[1] == "-" {
					return p.stream(c.InOrStdin(), a[2])
				}
				p.bar = newBar(c.ErrOrStderr(), "put", treeSize(a[1]))
				defer p.bar.finish()
				return p.tree(a[1], a[2])
			})
		},
	}
	f.register(c)
	return c
}

// treeSize is how many bytes the files below path have; 0 if that is not known.
func treeSize(path string) (size int64) {
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if i, err := e.Info(); err == nil {
				size += i.Size()
			}
		}
		return nil
	})
	return size
}

// putter copies into a volume.
type putter struct {
	ctx   context.Context
	v     *coffer.Volume
	bar   *bar
	files int // that are in the volume
}

// stream makes a file of what r gives.
func (p *putter) stream(r io.Reader, dst string) error {
	if i, err := p.v.Stat(dst); err == nil && i.IsDir() {
		return fmt.Errorf("put %q: %w", dst, syscall.EISDIR)
	}
	now := time.Now()
	return p.replace(dst, func(temp string) error {
		if err := p.write(temp, &interruptible{p.ctx, r}); err != nil {
			return err
		}
		return p.attributes(temp, attributes{0o644, os.Getuid(), os.Getgid(), now})
	})
}

// tree copies a file, or a directory with all below it.
func (p *putter) tree(src, dst string) error {
	if i, err := p.v.Stat(dst); err == nil && i.IsDir() {
		dst = path.Join(dst, filepath.Base(abs(src)))
	}
	err := p.one(src, dst)
	if err != nil && p.files > 0 {
		err = fmt.Errorf("%w (%d files were copied before it)", err, p.files)
	}
	return err
}

func (p *putter) one(src, dst string) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	i, err := os.Lstat(src)
	if err != nil {
		return err
	}
	switch {
	case i.IsDir():
		return p.dir(src, dst, i)
	case i.Mode().IsRegular():
		err = p.replace(dst, func(temp string) error { return p.file(src, temp, i) })
	case i.Mode()&fs.ModeSymlink != 0:
		err = p.replace(dst, func(temp string) error { return p.symlink(src, temp, i) })
	default:
		return fmt.Errorf("%q is neither a file nor a directory nor a symbolic link", src)
	}
	if err == nil {
		p.files++
	}
	return err
}

// dir copies a directory. One that is there already keeps what it is.
func (p *putter) dir(src, dst string, i fs.FileInfo) error {
	made := p.v.Mkdir(dst, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	es, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range es {
		if err := p.one(filepath.Join(src, e.Name()), path.Join(dst, e.Name())); err != nil {
			return err
		}
	}
	if made != nil {
		return nil
	}
	return p.attributes(dst, attributesOf(i))
}

func (p *putter) file(src, temp string, i fs.FileInfo) error {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.write(temp, io.TeeReader(&stopping{p.ctx, f}, p.bar)); err != nil {
		return err
	}
	return p.attributes(temp, attributesOf(i))
}

func (p *putter) symlink(src, temp string, i fs.FileInfo) error {
	target, err := os.Readlink(src)
	if err != nil {
		return err
	}
	if err := p.v.Symlink(target, temp); err != nil {
		return err
	}
	a := attributesOf(i)
	return p.v.Lchown(temp, a.uid, a.gid)
}

// replace lets make make a file under a name of its own, and gives it the right
// one when it is whole.
func (p *putter) replace(dst string, make func(temp string) error) error {
	temp := path.Join(path.Dir(dst), ".coffer-put-"+rand.Text())
	err := make(temp)
	if err == nil {
		err = p.v.Rename(temp, dst)
	}
	if err == nil {
		return nil
	}
	if undo := p.v.Remove(temp); undo != nil && !errors.Is(undo, fs.ErrNotExist) {
		return fmt.Errorf("%w (and %q is left behind: %w)", named(err, temp, dst), temp, undo)
	}
	return named(err, temp, dst)
}

// named is err about dst, which had the name temp.
func named(err error, temp, dst string) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) && e.Path == temp {
		return &fs.PathError{Op: "put", Path: dst, Err: e.Err}
	}
	return err
}

func (p *putter) write(dst string, r io.Reader) error {
	f, err := p.v.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, copyBuffer))
	return errors.Join(err, f.Close())
}

// attributes are what is kept of a file that is copied.
type attributes struct {
	mode     fs.FileMode
	uid, gid int
	mtime    time.Time
}

// attributesOf are those of a file of this machine.
func attributesOf(i fs.FileInfo) attributes {
	s := i.Sys().(*syscall.Stat_t)
	return attributes{i.Mode(), int(s.Uid), int(s.Gid), i.ModTime()}
}

// attributes sets the owner first: that may clear bits of the mode.
func (p *putter) attributes(path string, a attributes) error {
	if err := p.v.Chown(path, a.uid, a.gid); err != nil {
		return err
	}
	if err := p.v.Chmod(path, a.mode); err != nil {
		return err
	}
	return p.v.Chtimes(path, time.Time{}, a.mtime)
}
