package main

import (
	"context"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer"
	cofs "github.com/coffer-fs/coffer/fs"
)

// fileResult describes a file of a volume to a program.
type fileResult struct {
	Name   string    `json:"name"`
	Type   string    `json:"type"`
	Mode   string    `json:"mode"`
	Perm   uint32    `json:"permissions"` // as chmod takes them
	UID    uint32    `json:"uid"`
	GID    uint32    `json:"gid"`
	Links  uint32    `json:"links"`
	Inode  uint64    `json:"inode"`
	Size   int64     `json:"sizeBytes"` // of a directory: its entries
	Stored int64     `json:"storedBytes"`
	Atime  time.Time `json:"atime"`
	Mtime  time.Time `json:"mtime"`
	Ctime  time.Time `json:"ctime"`
	Btime  time.Time `json:"btime"`
	Device string    `json:"device,omitempty"`
	Target string    `json:"target,omitempty"`
}

func newFileResult(name string, i fs.FileInfo) fileResult {
	a := i.Sys().(cofs.Attr)
	r := fileResult{
		Name: name, Type: typeName(i.Mode()), Mode: i.Mode().String(), Perm: a.Mode & 0o7777,
		UID: a.UID, GID: a.GID, Links: a.Links, Inode: uint64(a.Ino), Size: a.Size, Stored: a.Bytes,
		Atime: a.Atime, Mtime: a.Mtime, Ctime: a.Ctime, Btime: a.Btime,
	}
	if r.Type == "device" {
		r.Device = deviceName(uint64(a.Rdev))
	}
	return r
}

var typeNames = []struct {
	bit  fs.FileMode
	name string
}{
	{fs.ModeDir, "directory"}, {fs.ModeSymlink, "symlink"}, {fs.ModeNamedPipe, "fifo"},
	{fs.ModeSocket, "socket"}, {fs.ModeDevice, "device"},
}

func typeName(m fs.FileMode) string {
	for _, t := range typeNames {
		if m&t.bit != 0 {
			return t.name
		}
	}
	return "file"
}

func deviceName(rdev uint64) string {
	return strconv.Itoa(int(unix.Major(rdev))) + ":" + strconv.Itoa(int(unix.Minor(rdev)))
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
				return r.print(c.OutOrStdout())
			})
		},
	}
	f.register(c)
	f.registerSnapshot(c)
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

func (r fileResult) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("name    %s", r.Name)
	if r.Target != "" {
		p.line("target  %s", r.Target)
	}
	p.line("type    %s", r.Type)
	if r.Device != "" {
		p.line("device  %s", r.Device)
	}
	p.line("mode    %s (%04o)", r.Mode, r.Perm)
	p.line("owner   %d:%d", r.UID, r.GID)
	p.line("links   %d", r.Links)
	p.line("inode   %d", r.Inode)
	if r.Type == "directory" {
		p.line("size    %d entries", r.Size)
	} else {
		p.line("size    %d bytes, %d stored", r.Size, r.Stored)
	}
	p.line("atime   %s", r.Atime.Format(time.RFC3339Nano))
	p.line("mtime   %s", r.Mtime.Format(time.RFC3339Nano))
	p.line("ctime   %s", r.Ctime.Format(time.RFC3339Nano))
	p.line("btime   %s", r.Btime.Format(time.RFC3339Nano))
	return p.err
}
