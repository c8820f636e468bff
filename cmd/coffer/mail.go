package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/kds/policy"
)

func newMail() *cobra.Command {
	c := &cobra.Command{
		Use: "mail", Short: "Write to enclaves that you have never seen, and read their answers",
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newMailIdentity(), newMailPost(), newMailHeader(), newMailOpen(), newMailReply(), newMailRead())
	return c
}

// clientFlags are those of somebody outside of every enclave: which KDS he
// trusts is his own to say.
type clientFlags struct {
	urls          []string
	constraint    string
	timeoutSec    int
	pccs, loggers string
}

func (f *clientFlags) register(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.urls, "kds.url", nil, "address of the KDS; several are tried in this order (required)")
	c.Flags().StringVar(&f.constraint, "kds.constraint", "", "policy that says which KDS enclaves are trusted (required)")
	c.Flags().IntVar(&f.timeoutSec, "kds.connection.timeout.seconds", defaultTimeoutSec, "how long to wait for the KDS")
	c.Flags().StringVar(&f.pccs, "pccs.url", "", "service with Intel's collateral, if the KDS sends none")
	c.Flags().StringVar(&f.loggers, "log", "warn", "what is logged to standard error: debug, info, warn or error")
}

// client asks for public keys. Simulated nodes are believed only by whom the
// constraint admits nothing else: SEC:INSECURE.
func (f *clientFlags) client() (*kds.Client, error) {
	if len(f.urls) == 0 {
		return nil, usageError("say where it is: COMMAND --kds.url URL", "--kds.url is required")
	}
	if f.constraint == "" {
		return nil, usageError("whom it admits can give you any key it likes: COMMAND --kds.constraint POLICY", "--kds.constraint is required")
	}
	if f.timeoutSec < 1 {
		return nil, usageError("give at least one second", "--kds.connection.timeout.seconds is %d", f.timeoutSec)
	}
	trusted, err := policy.Parse(f.constraint)
	if err != nil {
		return nil, &failure{exitUsage, fmt.Errorf("--kds.constraint: %w", err), ""}
	}
	logger, err := (&enclaveFlags{logLevel: f.loggers}).logger()
	if err != nil {
		return nil, err
	}
	trust := platform.Trust{PCCS: f.pccs, Simulated: trusted.Level() == attest.Insecure}
	return &kds.Client{URL: strings.Join(f.urls, ","), Constraint: trusted, Verifier: trust.Verifier(nil),
		Timeout: time.Duration(f.timeoutSec) * time.Second, Logger: logger}, nil
}

// mailKeys gets the keys that an enclave opens mail with.
func mailKeys(c *cobra.Command, f *enclaveFlags) (*mail.Keys, error) {
	o, err := f.enclaveOptions(c)
	if err != nil {
		return nil, err
	}
	if o.KDSURL == "" {
		return nil, usageError("say where it is: COMMAND --kds.url URL", "--kds.url is required: keys for mail come from a KDS only")
	}
	if o.Config.KDS == nil {
		return nil, &failure{exitConfig, fmt.Errorf("%s has no kds block, which says which KDS is trusted", f.config), "docs/operations.md shows a whole one"}
	}
	return &mail.Keys{From: &kds.Client{URL: o.KDSURL, Constraint: o.Config.KDS.EnclaveConstraint, Platform: o.Platform,
		Verifier: o.Evidence(), Timeout: o.KDSTimeout, Logger: o.Logger}}, nil
}

func newMailIdentity() *cobra.Command {
	return &cobra.Command{
		Use:   "identity FILE",
		Short: "Make an identity to post with, and print its public key",
		Long:  "identity makes FILE if it is not there. Whoever reads the file can post in its name and read the answers.",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			id, err := mail.OpenIdentity(a[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%x\n", id.PublicKey())
			return nil
		},
	}
}

func newMailHeader() *cobra.Command {
	return &cobra.Command{
		Use:   "header MAIL",
		Short: "Show what everybody can read of a letter or reply",
		Long:  "header needs no key. What it shows is a claim: only who opens the mail knows that nobody changed it.",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return withInput(c, a[0], func(r io.Reader) error {
				h, err := mail.ReadHeader(r)
				if err != nil {
					return fmt.Errorf("%s: %w", a[0], err)
				}
				printMailHeader(c.OutOrStdout(), h)
				return nil
			})
		},
	}
}

func printMailHeader(to io.Writer, h mail.Header) {
	fmt.Fprintf(to, "kind %s\nid %s\nsequence %d\ntopic %s\nenvelope %q\nname %s\nmaster key %s, generation %d\npolicy %s\nkey %s\n",
		h.Kind, h.ID, h.Sequence, h.Topic, h.Envelope, h.Spec.Name, h.Spec.MasterKeyType, h.Generation,
		h.Spec.PolicyConstraint.Canonical(), h.Key)
}
