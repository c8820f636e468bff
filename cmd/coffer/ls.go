package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	cofs "github.com/coffer-fs/coffer/fs"
)

// fileResult describes a file of a volume to a program.
type fileResult struct {
	Name   string    `json:"name"`
	Type   string    `json:"type"`
	Mode   string    `json:"mode"`
	UID    uint32    `json:"uid"`
	GID    uint32    `json:"gid"`
	Links  uint32    `json:"links"`
	Inode  uint64    `json:"inode"`
	Size   int64     `json:"sizeBytes"`
	Stored int64     `json:"storedBytes"`
	Mtime  time.Time `json:"mtime"`
	Target string    `json:"target,omitempty"`
}

func newFileResult(name string, i fs.FileInfo) fileResult {
	a := i.Sys().(cofs.Attr)
	return fileResult{
		Name: name, Type: typeName(i.Mode()), Mode: i.Mode().String(), UID: a.UID, GID: a.GID,
		Links: a.Links, Inode: uint64(a.Ino), Size: a.Size, Stored: a.Bytes, Mtime: a.Mtime,
	}
}

func typeName(m fs.FileMode) string {
	for bit, name := range map[fs.FileMode]string{
		fs.ModeDir: "directory", fs.ModeSymlink: "symlink", fs.ModeNamedPipe: "fifo",
		fs.ModeSocket: "socket", fs.ModeDevice: "device",
	} {
		if m&bit != 0 {
			return name
		}
	}
	return "file"
}

func newLs() *cobra.Command {
	var f enclaveFlags
	var long, asJSON bool
	c := &cobra.Command{
		Use:   "ls VOLUME [PATH]",
		Short: "List a directory of a volume",
		Args:  args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error {
			path := ""
			if len(a) > 1 {
				path = a[1]
			}
			return f.withVolume(c, a[0], true, func(_ context.Context, v *coffer.Volume) error {
				rs, err := list(v, path)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), rs)
				}
				printList(c.OutOrStdout(), rs, long)
				return nil
			})
		},
	}
	f.register(c)
	c.Flags().BoolVarP(&long, "long", "l", false, "show mode, owner, size and time")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func list(v *coffer.Volume, path string) ([]fileResult, error) {
	i, err := v.Stat(path)
	if err != nil {
		return nil, err
	}
	if !i.IsDir() {
		return []fileResult{newFileResult(path, i)}, nil
	}
	es, err := v.ReadDir(path)
	if err != nil {
		return nil, err
	}
	rs := make([]fileResult, 0, len(es))
	for _, e := range es {
		i, err := e.Info()
		if err != nil {
			return nil, err
		}
		rs = append(rs, newFileResult(e.Name(), i))
	}
	return rs, nil
}

func printList(w io.Writer, rs []fileResult, long bool) {
	for _, r := range rs {
		if long {
			fmt.Fprintf(w, "%s %4d %6d %6d %12d %s ", r.Mode, r.Links, r.UID, r.GID, r.Size, r.Mtime.Format("2006-01-02 15:04:05"))
		}
		fmt.Fprintln(w, r.Name)
	}
}

func newStat() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "stat VOLUME PATH",
		Short: "Describe a file of a volume",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], true, func(_ context.Context, v *coffer.Volume) error {
				r, err := stat(v, a[1])
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), r)
				}
				r.print(c.OutOrStdout())
				return nil
			})
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func stat(v *coffer.Volume, path string) (fileResult, error) {
	i, err := v.Lstat(path)
	if err != nil {
		return fileResult{}, err
	}
	r := newFileResult(path, i)
	if r.Type == "symlink" {
		r.Target, err = v.Readlink(path)
	}
	return r, err
}

func (r fileResult) print(w io.Writer) {
	fmt.Fprintf(w, "name    %s\n", r.Name)
	if r.Target != "" {
		fmt.Fprintf(w, "target  %s\n", r.Target)
	}
	fmt.Fprintf(w, "type    %s\nmode    %s\nowner   %d:%d\nlinks   %d\ninode   %d\nsize    %d bytes, %d stored\nmtime   %s\n",
		r.Type, r.Mode, r.UID, r.GID, r.Links, r.Inode, r.Size, r.Stored, r.Mtime.Format(time.RFC3339Nano))
}
