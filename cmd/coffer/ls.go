package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
)

func newLs() *cobra.Command {
	var f enclaveFlags
	var long, asJSON bool
	c := &cobra.Command{
		Use:   "ls VOLUME [PATH]",
		Short: "List a directory of a volume",
		Long:  "ls lists a directory in the order in which its entries were made.",
		Args:  args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error {
			path := "/"
			if len(a) > 1 {
				path = a[1]
			}
			return f.withVolume(c, a[0], true, func(ctx context.Context, v *coffer.Volume) error {
				out := bufio.NewWriter(c.OutOrStdout())
				if asJSON {
					return errors.Join(listJSON(ctx, out, v, path), out.Flush())
				}
				p := &printer{w: out}
				err := list(ctx, v, path, func(r fileResult) error { return p.file(r, long) })
				return errors.Join(err, out.Flush())
			})
		},
	}
	f.register(c)
	f.registerSnapshot(c)
	c.Flags().BoolVarP(&long, "long", "l", false, "show mode, owner, size and time")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// list calls fn for a file, or for each in a directory, which is never in memory
// as a whole.
func list(ctx context.Context, v *coffer.Volume, path string, fn func(fileResult) error) error {
	i, err := v.Stat(path)
	if err != nil {
		return err
	}
	if !i.IsDir() {
		return fn(newFileResult(path, i))
	}
	return readDir(v, path, func(name string, i fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(newFileResult(name, i))
	})
}

func (p *printer) file(r fileResult, long bool) error {
	if long {
		p.line("%s %4d %6d %6d %12d %s %s", r.Mode, r.Links, r.UID, r.GID, r.Size, r.Mtime.Format("2006-01-02 15:04:05"), r.Name)
	} else {
		p.line("%s", r.Name)
	}
	return p.err
}

// listJSON prints an array, one file a line.
func listJSON(ctx context.Context, w io.Writer, v *coffer.Volume, path string) error {
	before := "[\n"
	err := list(ctx, v, path, func(r fileResult) error {
		b, err := json.Marshal(r)
		if err == nil {
			_, err = io.WriteString(w, before+"  "+string(b))
		}
		before = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if before == "[\n" {
		end = "[]\n"
	}
	_, err = io.WriteString(w, end)
	return err
}
