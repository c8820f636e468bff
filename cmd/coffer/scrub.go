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
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/store"
)

// scrubResult is what a pass of scrub saw.
type scrubResult struct {
	Nodes    int64    `json:"nodes"`
	Frames   int64    `json:"frames"`
	Bytes    int64    `json:"sealedBytes"`
	Damaged  int64    `json:"damaged"`
	Damage   []string `json:"damage"` // the first of them
	hitFiles          // that are hit by these
	Resumed  bool     `json:"resumed"`
	Lost     string   `json:"positionLost"`   // why it began anew, if there was a position
	Unkept   string   `json:"positionUnkept"` // why the next one can't go on where this ended
	Complete bool     `json:"complete"`
}

// scrubFlags say how to scrub.
type scrubFlags struct {
	enclaveFlags
	rate                                      int64
	restart, background, status, stop, asJSON bool
}

func (f scrubFlags) request() scrubRequest {
	return scrubRequest{BytesPerSecond: f.rate << 20, Restart: f.restart}
}

func newScrub() *cobra.Command {
	var f scrubFlags
	c := &cobra.Command{
		Use:   "scrub VOLUME",
		Short: "Verify every frame of a volume at leisure, and say which files are hit",
		Long: `scrub reads every frame of the volume from the host, snapshots included, and names
the files that damage hits. It keeps to a rate and to idle priority; it can be
stopped at any moment, and goes on where it was when it is run again.

If the volume is mounted, whoever mounted it scrubs it, beside all that is done
with it, and no --config is needed. If this command is stopped, that goes on:
--status shows how far it is, --stop stops it, and without either it is waited
for again. It goes on where it was, also after the volume was mounted anew.

check does more, and all in one go: it recounts, and compares names and files.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return f.run(c, a[0]) },
	}
	f.register(c)
	c.Flags().Int64Var(&f.rate, "rate", 0, "MiB per second to read at most; default 32, -1 is no limit")
	c.Flags().BoolVar(&f.restart, "restart", false, "begin anew")
	c.Flags().BoolVar(&f.background, "background", false, "of a mounted volume: begin, and do not wait")
	c.Flags().BoolVar(&f.status, "status", false, "of a mounted volume: show how far it is, or what it found")
	c.Flags().BoolVar(&f.stop, "stop", false, "of a mounted volume: stop it")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("background", "status", "stop")
	return c
}

func (f scrubFlags) run(c *cobra.Command, volume string) error {
	if !f.takeover {
		if client, err := control.Dial(c.Context(), volume); err == nil {
			defer client.Close()
			s, err := scrubMounted(c, client, volume, f)
			if err != nil {
				return err
			}
			if f.asJSON {
				err = printJSON(c.OutOrStdout(), s)
			} else {
				err = s.print(&printer{w: c.OutOrStdout()})
			}
			if f.stop {
				return err
			}
			return errors.Join(err, s.err(volume))
		}
	}
	if f.background || f.status || f.stop {
		return usageError("coffer scrub VOLUME --config FILE", "nobody has volume %q mounted: there is no scrub in the background", volume)
	}
	beIdle()
	return f.withVolume(c, volume, false, func(ctx context.Context, v *coffer.Volume) error {
		r, err := scrub(ctx, c, v, store.ScrubOptions{BytesPerSecond: f.rate << 20, Restart: f.restart})
		if f.asJSON {
			err = errors.Join(err, printJSON(c.OutOrStdout(), r))
		} else {
			err = errors.Join(err, r.print(c.OutOrStdout()))
		}
		return volumeError(volume, err)
	})
}

func scrub(ctx context.Context, c *cobra.Command, v *coffer.Volume, o store.ScrubOptions) (scrubResult, error) {
	bar := newBar(c.ErrOrStderr(), "scrub", 0)
	defer bar.finish()
	o.Progress = func(r store.ScrubReport) { bar.set(r.Bytes, r.TotalBytes) }
	rep, err := v.Store().Scrub(ctx, o)
	r := newScrubResult(rep)
	r.hitFiles = findHits(context.WithoutCancel(ctx), v, rep.Damage)
	return r, err
}

func newScrubResult(rep store.ScrubReport) scrubResult {
	r := scrubResult{
		Nodes: rep.Nodes, Frames: rep.Frames, Bytes: rep.Bytes, Damaged: rep.Damaged, Damage: []string{},
		hitFiles: hitFiles{Files: []hitFile{}}, Resumed: rep.Resumed, Complete: rep.Complete,
		Lost: rep.Lost, Unkept: rep.Unkept,
	}
	for _, d := range rep.Damage {
		r.Damage = append(r.Damage, d.String())
	}
	return r
}

func (r scrubResult) print(w io.Writer) error {
	p := &printer{w: w}
	for _, d := range r.Damage {
		p.line("%s", d)
	}
	r.hitFiles.print(p)
	if r.Lost != "" {
		p.line("it began anew: where the last one was could not be read: %s", r.Lost)
	}
	if r.Unkept != "" {
		p.line("the next one may begin further back or anew: how far this came could not be kept: %s", r.Unkept)
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
