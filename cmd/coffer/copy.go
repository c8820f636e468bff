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
)

// copyBuffer is how much is copied at once, in bytes.
const copyBuffer = 1 << 20

func newPut() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "put VOLUME SOURCE PATH",
		Short: "Copy a file, or a directory with all that is in it, into a volume",
		Long:  "put copies SOURCE, - for standard input, to PATH in the volume; into PATH if that is a directory.",
		Args:  args(cobra.ExactArgs(3)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], false, func(ctx context.Context, v *coffer.Volume) error {
				return put(ctx, c, v, a[1], a[2])
			})
		},
	}
	f.register(c)
	return c
}

func put(ctx context.Context, c *cobra.Command, v *coffer.Volume, src, dst string) error {
	if src == "-" {
		return putReader(v, c.InOrStdin(), dst, 0o644)
	}
	if i, err := v.Stat(dst); err == nil && i.IsDir() {
		dst = path.Join(dst, filepath.Base(abs(src)))
	}
	bar := newBar(c.ErrOrStderr(), "put", treeSize(src))
	defer bar.finish()
	return filepath.WalkDir(src, func(p string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, p)
		if err != nil {
			return err
		}
		return putOne(v, bar, p, path.Join(dst, filepath.ToSlash(rel)), e)
	})
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

func putOne(v *coffer.Volume, bar *bar, src, dst string, e fs.DirEntry) error {
	i, err := e.Info()
	if err != nil {
		return err
	}
	switch {
	case i.IsDir():
		if err := v.Mkdir(dst, i.Mode()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case i.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(src)
		if err != nil {
			return err
		}
		return v.Symlink(target, dst)
	case !i.Mode().IsRegular():
		return fmt.Errorf("%q is neither a file nor a directory nor a symbolic link", src)
	}
	file, err := os.Open(src)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := putReader(v, io.TeeReader(file, bar), dst, i.Mode().Perm()); err != nil {
		return err
	}
	return v.Chtimes(dst, time.Time{}, i.ModTime())
}

func putReader(v *coffer.Volume, r io.Reader, dst string, perm fs.FileMode) error {
	file, err := v.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{r}, make([]byte, copyBuffer))
	return errors.Join(err, file.Close())
}

func newGet() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "get VOLUME PATH DEST",
		Short: "Copy a file, or a directory with all that is in it, out of a volume",
		Long:  "get copies PATH to DEST, - for standard output; into DEST if that is a directory.",
		Args:  args(cobra.ExactArgs(3)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], true, func(ctx context.Context, v *coffer.Volume) error {
				return get(ctx, c, v, a[1], a[2])
			})
		},
	}
	f.register(c)
	return c
}

func get(ctx context.Context, c *cobra.Command, v *coffer.Volume, src, dst string) error {
	if dst == "-" {
		return cat(c.OutOrStdout(), v, src)
	}
	if i, err := os.Stat(dst); err == nil && i.IsDir() {
		dst = filepath.Join(dst, path.Base(path.Join("/", src)))
	}
	i, err := v.Lstat(src)
	if err != nil {
		return err
	}
	bar := newBar(c.ErrOrStderr(), "get", i.Size())
	defer bar.finish()
	return getOne(ctx, v, bar, src, dst, i)
}

// getOne copies one file, and all below it if it is a directory. A file that
// could not be copied whole is not left behind.
func getOne(ctx context.Context, v *coffer.Volume, bar *bar, src, dst string, i fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case i.IsDir():
		return getDir(ctx, v, bar, src, dst, i)
	case i.Mode()&fs.ModeSymlink != 0:
		target, err := v.Readlink(src)
		if err != nil {
			return err
		}
		return os.Symlink(target, dst)
	case !i.Mode().IsRegular():
		return fmt.Errorf("%q is neither a file nor a directory nor a symbolic link", src)
	}
	file, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, i.Mode().Perm())
	if err != nil {
		return err
	}
	err = errors.Join(cat(io.MultiWriter(file, bar), v, src), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(dst))
	}
	return os.Chtimes(dst, time.Time{}, i.ModTime())
}

func getDir(ctx context.Context, v *coffer.Volume, bar *bar, src, dst string, i fs.FileInfo) error {
	if err := os.Mkdir(dst, i.Mode().Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	es, err := v.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range es {
		child, err := e.Info()
		if err != nil {
			return err
		}
		if err := getOne(ctx, v, bar, path.Join(src, e.Name()), filepath.Join(dst, e.Name()), child); err != nil {
			return err
		}
	}
	return nil
}
