package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/policy"
)

func newAuditHead() *cobra.Command {
	trust, pccs := "", ""
	c := &cobra.Command{
		Use:   "head URL",
		Short: "Ask a node how far its audit log is, signed: to be kept elsewhere",
		Long: `head asks a node at its --metrics.listen, verifies that it is what --trust says and
that the key that signs is its own, and prints the signed end of its audit log, one
line. Keep it away from the node's machine: "audit verify --head" shows with it
whether the log was cut off or written anew since.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := policy.Parse(trust)
			if err != nil {
				return &failure{exitUsage, fmt.Errorf("--trust: %w", err), ""}
			}
			return showHead(c, args[0], p, platform.Trust{PCCS: pccs, Simulated: p.Level() == attest.Insecure}.Verifier(nil))
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "what the node must be, as a policy such as \"C:... SEC:STALE\" (required)")
	c.Flags().StringVar(&pccs, "pccs.url", "", "service with Intel's collateral, for quotes that come without it")
	_ = c.MarkFlagRequired("trust")
	return c
}

func showHead(c *cobra.Command, url string, trust policy.Constraint, v attest.Verifier) error {
	s, err := askHead(c.Context(), url)
	if err != nil {
		return &failure{exitCluster, err, "the address is that of --metrics.listen"}
	}
	h, id, err := s.Trusted(c.Context(), v, func(id attest.Identity) error { return trust.Match(id, time.Now()) })
	if err != nil {
		return &failure{exitUntrusted, fmt.Errorf("%s: %w", url, err), "compare --trust with the enclave that the node was started as"}
	}
	fmt.Fprintf(c.ErrOrStderr(), "node %s\nlines %d\nkey %x\n", id, h.Head.Last, []byte(h.Key))
	fmt.Fprintln(c.OutOrStdout(), h)
	return nil
}

func askHead(ctx context.Context, url string) (s audit.Shown, err error) {
	if _, err := kds.ParseURLs(url); err != nil {
		return s, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(url, "/")+"/audit", nil)
	if err != nil {
		return s, err
	}
	a, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return s, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, kds.MaxAnswerBytes))
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("the node answers with status %d", a.StatusCode)
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}
