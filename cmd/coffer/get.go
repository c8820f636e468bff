package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	cofs "github.com/coffer-fs/coffer/fs"
)

func newGet() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "get VOLUME PATH DEST",
		Short: "Copy a file, or a directory with all that is in it, out of a volume",
		Long: `get copies PATH to DEST, - for standard output; into DEST if that is a directory.
Mode and times are kept, and the owner if root does it. A file has its name only
when it is whole: one that was there before is replaced then, and stays if get
fails.`,
		Args: args(cobra.ExactArgs(3)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], true, func(ctx context.Context, v *coffer.Volume) error {
				if a[2] == "-" {
					return cat(ctx, c.OutOrStdout(), v, a[1])
				}
				return get(ctx, c, v, a[1], a[2])
			})
		},
	}
	f.register(c)
	f.registerSnapshot(c)
	return c
}

func get(ctx context.Context, c *cobra.Command, v *coffer.Volume, src, dst string) error {
	dst, err := destination(src, dst)
	if err != nil {
		return err
	}
	i, err := v.Lstat(src)
	if err != nil {
		return err
	}
	size := i.Size()
	if i.IsDir() {
		size = 0 // not known
	}
	g := &getter{ctx: ctx, v: v, bar: newBar(c.ErrOrStderr(), "get", size)}
	defer g.bar.finish()
	err = g.one(src, dst, i)
	if err != nil && g.files > 0 {
		err = fmt.Errorf("%w (%d files were copied before it)", err, g.files)
	}
	return err
}

// destination is where src goes: into dst if that is a directory. Nothing but a
// file is replaced.
func destination(src, dst string) (string, error) {
	i, err := os.Stat(dst)
	switch {
	case err != nil:
		return dst, nil
	case i.IsDir():
		return filepath.Join(dst, path.Base(path.Join("/", src))), nil
	case i.Mode().IsRegular():
		return filepath.EvalSymlinks(dst)
	}
	return "", &failure{exitExists, fmt.Errorf("%q is neither a file nor a directory", dst), "- is standard output"}
}

// getter copies out of a volume.
type getter struct {
	ctx   context.Context
	v     *coffer.Volume
	bar   *bar
	files int // that are on the machine
}

func (g *getter) one(src, dst string, i fs.FileInfo) (err error) {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	switch {
	case i.IsDir():
		return g.dir(src, dst, i)
	case i.Mode().IsRegular():
		err = g.file(src, dst, i)
	case i.Mode()&fs.ModeSymlink != 0:
		err = g.symlink(src, dst, i)
	default:
		return fmt.Errorf("%q is neither a file nor a directory nor a symbolic link", src)
	}
	if err == nil {
		g.files++
	}
	return err
}

// dir copies a directory. One that is there already keeps what it is.
func (g *getter) dir(src, dst string, i fs.FileInfo) error {
	made := os.Mkdir(dst, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	err := readDir(g.v, src, func(name string, child fs.FileInfo) error {
		return g.one(path.Join(src, name), filepath.Join(dst, name), child)
	})
	if err != nil || made != nil {
		return err
	}
	return setAttributes(dst, i)
}

// file copies a file under a name of its own, and gives it the right one when
// it is whole.
func (g *getter) file(src, dst string, i fs.FileInfo) error {
	f, err := os.CreateTemp(filepath.Dir(dst), ".coffer-get-")
	if err != nil {
		return err
	}
	err = errors.Join(cat(g.ctx, io.MultiWriter(f, g.bar), g.v, src), f.Close())
	if err == nil {
		err = setAttributes(f.Name(), i)
	}
	if err == nil {
		err = os.Rename(f.Name(), dst)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (g *getter) symlink(src, dst string, i fs.FileInfo) error {
	target, err := g.v.Readlink(src)
	if err != nil {
		return err
	}
	if i, err := os.Lstat(dst); err == nil && i.Mode()&fs.ModeSymlink != 0 {
		if err := os.Remove(dst); err != nil {
			return err
		}
	}
	if err := os.Symlink(target, dst); err != nil {
		return err
	}
	a := i.Sys().(cofs.Attr)
	if os.Geteuid() == 0 {
		return os.Lchown(dst, int(a.UID), int(a.GID))
	}
	return nil
}

// setAttributes gives a file of this machine those of a file of the volume. Only
// root may give files away, and only then bits count that lend one's identity.
func setAttributes(path string, i fs.FileInfo) error {
	a := i.Sys().(cofs.Attr)
	mode := i.Mode().Perm()
	if os.Geteuid() == 0 {
		mode = i.Mode()
		if err := os.Chown(path, int(a.UID), int(a.GID)); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, a.Mtime)
}
