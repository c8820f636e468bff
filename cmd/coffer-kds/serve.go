package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/server"
)

const (
	anchorDir = "anchors"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, master, data string
	simCPU, enclave      string
	logLevel             string
	serviceFlags
	audit   auditFlags
	cluster clusterFlags
	hsm     hsmFlags
}

func newServe() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `serve runs a node until it gets SIGTERM or SIGINT, and then finishes what it has begun.
When it is ready, it prints one line, its URL.

A node runs in an SGX enclave. With --sim-cpu it runs on a simulated CPU, which
protects nothing: for development only.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return serve(c, f) },
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8470", "address to listen on; port 0 takes any that is free")
	c.Flags().StringVar(&f.master, "master", "", "type of the master key: development, cluster, azure_hsm or pkcs11 (required)")
	c.Flags().StringVar(&f.data, "data", "", "directory of the master key, the audit log and the anchors (required)")
	c.Flags().StringVar(&f.simCPU, "sim-cpu", "", "directory of a simulated CPU to run on")
	c.Flags().StringVar(&f.enclave, "enclave", "", "file that says who signed the simulated enclave")
	f.cluster.add(c)
	f.audit.add(c)
	f.hsm.add(c)
	c.Flags().StringVar(&f.logLevel, "log", "warn", "what is logged to standard error: debug, info, warn or error")
	f.serviceFlags.register(c)
	return c
}

// serve starts the parts from the inside out, and closes them in reverse.
//
//	flags, configuration, platform, data directory, audit log, master key, anchors, node, listener
func serve(c *cobra.Command, f serveFlags) error {
	logger, err := f.logger()
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	config, err := f.cluster.load(kds.MasterKeyType(f.master))
	if err != nil {
		return err
	}
	p, err := f.platform(config)
	if err != nil {
		return err
	}
	if err := f.measured(p.Mode()); err != nil {
		return err
	}
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	log, closeLog, err := f.audit.open(c.Context(), p, f.data)
	if err != nil {
		return err
	}
	defer closeLog()
	o := server.Options{Platform: p, Audit: log, Logger: logger}
	if err := f.options(c.Context(), &o, p, f.data, config); err != nil {
		return err
	}
	var member *cluster.Node
	if f.ofCluster() {
		node, closeStore, err := f.cluster.openCluster(config, p, o, f.data, log)
		if err != nil {
			return err
		}
		defer closeStore()
		member, o.Masters, o.Routes, o.Anchors = node, []master.Provider{node}, node.Routes(), node.Anchors()
	} else {
		mk, err := f.openMaster(c.Context(), config, p, log, logger)
		if err != nil {
			return err
		}
		o.Masters = []master.Provider{mk}
		anchors, err := openAnchors(filepath.Join(f.data, anchorDir))
		if err != nil {
			return err
		}
		defer anchors.Close()
		o.Anchors = anchors
	}
	defer o.Masters[0].Close()
	node, err := server.New(o)
	if err != nil {
		return &failure{exitPlatform, err, ""}
	}
	stop, err := f.monitor(c, node)
	if err != nil {
		return err
	}
	defer stop()
	tune()
	return runCluster(c.Context(), member, func(ctx context.Context) error { return listen(ctx, c, f.listen, node, p, logger) })
}

// ofCluster reports whether the node is one of a cluster.
func (f serveFlags) ofCluster() bool { return f.master == string(kds.Cluster) }

func (f serveFlags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, &failure{exitUsage, fmt.Errorf("--log %q is not a level", f.logLevel), "it is debug, info, warn or error"}
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
}

func (f serveFlags) check() error {
	switch {
	case f.master == "":
		return &failure{exitUsage, errors.New("--master is required"), "use --master development on a laptop"}
	case f.data == "":
		return &failure{exitUsage, errors.New("--data is required"), "use --data DIR; the directory is made if it is not there"}
	case f.enclave != "" && f.simCPU == "":
		return &failure{exitUsage, errors.New("--enclave is for simulated enclaves only"), "use it together with --sim-cpu DIR"}
	}
	t := kds.MasterKeyType(f.master)
	if err := t.Check(); err != nil {
		return &failure{exitUsage, err, "use --master development on a laptop"}
	}
	if err := f.cluster.check(t); err != nil {
		return err
	}
	if err := f.hsm.check(t); err != nil {
		return err
	}
	return f.serviceFlags.check()
}

// measured refuses what would decide for an enclave and is not measured with it:
// flags and mounted files are the host's.
func (f serveFlags) measured(m attest.Mode) error {
	switch {
	case m == attest.Simulation:
	case f.cluster.config != "" && f.cluster.config != nodeconfig.MeasuredFile:
		return &failure{exitConfig, fmt.Errorf("%w: %q is not measured with the enclave", nodeconfig.ErrConfig, f.cluster.config),
			fmt.Sprintf("embed it as %q, by the files of enclave.json, and use --config %s", nodeconfig.MeasuredFile, nodeconfig.MeasuredFile)}
	case m == attest.Release && len(f.operators) > 0:
		return &failure{exitUsage, errors.New("--operator is not for release enclaves: the host would be the operator"), "name operators in the measured configuration"}
	}
	return nil
}

// platform opens the enclave that the node is; the configuration is measured
// with it.
func (f serveFlags) platform(config *nodeconfig.Config) (attest.Platform, error) {
	kind, o := platform.SGX, platform.Options{}
	if f.simCPU != "" {
		kind, o = platform.Sim, platform.Options{CPU: f.simCPU, EnclaveFile: f.enclave}
	}
	if config != nil {
		o.Config = config.Raw()
	}
	p, err := platform.Open(kind, o)
	if err == nil {
		return p, nil
	}
	hint := ""
	if errors.Is(err, attest.ErrNoEnclave) {
		hint = "start it with EGo, or for development give a simulated CPU with --sim-cpu DIR"
	}
	return nil, &failure{exitPlatform, err, hint}
}

func openAnchors(path string) (*anchor.Dir, error) {
	d, err := anchor.OpenDir(path)
	if err == nil {
		return d, nil
	}
	hint := ""
	if errors.Is(err, anchor.ErrDamaged) {
		hint = "restore that file from a copy: its volume is refused, or rolled back, without it"
	}
	return nil, &failure{exitFailure, err, hint}
}

func listen(ctx context.Context, c *cobra.Command, addr string, node *server.Server, p attest.Platform, logger *slog.Logger) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return &failure{exitListen, err, "use another --listen; port 0 takes any that is free"}
	}
	if self, err := p.Self(); err == nil {
		logger.Info("node starts", "enclave", self, "address", l.Addr().String())
		if self.Mode != attest.Release {
			logger.Warn("this node protects no key from its host", "mode", self.Mode.String())
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "http://%s\n", l.Addr())
	err = node.Serve(ctx, l)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
