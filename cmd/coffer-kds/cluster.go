package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/server"
)

const storeFile = "cluster.store"

// clusterFlags are the flags of serve that are for nodes of a cluster.
type clusterFlags struct {
	config     string
	etcd       []string
	etcdTLS    etcdTLS
	nodeListen string
	nodeAddr   string
	peers      []string
}

func (f *clusterFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "measured configuration of the node; required for all master keys but development")
	c.Flags().StringSliceVar(&f.etcd, "etcd", nil, "URLs of the etcd that the nodes of the cluster share; without it the cluster is this node alone")
	f.etcdTLS.add(c)
	c.Flags().StringVar(&f.nodeListen, "node-listen", "", "address to listen on for other nodes")
	c.Flags().StringVar(&f.nodeAddr, "node-address", "", "how other nodes reach it; default the address of --node-listen")
	c.Flags().StringSliceVar(&f.peers, "peer", nil, "addresses of other nodes, beside those in etcd")
}

// check finds what is missing before anything is opened.
func (f *clusterFlags) check(t kds.MasterKeyType) error {
	block, missing := needsConfig(t, nil)
	switch {
	case missing && f.config == "":
		return &failure{exitUsage, fmt.Errorf("--master %s needs --config", t), fmt.Sprintf("use --config FILE, with a %s block", block)}
	case t != kds.Cluster && (len(f.etcd) > 0 || f.nodeListen != "" || f.nodeAddr != "" || len(f.peers) > 0):
		return &failure{exitUsage, errors.New("--etcd, --node-listen, --node-address and --peer are for --master cluster"), ""}
	case len(f.etcd) > 0 && f.nodeListen == "":
		return &failure{exitUsage, errors.New("--etcd needs --node-listen: other nodes get the master keys there"), ""}
	}
	return nil
}

// load reads the measured configuration, nil if there is none.
func (f *clusterFlags) load(t kds.MasterKeyType) (*nodeconfig.Config, error) {
	if f.config == "" {
		return nil, nil
	}
	c, err := nodeconfig.Load(f.config)
	if err == nil {
		if block, missing := needsConfig(t, c); missing {
			err = fmt.Errorf("%w: %q has no %s block", nodeconfig.ErrConfig, f.config, block)
		}
	}
	if err != nil {
		return nil, &failure{exitConfig, err, `see "A cluster" and "Keep the master key in an HSM" in docs/operations.md`}
	}
	return c, nil
}

// openCluster opens the node's hold on the master keys of its cluster.
func (f *clusterFlags) openCluster(c *nodeconfig.Config, p attest.Platform, so server.Options, dir string, log *audit.Log) (*cluster.Node, func(), error) {
	store, err := f.openStore(c, dir)
	if err != nil {
		return nil, nil, err
	}
	o := cluster.Options{Config: c, Platform: p, Verifier: so.Verifier, Store: store, Dir: dir, Audit: log, Orders: so.Orders,
		Address: f.nodeAddr, Peers: f.peers, Logger: so.Logger}
	if f.nodeListen != "" {
		if o.Listener, err = net.Listen("tcp", f.nodeListen); err != nil {
			_ = store.Close()
			return nil, nil, &failure{exitListen, err, "use another --node-listen"}
		}
	}
	closeAll := func() {
		if o.Listener != nil {
			_ = o.Listener.Close()
		}
		_ = store.Close()
	}
	n, err := cluster.Open(o)
	if err != nil {
		closeAll()
		return nil, nil, &failure{exitMaster, err, fmt.Sprintf("if this node runs another build than before, move %q away: it gets the keys from another node", filepath.Join(dir, cluster.SealedFile))}
	}
	if c.Cluster.Threshold == 0 {
		so.Logger.Warn("the cluster has no custodians: if all nodes are lost, every key is lost")
	}
	if p.Mode() == attest.Simulation {
		so.Logger.Warn("the nodes are simulated: the cluster keeps a development master key, and protects nothing")
	}
	return n, closeAll, nil
}

func (f *clusterFlags) openStore(c *nodeconfig.Config, dir string) (kv.Store, error) {
	if len(f.etcd) == 0 {
		s, err := kv.OpenFile(filepath.Join(dir, storeFile))
		if err != nil {
			return nil, &failure{exitStore, err, ""}
		}
		return s, nil
	}
	tls, err := f.etcdTLS.config()
	if err != nil {
		return nil, &failure{exitStore, err, "the files are PEM; --etcd.cert-file and --etcd.key-file belong together"}
	}
	s, err := kv.OpenEtcd(f.etcd, "/coffer/"+c.Cluster.Name+"/", kv.EtcdOptions{TLS: tls})
	if err != nil {
		return nil, &failure{exitStore, fmt.Errorf("etcd %s: %w", strings.Join(f.etcd, ","), err), ""}
	}
	return s, nil
}

// runCluster runs the node beside the listener, and waits for both.
func runCluster(ctx context.Context, n *cluster.Node, serve func(context.Context) error) error {
	if n == nil {
		return serve(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { defer cancel(); done <- n.Run(ctx) }()
	err := serve(ctx)
	cancel()
	return errors.Join(err, <-done)
}
