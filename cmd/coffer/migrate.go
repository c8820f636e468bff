package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/migrate"
)

// migrateFlags are those of coffer migrate.
type migrateFlags struct {
	enclaveFlags
	to                            string
	rewrap, asJSON                bool
	rateMiB                       int64
	pause, resume, cancel, status bool
}

// migrateResult is what a migration did: the last event of --json.
type migrateResult struct {
	Event   string  `json:"event"` // "done"
	Found   string  `json:"found"` // how the volume stood before
	Rewrap  bool    `json:"rewrap"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	// CalledOff: the volume is back under the key that it came from.
	CalledOff bool `json:"calledOff"`
}

func newMigrate() *cobra.Command {
	var f migrateFlags
	c := &cobra.Command{
		Use:   "migrate VOLUME [--config OLD] --to NEW",
		Short: "Re-encrypt a volume from an old key spec to a new one",
		Long: `migrate brings a volume from the key that the configuration OLD names to the
key that NEW names, snapshots included. It is run by the new enclave: NEW is what is
measured with it, and it must satisfy both specs. For a volume that was handed over to
the new enclave (coffer handover) OLD is left out.

A volume that is mounted goes on being used: the mount is asked, knows OLD, and must
satisfy both specs; nothing secret passes. If this command is stopped the mount goes
on. --rate bounds the pace; without, the migration gives way to whoever uses the
volume. --pause, --resume and --status do what they say to a migration under way, and
--cancel brings the volume back under the key that it came from, until the last step;
with --config and --to it calls off one that was cut off.

It can be stopped or killed at any moment and run again; the host needs room for two
segments. At the end the old key opens nothing of the volume any more, and nothing
of what was sealed under it is left on the host.

--rewrap replaces the key slot only, and takes no time. It re-encrypts nothing: who has
the old key and a copy of the volume, or of any part of it that was written before,
can still read what is in it, and what is written later too. It is for a change of names
and policies, not for an old key that may be in wrong hands.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			if f.rateMiB < 0 {
				return usageError("an example: --rate 20", "--rate %d is negative", f.rateMiB)
			}
			if f.steers() {
				return f.steer(c, a[0])
			}
			return f.run(c, a[0])
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.to, "to", "", "configuration that names the new key (required to begin)")
	c.Flags().BoolVar(&f.rewrap, "rewrap", false, "replace the key slot only; what was sealed before stays readable with the old key")
	c.Flags().Int64Var(&f.rateMiB, "rate", 0, "MiB per second to re-encrypt at most; 0 is no limit")
	c.Flags().BoolVar(&f.pause, "pause", false, "hold the migration under way")
	c.Flags().BoolVar(&f.resume, "resume", false, "let it go on; with --to also one that was cut off")
	c.Flags().BoolVar(&f.cancel, "cancel", false, "call it off: back to the key that the volume came from")
	c.Flags().BoolVar(&f.status, "status", false, "say how it stands")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print events, one JSON object a line")
	c.MarkFlagsMutuallyExclusive("pause", "resume", "cancel", "status", "rewrap")
	return c
}

// run migrates a volume, or has whoever has it open do so.
func (f *migrateFlags) run(c *cobra.Command, volume string) error {
	if f.to == "" {
		return usageError("name the configuration that it shall be sealed with: COMMAND --to FILE", "--to is required")
	}
	if !f.takeover {
		if client, err := control.Dial(c.Context(), volume); err == nil {
			defer client.Close()
			if f.cancel {
				return f.steerVia(c, client, volume)
			}
			return f.askMount(c, client, volume)
		}
	}
	show, finish := f.shows(c)
	r, err := f.here(c, volume, show)
	finish()
	if err != nil {
		return err
	}
	return f.print(c.OutOrStdout(), r)
}

// here migrates a volume that nobody has open.
func (f *migrateFlags) here(c *cobra.Command, volume string, show func(migrateState)) (migrateResult, error) {
	from, to := f.config, f.to
	if from == "" && (f.rewrap || f.cancel) {
		return migrateResult{}, usageError("name the configuration that the volume is sealed with: COMMAND --config FILE", "--config is required")
	}
	if f.cancel {
		from, to = to, from
	}
	e := f.enclaveFlags
	e.config = to
	o, closeHost, err := e.options(c, volume)
	if err != nil {
		return migrateResult{}, err
	}
	defer closeHost()
	if from == "" {
		r, err := f.handedOver(c, o, volume, show)
		return f.result(r), err
	}
	old := o
	if old.Config, err = oldConfig(from); err != nil {
		return migrateResult{}, err
	}
	r, err := f.between(c, volume, old, o, show)
	return f.result(r), volumeError(volume, err)
}

