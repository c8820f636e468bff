package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds/attest/platform"
)

// enclaveFlags say which enclave the tool is, and where its KDS is.
type enclaveFlags struct {
	hostFlags
	config, simCPU, enclave string
	kdsURLs                 []string
	kdsTimeoutSec           int
	pccs                    string
	logLevel                string
	takeover                bool
	snapshot                string // of commands that read
}

// defaultTimeoutSec bounds a request to the KDS.
const defaultTimeoutSec = 10

func (f *enclaveFlags) register(c *cobra.Command) {
	f.hostFlags.register(c)
	c.Flags().StringVar(&f.config, "config", "", "measured configuration of the enclave (required)")
	c.Flags().StringVar(&f.simCPU, "sim-cpu", "", "directory of a simulated CPU to run on; made if it is not there")
	c.Flags().StringVar(&f.enclave, "enclave", "", "file that says who signed the simulated enclave")
	c.Flags().StringSliceVar(&f.kdsURLs, "kds.url", nil, "address of the KDS; several are tried in this order")
	c.Flags().IntVar(&f.kdsTimeoutSec, "kds.connection.timeout.seconds", defaultTimeoutSec, "how long to wait for the KDS")
	c.Flags().StringVar(&f.pccs, "pccs.url", "", "service with Intel's collateral, for a KDS whose quotes come without it")
	c.Flags().StringVar(&f.logLevel, "log", "warn", "what is logged to standard error: debug, info, warn or error")
	c.Flags().BoolVar(&f.takeover, "takeover", false, "take the volume from whoever holds it")
}

// registerSnapshot is for commands that read.
func (f *enclaveFlags) registerSnapshot(c *cobra.Command) {
	c.Flags().StringVar(&f.snapshot, "snapshot", "", "read what the snapshot of that name holds")
}

// registerMail is for what needs an enclave and no volume.
func (f *enclaveFlags) registerMail(c *cobra.Command) {
	f.register(c)
	_ = c.Flags().MarkHidden("takeover")
}

// options reads the configuration and starts the enclave. The volume, if one is
// named, is opened; the caller closes it.
func (f *enclaveFlags) options(c *cobra.Command, volume string) (coffer.Options, func() error, error) {
	o, err := f.enclaveOptions(c)
	if err != nil {
		return o, nil, err
	}
	if o.Config.PersistentFileSystemSize == 0 {
		return o, nil, fmt.Errorf("%s: %w", f.config, coffer.ErrNotConfigured)
	}
	v, err := f.open(c.Context(), volume)
	if err != nil {
		return o, nil, volumeError(volume, err)
	}
	o.Volume = v
	return o, v.Close, nil
}

func (f *enclaveFlags) enclaveOptions(c *cobra.Command) (coffer.Options, error) {
	var o coffer.Options
	if f.config == "" {
		return o, usageError("every enclave has a measured configuration: COMMAND --config FILE", "--config is required")
	}
	if c.Flags().Changed("kds.connection.timeout.seconds") && len(f.kdsURLs) == 0 {
		return o, usageError("give both, or none: COMMAND --kds.url URL", "the flag --kds.connection.timeout.seconds must be used with --kds.url")
	}
	if f.kdsTimeoutSec < 1 {
		return o, usageError("give at least one second", "--kds.connection.timeout.seconds is %d", f.kdsTimeoutSec)
	}
	logger, err := f.logger()
	if err != nil {
		return o, err
	}
	o = coffer.Options{
		KDSURL: strings.Join(f.kdsURLs, ","), KDSTimeout: time.Duration(f.kdsTimeoutSec) * time.Second, PCCSURL: f.pccs,
		Owner: c.CommandPath(), Logger: logger, Takeover: f.takeover, Snapshot: f.snapshot, VolumeOnly: true,
		KeepHandedOver: true, // but for those that keep a volume open
	}
	if o.Config, err = loadConfig(f.config, logger); err != nil {
		return o, err
	}
	o.Platform, err = openPlatform(platform.Options{CPU: f.simCPU, EnclaveFile: f.enclave, Config: o.Config.Raw()})
	return o, err
}

func loadConfig(path string, logger *slog.Logger) (*config.Config, error) {
	cfg, warnings, err := config.Load(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &failure{exitConfig, err, "docs/operations.md shows a whole one"}
		}
		return nil, err
	}
	for _, w := range warnings {
		logger.Warn(w, "config", path)
	}
	return cfg, nil
}

// openPlatform is SGX unless a simulated CPU is named: never the other way.
func openPlatform(o platform.Options) (p coffer.Platform, err error) {
	kind := platform.SGX
	if o.CPU != "" {
		kind = platform.Sim
	} else if o.EnclaveFile != "" {
		return nil, usageError("COMMAND --sim-cpu DIR", "--enclave is for simulated enclaves only")
	}
	p, err = platform.Open(kind, o)
	if err != nil {
		return nil, &failure{exitPlatform, err, classify(err).hint}
	}
	return p, nil
}

func (f *enclaveFlags) logger() (*slog.Logger, error) { return newLogger(f.logLevel) }

func newLogger(logLevel string) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(logLevel)); err != nil {
		return nil, usageError("it is debug, info, warn or error", "--log %q is not a level", logLevel)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
}

// withVolume opens a volume's filesystem, calls fn, and closes it.
func (f *enclaveFlags) withVolume(c *cobra.Command, volume string, readOnly bool, fn func(context.Context, *coffer.Volume) error) error {
	return f.withOptions(c, volume, readOnly, func(ctx context.Context, v *coffer.Volume, _ coffer.Options) error { return fn(ctx, v) })
}

// withOptions is withVolume for who needs what the volume was opened with too.
func (f *enclaveFlags) withOptions(c *cobra.Command, volume string, readOnly bool, fn func(context.Context, *coffer.Volume, coffer.Options) error) error {
	o, closeHost, err := f.options(c, volume)
	if err != nil {
		return err
	}
	defer closeHost()
	o.ReadOnly = readOnly
	v, err := coffer.Open(c.Context(), o)
	if err != nil {
		return volumeError(volume, err)
	}
	err = fn(c.Context(), v, o)
	return withClose(err, volumeError(volume, v.Close()))
}

// must is for what only a defect of this program can make fail.
func must(err error) {
	if err != nil {
		panic("coffer: " + err.Error())
	}
}

// abs is a path that means the same in every directory.
func abs(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}
