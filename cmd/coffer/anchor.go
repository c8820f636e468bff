package main

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/store"
)

func newAnchor() *cobra.Command {
	c := &cobra.Command{
		Use:   "anchor",
		Short: "Look at what a volume's anchor knows, and give a volume its anchor",
		Long: `An anchor remembers how far a volume has come where the host can't reach it, so
that an older copy, or a second one, is refused. Which one, and how often it is
told, is in the measured configuration.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAnchorShow(), newAnchorAdopt())
	return c
}

// anchorResult is what a volume's anchor knows, and what follows.
type anchorResult struct {
	Anchor  *anchorPoint `json:"anchor"` // null if it knows nothing
	Volume  anchorPoint  `json:"volume"` // as it was found
	Opens   bool         `json:"opens"`
	Verdict string       `json:"verdict"` // why it does not
	Approve string       `json:"approve"` // for the configuration, if it does not
}

// anchorPoint is a point of a volume's history.
type anchorPoint struct {
	Epoch uint64 `json:"epoch"`
	Root  uint64 `json:"root"`
	Batch uint64 `json:"batch"`
	Hash  string `json:"hash"`
}

func pointOf(a store.AnchorState) anchorPoint {
	return anchorPoint{a.Epoch, a.Root, a.Sequence, hex.EncodeToString(a.Hash[:])}
}

func newAnchorShow() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "show VOLUME",
		Short: "Show what the anchor knows of a volume, and whether it opens",
		Long: `show compares a volume with what its anchor knows, and changes nothing. If the
anchor speaks against the volume, it prints the approval that, written into the
anchor block of the measured configuration, lets this copy be opened once.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			o, closeHost, err := f.options(c, a[0])
			if err != nil {
				return err
			}
			defer closeHost()
			report, err := coffer.InspectAnchor(c.Context(), o)
			if err != nil {
				return volumeError(a[0], err)
			}
			r := anchorResultOf(report)
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func anchorResultOf(report store.AnchorReport) anchorResult {
	r := anchorResult{Volume: pointOf(report.Found), Opens: report.Verdict == nil}
	if (report.Anchor != store.AnchorState{}) {
		p := pointOf(report.Anchor)
		r.Anchor = &p
	}
	if !r.Opens {
		r.Verdict, r.Approve = report.Verdict.Error(), hex.EncodeToString(report.Approval[:])
	}
	return r
}

func (r anchorResult) print(c *cobra.Command) error {
	p := &printer{w: c.OutOrStdout()}
	if r.Anchor == nil {
		p.line("anchor     knows nothing of the volume")
	} else {
		p.line("anchor     epoch %d, root %d, batch %d", r.Anchor.Epoch, r.Anchor.Root, r.Anchor.Batch)
	}
	p.line("volume     root %d, batch %d", r.Volume.Root, r.Volume.Batch)
	if r.Opens {
		p.line("verdict    it opens")
		return p.err
	}
	p.line("verdict    refused: %s", r.Verdict)
	p.line("approve    %s", r.Approve)
	return p.err
}

func newAnchorAdopt() *cobra.Command {
	var f enclaveFlags
	c := &cobra.Command{
		Use:   "adopt VOLUME",
		Short: "Give a volume that has no anchor the one of its configuration",
		Long: `adopt is for a volume that was made without an anchor, after one was added to its
configuration. Whatever copy of the volume is found becomes the newest. It does
nothing for a volume that the anchor speaks against.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			o, closeHost, err := f.options(c, a[0])
			if err != nil {
				return err
			}
			defer closeHost()
			if err := coffer.AdoptAnchor(c.Context(), o); err != nil {
				return volumeError(a[0], err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "the anchor goes with %s\n", a[0])
			return err
		},
	}
	f.register(c)
	return c
}

// noAnchor is what it means to have none.
const noAnchor = "none: whoever keeps an older copy of the whole volume can put it back unnoticed"

// anchorText says what the configuration in path has for an anchor.
func anchorText(path string) (name, text string, err error) {
	if path == "" {
		return "unknown", "unknown: it is in the measured configuration (--config FILE). Without one, whoever keeps an older copy of the whole volume can put it back unnoticed", nil
	}
	cfg, _, err := config.Load(path)
	if err != nil {
		return "", "", &failure{exitConfig, err, "docs/operations.md shows a whole one"}
	}
	a := cfg.Anchor
	if a == nil || a.Type == config.AnchorNone {
		return "none", noAnchor, nil
	}
	every := a.Every.String()
	switch a.Every {
	case config.EveryFsync:
		every = "at every fsync"
	case config.AtClose:
		every = "at close only: a session that did not end can be taken back unnoticed"
	default:
		every = "every " + every
	}
	return string(a.Type), string(a.Type) + ", " + every, nil
}