// result completes one.
func (f *migrateFlags) result(r migrateResult) migrateResult {
	r.Event, r.Rewrap = "done", f.rewrap
	r.CalledOff = r.CalledOff || f.cancel
	return r
}

// between migrates from the configuration of old to that of o.
func (f *migrateFlags) between(c *cobra.Command, volume string, old, o coffer.Options, show func(migrateState)) (r migrateResult, err error) {
	s, err := coffer.NewSecret(c.Context(), o)
	if err != nil {
		return r, err
	}
	defer s.Key.Destroy()
	anchor, every, err := coffer.MigrationAnchor(old, o)
	if err != nil {
		return r, err
	}
	mo := migrate.Options{
		Host: o.Volume, Old: coffer.Unlocker(old), New: s, Rewrap: f.rewrap, Takeover: o.Takeover, Owner: o.Owner, Logger: o.Logger,
	}
	if anchor != nil {
		defer anchor.Close()
		mo.Anchor, mo.AnchorEvery = anchor, every
	}
	sum, err := f.steered(c.Context(), volume, o, show, func(ctx context.Context, steer *migrate.Control, progress func(migrate.Progress)) (migrate.Summary, error) {
		mo.Control, mo.Progress = steer, progress
		return migrate.Run(ctx, mo)
	})
	r.Found, r.Bytes, r.Seconds = sum.Found.String(), sum.Bytes, sum.Took.Seconds()
	return r, err
}

// migrateFunc migrates a volume, steered by a Control, and tells its progress.
type migrateFunc func(context.Context, *migrate.Control, func(migrate.Progress)) (migrate.Summary, error)

// steered runs a migration that other commands can look at and steer.
func (f *migrateFlags) steered(ctx context.Context, volume string, o coffer.Options, show func(migrateState), do migrateFunc) (migrate.Summary, error) {
	m := &migration{}
	err := m.start(migrateRequest{Rewrap: f.rewrap, Rate: f.rateMiB << 20}, func(own context.Context, c *migrate.Control) (migrate.Summary, error) {
		defer context.AfterFunc(ctx, m.task.Cancel)()
		return do(own, c, func(migrate.Progress) { show(m.state(tellFor(volume))) })
	})
	if err != nil {
		return migrate.Summary{}, err
	}
	if s, err := control.Serve(volume, m.handler(volume)); err == nil {
		defer s.Close()
	} else {
		o.Logger.Warn("other commands can't look at this migration", "error", err)
	}
	return m.wait()
}

func oldConfig(path string) (*config.Config, error) {
	cfg, _, err := config.Load(path)
	if err != nil {
		return nil, &failure{exitConfig, err, "--config names the configuration that the volume is sealed with"}
	}
	return cfg, nil
}

// shows says how progress is shown: as events, or by a bar.
func (f *migrateFlags) shows(c *cobra.Command) (show func(migrateState), finish func()) {
	if f.asJSON {
		e := &events{w: c.OutOrStdout()}
		return e.progress, func() {}
	}
	bar := newMigrationBar(c.ErrOrStderr())
	return bar.migration, bar.finish
}

func (f *migrateFlags) print(w io.Writer, r migrateResult) error {
	if f.asJSON {
		return printLine(w, r)
	}
	p := &printer{w: w}
	switch {
	case r.CalledOff:
		p.line("called off: the volume is under the key it came from, after %.1f s", r.Seconds)
	case r.Found == migrate.Finished.String():
		p.line("nothing to do: the volume is under the new key")
	case r.Rewrap:
		p.line("the new key opens the volume; nothing was re-encrypted: whoever has the old key and a copy of the volume,")
		p.line("or of any part of it that was written before, can still read it, and what is written later too")
	default:
		p.line("sealed %s under the new key in %.1f s; the old key opens nothing of it", bytesText(r.Bytes), r.Seconds)
	}
	return p.err
}

// errGoesOn is what a person is told who stops a command that watches a mount.
func errGoesOn(volume string, err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return &failure{exitInterrupted, fmt.Errorf("%w: the migration goes on", err), "coffer migrate " + quote(volume) + " --status, --pause or --cancel"}
}
