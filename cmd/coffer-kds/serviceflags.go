package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/orders"
	"github.com/coffer-fs/coffer/kds/server"
)

// What a node keeps in its data directory beside master key and audit log.
const (
	collateralFile = "collateral.json"
	ordersFile     = "orders.json"
)

// serviceFlags are those of serve that bound and watch a node.
type serviceFlags struct {
	pccs           string
	operators      []string
	metrics        string
	rate, identity int
	anchors        int
}

func (f *serviceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.pccs, "pccs.url", "", "service with Intel's collateral, for quotes that come without it")
	c.Flags().StringSliceVar(&f.operators, "operator", nil, "public key of an operator, whose orders count; hexadecimal")
	c.Flags().StringVar(&f.metrics, "metrics.listen", "", "address for metrics and probes; only the operator should reach it")
	c.Flags().IntVar(&f.rate, "rate", server.DefaultRate, "requests a second, in all")
	c.Flags().IntVar(&f.identity, "rate.identity", server.DefaultIdentityRate, "keys a second for one enclave")
	c.Flags().IntVar(&f.anchors, "rate.anchor", server.DefaultAnchorRate, "requests a second for the anchors of one key spec")
}

func (f *serviceFlags) check() error {
	if min(f.rate, f.identity, f.anchors) < 1 {
		return &failure{exitUsage, errors.New("--rate, --rate.identity and --rate.anchor are at least 1"), ""}
	}
	_, err := f.operatorKeys()
	return err
}

func (f *serviceFlags) operatorKeys() ([]ed25519.PublicKey, error) {
	var all []ed25519.PublicKey
	for _, text := range f.operators {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return nil, &failure{exitUsage, fmt.Errorf("--operator %q is not a public key", text), "coffer-kds orders key FILE prints it"}
		}
		all = append(all, b)
	}
	return all, nil
}

// options adds orders, rates and the verifier to a node's options. The orders of
// those count whom the flags name, or the measured configuration.
func (f *serviceFlags) options(ctx context.Context, o *server.Options, p attest.Platform, data string, config *nodeconfig.Config) error {
	memory, err := dcap.OpenMemory(filepath.Join(data, collateralFile))
	if err != nil {
		return err
	}
	trust := platform.Trust{PCCS: f.pccs, Memory: memory}
	operators, err := f.operatorKeys()
	if err != nil {
		return err
	}
	if config != nil {
		operators = append(operators, config.Operators...)
	}
	if len(operators) > 0 {
		o.Orders, err = orders.Open(ctx, orders.File(filepath.Join(data, ordersFile)), operators)
		if err != nil {
			return err
		}
		trust.MinEvaluationNumber = o.Orders.MinEvaluationNumber
	}
	o.Verifier, o.Rate, o.IdentityRate, o.AnchorRate = trust.Verifier(p), f.rate, f.identity, f.anchors
	return nil
}

// monitor serves metrics and probes until the returned function is called.
func (f *serviceFlags) monitor(c *cobra.Command, node *server.Server) (stop func(), err error) {
	if f.metrics == "" {
		return func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(c.Context(), "tcp", f.metrics)
	if err != nil {
		return nil, &failure{exitListen, err, "use another --metrics.listen"}
	}
	h := &http.Server{Handler: node.Monitor(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: server.MaxHeaderBytes}
	done := make(chan struct{})
	go func() { _ = h.Serve(l); close(done) }()
	return func() { _ = h.Close(); <-done }, nil
}
