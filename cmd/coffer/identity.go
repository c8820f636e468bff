package main

import (
	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
)

// identityResult is what an enclave knows of itself. It is public; upgrade tickets
// are made from it.
type identityResult struct {
	CodeHash        attest.Hash `json:"codeHash"`
	SignerHash      attest.Hash `json:"signerHash"`
	ProductID       uint16      `json:"productID"`
	RevocationLevel int32       `json:"revocationLevel"`
	Mode            string      `json:"mode"`
	// Spec is that of its volumes, nil if the configuration names none.
	Spec *kds.Spec `json:"spec,omitempty"`
}

func newIdentity() *cobra.Command {
	var f enclaveFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "identity",
		Short: "Show who this enclave is, and the key spec of its volumes",
		Long: `identity shows what a policy can demand of this enclave, and the key spec that
its configuration gives. All of it is public. coffer ticket create reads what
--json prints. No volume and no KDS is needed.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := f.enclaveOptions(c)
			if err != nil {
				return err
			}
			r, err := identity(o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c)
		},
	}
	f.registerMail(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func identity(o coffer.Options) (identityResult, error) {
	id, err := o.Platform.Self()
	if err != nil {
		return identityResult{}, &failure{exitPlatform, err, ""}
	}
	r := identityResult{CodeHash: id.CodeHash, SignerHash: id.SignerHash, ProductID: id.ProductID,
		RevocationLevel: id.RevocationLevel, Mode: o.Platform.Mode().String()}
	if o.Config.PersistenceKeySpec() != nil {
		spec, err := coffer.Spec(o)
		if err != nil {
			return r, &failure{exitConfig, err, "the enclave can't complete the policy of its configuration"}
		}
		r.Spec = &spec
	}
	return r, nil
}

func (r identityResult) print(c *cobra.Command) error {
	p := &printer{w: c.OutOrStdout()}
	p.line("code hash   %s", r.CodeHash)
	p.line("signer      %s", r.SignerHash)
	p.line("product     %d", r.ProductID)
	p.line("revocation  level %d", r.RevocationLevel)
	p.line("mode        %s", r.Mode)
	if r.Spec == nil {
		p.line("volumes     sealed to the machine: the configuration names no key spec")
	} else {
		p.line("volumes     %s: %s", r.Spec.MasterKeyType, r.Spec.PolicyConstraint)
	}
	return p.err
}
