package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
)

// defaultKeep is how long a point with a name is kept, if nothing else is said, and
// transferKeep one that is there for one transfer.
const (
	defaultKeep  = 30 * 24 * time.Hour
	transferKeep = 7 * 24 * time.Hour
)

func newPoint() *cobra.Command {
	c := &cobra.Command{
		Use:   "point",
		Short: "Keep points of a volume to be sent; needs no key",
		Long: `A point is what a volume was at one instant, as whoever keeps its files can see it:
sealed bytes. Taking one needs no key and copies nothing, and the volume goes on being
written. What is deleted in the volume afterwards goes on taking room on the host while
a point has it: coffer info shows how much.

A snapshot is another thing: it is inside the volume, and needs the key.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPointCreate(), newPointList(), newPointDrop())
	return c
}

func newPointCreate() *cobra.Command {
	var f hostFlags
	var keep time.Duration
	c := &cobra.Command{
		Use:   "create VOLUME NAME",
		Short: "Keep what a volume is now",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withPoints(c.Context(), a[0], func(k host.PointKeeper) error {
				p, err := k.TakePoint(c.Context(), host.PointOptions{Name: a[1], Keep: keep})
				if err != nil {
					return pointError(err)
				}
				defer p.Close()
				_, err = fmt.Fprintf(c.OutOrStdout(), "made point %s, %s\n", a[1], bytesText(pointBytes(p)))
				return err
			})
		},
	}
	f.register(c)
	registerKeep(c, &keep)
	return c
}

func registerKeep(c *cobra.Command, keep *time.Duration) {
	c.Flags().DurationVar(keep, "keep", defaultKeep, "after how long the host may drop a point that has a name; 0: never")
}

func pointBytes(p host.Point) (n int64) {
	for _, s := range p.Contents().Segments {
		n += s.Size
	}
	return n
}

// pointResult is a point for a program to read.
type pointResult struct {
	Name      string     `json:"name"`
	ID        string     `json:"id"`
	Taken     time.Time  `json:"taken"`
	Expires   *time.Time `json:"expires"` // null: never
	HeldBytes int64      `json:"heldBytes"`
	Damaged   bool       `json:"damaged"`
}

func pointResultOf(i host.PointInfo) pointResult {
	r := pointResult{Name: i.Name, ID: i.ID.String(), Taken: i.Taken, HeldBytes: i.HeldBytes, Damaged: i.ID == host.PointID{}}
	if !i.Expires.IsZero() {
		r.Expires = &i.Expires
	}
	return r
}

func (r pointResult) String() string {
	until := "for ever"
	switch {
	case r.Damaged:
		return fmt.Sprintf("%-19s  %10s  %s: damaged, and of no use", "", "", r.Name)
	case r.Expires != nil:
		until = "until " + r.Expires.Format("2006-01-02 15:04:05")
	}
	return fmt.Sprintf("%s  %10s  %s, %s", r.Taken.Format("2006-01-02 15:04:05"), bytesText(r.HeldBytes), r.Name, until)
}

func newPointList() *cobra.Command {
	var f hostFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "list VOLUME",
		Short: "List the points of a volume, and what each keeps of deleted segments",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withPoints(c.Context(), a[0], func(k host.PointKeeper) error {
				list, err := k.Points(c.Context())
				if err != nil {
					return err
				}
				results := make([]pointResult, 0, len(list))
				for _, i := range list {
					results = append(results, pointResultOf(i))
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), results)
				}
				p := &printer{w: c.OutOrStdout()}
				for _, r := range results {
					p.line("%v", r)
				}
				return p.err
			})
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newPointDrop() *cobra.Command {
	var f hostFlags
	c := &cobra.Command{
		Use:   "drop VOLUME NAME...",
		Short: "Drop points, and give back what they alone keep",
		Args:  args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return f.withPoints(c.Context(), a[0], func(k host.PointKeeper) error {
				for _, name := range a[1:] {
					if err := k.DropPoint(c.Context(), name); err != nil {
						return pointError(err)
					}
				}
				return nil
			})
		},
	}
	f.register(c)
	return c
}

// withPoints opens a volume for its points.
func (f hostFlags) withPoints(ctx context.Context, volume string, do func(host.PointKeeper) error) error {
	v, err := f.open(ctx, volume)
	if err != nil {
		return volumeError(volume, err)
	}
	k, err := keeperOf(v)
	if s3.IsURL(volume) {
		err = &failure{exitUsage, errors.New("an object store keeps no points of volumes"), "coffer copy " + quote(volume) + " DIR makes a copy in a directory, and that can be sent"}
	}
	if err == nil {
		err = do(k)
	}
	return volumeError(volume, errors.Join(err, v.Close()))
}

func keeperOf(v host.Volume) (host.PointKeeper, error) {
	if k, ok := v.(host.PointKeeper); ok {
		return k, nil
	}
	return nil, &failure{exitUsage, errors.New("this host keeps no points of volumes"), ""}
}

// pointError tells a point that is not there from a volume that is not, and one that is
// being read from a volume that is written.
func pointError(err error) error {
	switch {
	case errors.Is(err, host.ErrNotFound):
		return &failure{exitNotFound, err, "coffer point list VOLUME"}
	case errors.Is(err, host.ErrInUse):
		return &failure{exitInUse, err, "wait until it has been sent, or stop that"}
	case errors.Is(err, host.ErrExists):
		return &failure{exitExists, err, "choose another name, or drop that one: coffer point drop VOLUME NAME"}
	case errors.Is(err, host.ErrInvalid):
		return &failure{exitUsage, err, "a name has up to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit"}
	}
	return err
}
