package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
)

// checkResult is what a check found.
type checkResult struct {
	Sequence  uint64   `json:"sequence"`
	Segments  int      `json:"segments"`
	Nodes     int64    `json:"nodes"`
	Items     int64    `json:"items"`
	Frames    int64    `json:"frames"`
	Bytes     int64    `json:"sealedBytes"`
	Seconds   float64  `json:"seconds"`
	Damaged   int64    `json:"damaged"`
	Damage    []string `json:"damage"`
	Miscounts []string `json:"miscounts"`
}

func newCheck() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "check VOLUME",
		Short: "Verify every frame of a volume, and recount what is in use",
		Long: `check reads and verifies every sealed frame that the volume's present state
refers to, and recounts from scratch what is in use of each segment. It changes
nothing.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withVolume(c, a[0], true, func(ctx context.Context, v *coffer.Volume) error {
				r, err := check(ctx, c, v.Store())
				if err == nil || len(r.Damage)+len(r.Miscounts) > 0 {
					if perr := printCheck(c.OutOrStdout(), r, asJSON); perr != nil {
						return errors.Join(err, perr)
					}
				}
				return volumeError(a[0], err)
			})
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func check(ctx context.Context, c *cobra.Command, st *store.Store) (checkResult, error) {
	bar := newBar(c.ErrOrStderr(), "check", 0)
	defer bar.finish()
	begun := time.Now()
	rep, err := st.Check(ctx, func(r store.Report) { bar.set(r.Bytes, r.TotalBytes) })
	r := checkResult{
		Sequence: rep.Sequence, Segments: rep.Segments, Nodes: rep.Nodes, Items: rep.Items, Frames: rep.Frames,
		Bytes: rep.Bytes, Seconds: time.Since(begun).Seconds(), Damaged: rep.Damaged, Damage: []string{}, Miscounts: []string{},
	}
	for _, d := range rep.Damage {
		r.Damage = append(r.Damage, d.String())
	}
	for _, m := range rep.Miscounts {
		r.Miscounts = append(r.Miscounts, m.String())
	}
	return r, err
}

func printCheck(w io.Writer, r checkResult, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	for _, d := range append(r.Damage, r.Miscounts...) {
		fmt.Fprintln(w, d)
	}
	fmt.Fprintf(w, "checked %d segments, %d nodes, %d items, %d frames, %s in %.1f s: %d damaged, %d miscounted\n",
		r.Segments, r.Nodes, r.Items, r.Frames, bytesText(r.Bytes), r.Seconds, r.Damaged, len(r.Miscounts))
	return nil
}
