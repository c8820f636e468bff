package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/policy"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Short: "Look into policies", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPolicyExplain(), newPolicyCheck())
	return c
}

func newPolicyExplain() *cobra.Command {
	var name, master string
	c := &cobra.Command{
		Use:   "explain POLICY",
		Short: "Say whom a policy admits, and whom it admits by surprise",
		Long: `explain says in words what an enclave must be to meet a policy, and what people
often do not expect of it. It prints the canonical form, from which keys are
derived, and the hash that stands for the key in the audit log.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return explainPolicy(c.OutOrStdout(), args[0], name, kds.MasterKeyType(master))
		},
	}
	c.Flags().StringVar(&name, "name", kds.EnclavePersistence, "name of the key")
	c.Flags().StringVar(&master, "master", string(kds.Cluster), "type of the master key: development, cluster, azure_hsm or pkcs11")
	return c
}

func explainPolicy(to io.Writer, text, name string, t kds.MasterKeyType) error {
	p, err := parsePolicy(text)
	if err != nil {
		return err
	}
	spec := kds.Spec{Name: name, MasterKeyType: t, PolicyConstraint: p}
	if err := spec.Check(); err != nil {
		return &failure{exitUsage, err, ""}
	}
	e := p.Explain()
	fmt.Fprintln(to, "an enclave is admitted if")
	for _, a := range e.Admits {
		fmt.Fprintf(to, "  %s\n", a)
	}
	if len(e.Surprises) > 0 {
		fmt.Fprintln(to, "mind that")
	}
	for _, s := range e.Surprises {
		fmt.Fprintf(to, "  %s\n", s)
	}
	fmt.Fprintf(to, "canonical %s\nkey %x of %s, master key %s\n", p.Canonical(), spec.Hash(), name, t)
	return nil
}

func parsePolicy(text string) (policy.Constraint, error) {
	p, err := policy.Parse(text)
	if err != nil {
		return p, &failure{exitUsage, err, `an example: coffer-kds policy explain "C:HASH SEC:STALE"`}
	}
	return p, nil
}

func newPolicyCheck() *cobra.Command {
	var f evidenceFlags
	var path string
	c := &cobra.Command{
		Use:   "check POLICY --evidence FILE",
		Short: "Say whether evidence meets a policy, and if not, which term it fails",
		Long: `check verifies evidence as a node does, and holds it against a policy. It fails with
exit code 8 if the evidence is valid and does not meet the policy. "coffer-kds
evidence show --help" says what FILE may be.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return checkPolicy(c, args[0], path, f) },
	}
	c.Flags().StringVar(&path, "evidence", "", "file with evidence (required)")
	c.Flags().StringVar(&f.collateral, "collateral", "", "file with Intel's collateral, JSON")
	c.Flags().StringVar(&f.time, "time", "", "time to verify at, like 2026-01-31T12:00:00Z (default now)")
	return c
}

func checkPolicy(c *cobra.Command, text, path string, f evidenceFlags) error {
	if path == "" {
		return &failure{exitUsage, errors.New("--evidence is required"), `see "coffer-kds policy check --help"`}
	}
	p, err := parsePolicy(text)
	if err != nil {
		return err
	}
	at, err := f.at()
	if err != nil {
		return err
	}
	e, err := f.read(path)
	if err != nil {
		return err
	}
	verdict, err := e.verify(c.Context(), at)
	if err != nil {
		return &failure{exitEvidence, fmt.Errorf("%s: %w", path, err), e.hint(err)}
	}
	if err := p.Match(verdict.Identity, at); err != nil {
		return &failure{exitMismatch, fmt.Errorf("%s: %w", path, err), fmt.Sprintf("see %q", "coffer-kds evidence show "+path)}
	}
	fmt.Fprintf(c.OutOrStdout(), "%s meets %s\n", path, p.Canonical())
	return nil
}
