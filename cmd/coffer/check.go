package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
)

// checkResult is what a check found: of the volume, and of the files in it.
type checkResult struct {
	Sequence  uint64   `json:"sequence"`
	Segments  int      `json:"segments"`
	Nodes     int64    `json:"nodes"`
	Items     int64    `json:"items"`
	Frames    int64    `json:"frames"`
	Bytes     int64    `json:"sealedBytes"`
	Seconds   float64  `json:"seconds"`
	Damaged   int64    `json:"damaged"`
	Damage    []string `json:"damage"` // the first of them
	hitFiles           // that are hit by these
	Miscounts []string `json:"miscounts"`
	// Not looked at if the volume is damaged.
	Inodes      uint64   `json:"inodes"`
	Directories uint64   `json:"directories"`
	Entries     uint64   `json:"entries"`
	FileBytes   uint64   `json:"fileBytes"`
	ProblemsAll uint64   `json:"problemsAll"`
	Problems    []string `json:"problems"` // the first of them
}

func newCheck() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "check VOLUME",
		Short: "Verify every frame of a volume, and recount what is in use",
		Long: `check reads and verifies every sealed frame that the volume's present state
refers to, recounts from scratch what is in use of each segment, and compares
names, files and sizes with each other. It changes nothing.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], true, func(ctx context.Context, v *coffer.Volume) error {
				r, err := check(ctx, c, v)
				if err == nil || r.foundSomething() {
					err = errors.Join(err, r.print(c.OutOrStdout(), asJSON))
				}
				return volumeError(a[0], err)
			})
		},
	}
	f.register(c)
	f.registerSnapshot(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// errTree: files, names and sizes contradict each other.
var errTree = errors.New("the filesystem contradicts itself")

func check(ctx context.Context, c *cobra.Command, v *coffer.Volume) (checkResult, error) {
	r := checkResult{Damage: []string{}, Miscounts: []string{}, Problems: []string{}}
	begun := time.Now()
	err := r.checkStore(ctx, c, v)
	if err == nil {
		err = r.checkTree(ctx, v)
	}
	r.Seconds = time.Since(begun).Seconds()
	return r, err
}

func (r *checkResult) checkStore(ctx context.Context, c *cobra.Command, v *coffer.Volume) error {
	bar := newBar(c.ErrOrStderr(), "check", 0)
	defer bar.finish()
	rep, err := v.Store().Check(ctx, func(r store.Report) { bar.set(r.Bytes, r.TotalBytes) })
	r.Sequence, r.Segments, r.Nodes, r.Items = rep.Sequence, rep.Segments, rep.Nodes, rep.Items
	r.Frames, r.Bytes, r.Damaged = rep.Frames, rep.Bytes, rep.Damaged
	for _, d := range rep.Damage {
		r.Damage = append(r.Damage, d.String())
	}
	r.hitFiles = findHits(context.WithoutCancel(ctx), v, rep.Damage)
	for _, m := range rep.Miscounts {
		r.Miscounts = append(r.Miscounts, m.String())
	}
	return err
}

func (r *checkResult) checkTree(ctx context.Context, v *coffer.Volume) error {
	rep, err := v.Tree().Check(ctx, nil)
	r.Inodes, r.Directories, r.Entries, r.FileBytes = rep.Inodes, rep.Directories, rep.Entries, rep.Bytes
	r.ProblemsAll = rep.ProblemsAll
	for _, p := range rep.Problems {
		r.Problems = append(r.Problems, p.String())
	}
	if err == nil && rep.ProblemsAll > 0 {
		err = fmt.Errorf("%w %d times, the first: %v", errTree, rep.ProblemsAll, rep.Problems[0])
	}
	return err
}

func (r checkResult) foundSomething() bool {
	return len(r.Damage)+len(r.Miscounts)+len(r.Problems) > 0
}

func (r checkResult) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	p := &printer{w: w}
	for _, what := range r.Damage {
		p.line("%s", what)
	}
	r.hitFiles.print(p)
	for _, what := range slices.Concat(r.Miscounts, r.Problems) {
		p.line("%s", what)
	}
	p.line("checked %d segments, %d nodes, %d items, %d frames, %s in %.1f s: %d damaged, %d miscounted",
		r.Segments, r.Nodes, r.Items, r.Frames, bytesText(r.Bytes), r.Seconds, r.Damaged, len(r.Miscounts))
	if r.Damaged == 0 && len(r.Miscounts) == 0 {
		p.line("checked %d inodes, %d directories, %d entries, %d bytes: %d problems",
			r.Inodes, r.Directories, r.Entries, r.FileBytes, r.ProblemsAll)
	}
	return p.err
}
