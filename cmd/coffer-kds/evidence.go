package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/sim"
)

func newEvidence() *cobra.Command {
	c := &cobra.Command{
		Use: "evidence", Short: "Look into evidence", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newEvidenceShow())
	return c
}

// evidenceFlags are the flags of evidence show.
type evidenceFlags struct{ collateral, policies, time string }

func newEvidenceShow() *cobra.Command {
	var f evidenceFlags
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "Explain evidence: who it is of, what that is worth, and which policies it meets",
		Long: `show verifies evidence as a node does, and explains it. FILE is an SGX quote, bare or
in the form of Open Enclave, a certificate of EGo's attested TLS (PEM), or evidence
as the protocol has it (JSON, or the data of an SGX quote with its collateral).

Intel's collateral is in the evidence or comes with --collateral: the JSON that
services for quotes give. Without it nothing is verified; then show says what the
evidence claims, and fails.

A file of policies has one a line; empty lines and lines with # are left out.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return showEvidence(c, args[0], f) },
	}
	c.Flags().StringVar(&f.collateral, "collateral", "", "file with Intel's collateral, JSON")
	c.Flags().StringVar(&f.policies, "policies", "", "file with policies to try, one a line")
	c.Flags().StringVar(&f.time, "time", "", "time to verify at, like 2026-01-31T12:00:00Z (default now)")
	return c
}

// showEvidence reads everything before it prints anything.
func showEvidence(c *cobra.Command, path string, f evidenceFlags) error {
	at, err := f.at()
	if err != nil {
		return err
	}
	policies, err := readPolicies(f.policies)
	if err != nil {
		return err
	}
	e, err := f.read(path)
	if err != nil {
		return err
	}
	verdict, err := e.verify(c.Context(), at)
	out := c.OutOrStdout()
	if err != nil {
		printClaims(out, e)
		return &failure{exitEvidence, fmt.Errorf("%s: %w", path, err), e.hint(err)}
	}
	printVerdict(out, e, verdict)
	printPolicies(out, policies, verdict.Identity, at)
	return nil
}

// read reads evidence with its collateral.
func (f evidenceFlags) read(path string) (evidence, error) {
	e, err := readEvidence(path)
	if err == nil && f.collateral != "" {
		e.collateral, err = readCollateral(f.collateral)
	}
	return e, err
}

func (f evidenceFlags) at() (time.Time, error) {
	if f.time == "" {
		return time.Now(), nil
	}
	at, err := time.Parse(time.RFC3339, f.time)
	if err != nil {
		return at, &failure{exitUsage, fmt.Errorf("--time %q is not a time", f.time), "write it like 2026-01-31T12:00:00Z"}
	}
	return at, nil
}

// verify verifies evidence at a time. Of a simulated enclave there is an
// identity and nothing else.
func (e evidence) verify(ctx context.Context, at time.Time) (dcap.Verdict, error) {
	if e.simulated != nil {
		r, err := sim.Verifier{}.Verify(ctx, *e.simulated)
		return dcap.Verdict{Report: r}, err
	}
	if e.collateral == nil {
		return dcap.Verdict{}, fmt.Errorf("%w: there is no collateral", attest.ErrEvidence)
	}
	v := dcap.New(dcap.Options{Now: func() time.Time { return at }})
	if e.certificate != nil {
		return v.Certificate(ctx, e.certificate, *e.collateral)
	}
	return v.Quote(ctx, e.quote, *e.collateral)
}
