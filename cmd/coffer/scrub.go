package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer"
	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// scrubResult is what a pass of scrub saw.
type scrubResult struct {
	Nodes    int64     `json:"nodes"`
	Frames   int64     `json:"frames"`
	Bytes    int64     `json:"sealedBytes"`
	Damaged  int64     `json:"damaged"`
	Damage   []string  `json:"damage"` // the first of them
	Files    []hitFile `json:"files"`  // that are hit by these
	Resumed  bool      `json:"resumed"`
	Complete bool      `json:"complete"`
}

// hitFile is a file that damage hits. Names are empty if none can be found.
type hitFile struct {
	Inode    uint64   `json:"inode"`
	Names    []string `json:"names"`
	Snapshot bool     `json:"snapshot"` // as a snapshot has it
}

func (h hitFile) String() string {
	what := fmt.Sprintf("hit: inode %d", h.Inode)
	if h.Snapshot {
		what += ", as a snapshot has it"
	}
	for _, n := range h.Names {
		what += fmt.Sprintf(", %q", n)
	}
	return what
}

func newScrub() *cobra.Command {
	var f enclaveFlags
	var rate int64
	var restart, asJSON bool
	c := &cobra.Command{
		Use:   "scrub VOLUME",
		Short: "Verify every frame of a volume at leisure, and say which files are hit",
		Long: `scrub reads every frame of the volume from the host, snapshots included, and names
the files that damage hits. It keeps to a rate and to idle priority; it can be
stopped at any moment, and goes on where it was when it is run again.

check does more, and all in one go: it recounts, and compares names and files.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			beIdle()
			return f.withVolume(c, a[0], false, func(ctx context.Context, v *coffer.Volume) error {
				r, err := scrub(ctx, c, v, store.ScrubOptions{BytesPerSecond: rate << 20, Restart: restart})
				if asJSON {
					err = errors.Join(err, printJSON(c.OutOrStdout(), r))
				} else {
					err = errors.Join(err, r.print(c.OutOrStdout()))
				}
				return volumeError(a[0], err)
			})
		},
	}
	f.register(c)
	c.Flags().Int64Var(&rate, "rate", 0, "MiB per second to read at most; default 32, -1 is no limit")
	c.Flags().BoolVar(&restart, "restart", false, "begin anew")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func scrub(ctx context.Context, c *cobra.Command, v *coffer.Volume, o store.ScrubOptions) (scrubResult, error) {
	bar := newBar(c.ErrOrStderr(), "scrub", 0)
	defer bar.finish()
	o.Progress = func(r store.ScrubReport) { bar.set(r.Bytes, r.TotalBytes) }
	rep, err := v.Store().Scrub(ctx, o)
	r := scrubResult{
		Nodes: rep.Nodes, Frames: rep.Frames, Bytes: rep.Bytes, Damaged: rep.Damaged, Damage: []string{},
		Resumed: rep.Resumed, Complete: rep.Complete,
	}
	for _, d := range rep.Damage {
		r.Damage = append(r.Damage, d.String())
	}
	r.Files = hitFiles(context.WithoutCancel(ctx), v, rep.Damage)
	return r, err
}

// hitFiles names the files whose data is damaged, and the first one of each damaged
// node.
func hitFiles(ctx context.Context, v *coffer.Volume, damage []store.Damage) []hitFile {
	files := []hitFile{}
	seen := map[uint64]bool{}
	var inos []cofs.Ino
	for _, d := range damage {
		ino := d.Key.Object & store.MaxObject
		if ino > 0 && d.Part != store.PartPage && !seen[d.Key.Object] {
			seen[d.Key.Object] = true
			files = append(files, hitFile{Inode: ino, Names: []string{}, Snapshot: ino != d.Key.Object})
			inos = append(inos, cofs.Ino(ino))
		}
	}
	if len(files) == 0 {
		return files
	}
	names, _ := v.Tree().Names(ctx, inos...) // what can't be named is told by inode
	for i := range files {
		files[i].Names = append(files[i].Names, names[cofs.Ino(files[i].Inode)]...)
	}
	return files
}

func (r scrubResult) print(w io.Writer) error {
	p := &printer{w: w}
	for _, d := range r.Damage {
		p.line("%s", d)
	}
	for _, f := range r.Files {
		p.line("%v", f)
	}
	state := "to the end"
	if !r.Complete {
		state = "not to the end: run it again"
	}
	p.line("scrubbed %d nodes, %d frames, %s, %s: %d damaged", r.Nodes, r.Frames, bytesText(r.Bytes), state, r.Damaged)
	return p.err
}

// ioprioIdle is the class of whom the disk serves when nobody else wants it.
const ioprioIdle = 3 << 13

// beIdle gives way to everybody else: with the processor and, where the machine's
// scheduler knows it, with the disk. Threads that come later are as those that start
// them.
func beIdle() {
	tasks, _ := os.ReadDir("/proc/self/task") // without it, this thread alone
	for _, t := range tasks {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err != nil {
			continue
		}
		_ = unix.Setpriority(unix.PRIO_PROCESS, tid, 19)
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, 1, uintptr(tid), ioprioIdle) // to be slower is no need
	}
}
