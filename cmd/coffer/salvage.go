package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/store"
)

// salvageResult is what was salvaged.
type salvageResult struct {
	ID       string `json:"id"`
	Root     uint64 `json:"rootSequence"`
	Place    string `json:"rootPlace"`
	Files    int64  `json:"files"`
	Dirs     int64  `json:"directories"`
	Bytes    int64  `json:"bytes"`
	Nameless int64  `json:"nameless"` // in lost+found
	Damaged  int64  `json:"damagedFiles"`
	Lost     int64  `json:"losses"`
	Changed  int64  `json:"changed"`
	Kept     int64  `json:"snapshotLosses"` // of snapshots alone
	Unproven int    `json:"unprovenSegments"`
	Taken    bool   `json:"unprovenTaken"`
	List     string `json:"list"`
}

// errPartial: the salvage came to its end, and not everything was there.
var errPartial = errors.New("not everything could be salvaged")

func newSalvage() *cobra.Command {
	var f recoverFlags
	c := &cobra.Command{
		Use:   "salvage VOLUME DIR",
		Short: "Copy all that can still be read out of a damaged volume",
		Long: `salvage writes everything of a volume that still authenticates into DIR, which is
made, or empty: the tree into DIR/files, files whose names are lost into
DIR/lost+found, and into DIR/damage.txt a list of what is lost. A part of a file
that can't be read is a hole in it, and in the list. It changes nothing of the
volume, needs no catalog, and works where the volume can't be opened.

With --snapshot it writes what a snapshot has. Otherwise the list also tells what is
lost that snapshots alone need.

If the segment table is damaged, nothing but their own word speaks for some segments.
What is in them is lost then; with --unproven it is taken. A host that kept another
copy of the volume, and let that be written too, can have put segments of it in: what
is salvaged may then be a mix of both, so compare it with what you get without.

Owners are kept if root does it. The exit code says whether everything was
salvaged.`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := runSalvage(c, f, a[0], a[1])
			if err != nil {
				return volumeError(a[0], err)
			}
			if f.asJSON {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				err = r.print(c.OutOrStdout())
			}
			if err == nil && r.Lost > 0 {
				err = volumeError(a[0], fmt.Errorf("%w: see %s", errPartial, r.List))
			}
			return err
		},
	}
	f.register(c)
	f.registerSnapshot(c)
	c.Flags().Uint64Var(&f.root, "root", 0, "begin with the root of that sequence; default the newest that can be read")
	c.Flags().StringVar(&f.id, "id", "", "which volume is meant, if segments of several lie there")
	c.Flags().BoolVar(&f.unproven, "unproven", false, "take segments at their own word that the damaged table does not vouch for")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func runSalvage(c *cobra.Command, f recoverFlags, volume, dir string) (r salvageResult, err error) {
	bar := newBar(c.ErrOrStderr(), "salvage", 0)
	defer bar.finish()
	err = f.withRemains(c, volume, func(x remains) error {
		w, err := store.OpenWreck(c.Context(), x.volume, store.SalvageOptions{Options: x.options, Root: f.root, Volume: x.id, Unproven: f.unproven})
		if err != nil {
			return err
		}
		defer w.Close()
		s, err := salvage.Run(c.Context(), w, dir, salvage.Options{Snapshot: f.snapshot, Progress: func(s salvage.Summary) { bar.set(s.Bytes, 0) }})
		from := w.Summary()
		r = salvageResult{
			ID: hex.EncodeToString(from.Volume[:]), Root: from.RootSequence, Place: from.RootPlace,
			Files: s.Files, Dirs: s.Directories, Bytes: s.Bytes, Nameless: s.Nameless, Damaged: s.Damaged, Lost: s.Lost,
			Changed: s.Changed, Kept: s.Kept, Unproven: len(from.Unproven), Taken: from.Taken, List: filepath.Join(dir, "damage.txt"),
		}
		return err
	})
	return r, err
}

func (r salvageResult) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("volume     %s", r.ID)
	p.line("root       %d, from %s", r.Root, r.Place)
	p.line("salvaged   %d files, %d directories, %s of data; %d of them have lost their name", r.Files, r.Dirs, bytesText(r.Bytes), r.Nameless)
	p.line("lost       %d things, of %d files or more; %d are not as they were", r.Lost, r.Damaged, r.Changed)
	if r.Kept > 0 {
		p.line("snapshots  %d things are lost that they alone need", r.Kept)
	}
	switch {
	case r.Unproven == 0:
	case r.Taken:
		p.line("unproven   %d segments were taken at their own word: some of this may be of another history", r.Unproven)
	default:
		p.line("unproven   %d segments were left, since nothing but their own word speaks for them: --unproven takes them", r.Unproven)
	}
	p.line("list       %s", r.List)
	return p.err
}
