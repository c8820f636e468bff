package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/keyfile"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/policy"
)

// personFlags are of the commands that people run at their own machines.
type personFlags struct {
	url, config, trust, key, pccs string
}

func (f *personFlags) add(c *cobra.Command, key, what string) {
	c.Flags().StringVar(&f.url, "url", "", "URL of a node (required)")
	c.Flags().StringVar(&f.config, "config", "", "your own copy of the node's measured configuration (required)")
	c.Flags().StringVar(&f.trust, "trust", "", "what the node must be, as a policy such as \"C:... SEC:STALE\" (required)")
	c.Flags().StringVar(&f.key, key, "", what+" (required)")
	c.Flags().StringVar(&f.pccs, "pccs.url", "", "service with Intel's collateral, for a node whose quotes come without it")
	for _, name := range []string{"url", "config", "trust", key} {
		_ = c.MarkFlagRequired(name)
	}
}

// person is who asks.
func (f *personFlags) person() (cluster.Person, error) {
	c, err := nodeconfig.Load(f.config)
	if err == nil && c.Cluster == nil {
		err = fmt.Errorf("%w: %q has no cluster block", nodeconfig.ErrConfig, f.config)
	}
	if err != nil {
		return cluster.Person{}, &failure{exitConfig, err, ""}
	}
	trust, err := policy.Parse(f.trust)
	if err != nil {
		return cluster.Person{}, &failure{exitUsage, fmt.Errorf("--trust: %w", err), ""}
	}
	// A simulated node is INSECURE, and so refused unless --trust says SEC:INSECURE.
	v := platform.Trust{PCCS: f.pccs, Simulated: trust.Level() == attest.Insecure}.Verifier(nil)
	return cluster.Person{URL: f.url, Config: c, Constraint: trust, Verifier: v}, nil
}

func (f *personFlags) operator() (cluster.Person, ed25519.PrivateKey, error) {
	p, err := f.person()
	if err != nil {
		return p, nil, err
	}
	k, err := keyfile.Operator(f.key)
	if err != nil {
		return p, nil, badKey(f.key, err)
	}
	if !p.Config.Operator(k.Public().(ed25519.PublicKey)) {
		return p, nil, &failure{exitKeyFile, fmt.Errorf("%q is not the key of an operator that %q names", f.key, f.config), ""}
	}
	return p, k, nil
}

func badKey(path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, keyfile.ErrPermissions):
		hint = fmt.Sprintf("chmod 600 %q", path)
	case errors.Is(err, fs.ErrExist):
		hint = "a key is never overwritten: use another file"
	}
	return &failure{exitKeyFile, err, hint}
}

// asked gives an error of a node its exit code.
func asked(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNotTrusted):
		return &failure{exitUntrusted, err, "compare --trust with the enclave that the node was started as"}
	case errors.Is(err, record.ErrShare), errors.Is(err, record.ErrNotCustodian):
		return &failure{exitShare, err, ""}
	case errors.Is(err, kds.ErrUnreachable):
		return &failure{exitCluster, err, "is the node running? does --url name it?"}
	}
	return &failure{exitCluster, err, `"coffer-kds status --url URL" says how the node is`}
}

func newInit() *cobra.Command {
	var f personFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Have the master key of a cluster made, once",
		Long: `init is the birth of a cluster. A node makes the master key in its enclave, shares it
out to the custodians, and shows what is public of it; init verifies the node's
evidence and signs that with the operator's key. A second one fails.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return makeGeneration(c, f, 1) },
	}
	f.add(c, "operator-key", "file of the operator's key")
	return c
}

func newRotate() *cobra.Command {
	var f personFlags
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Have the next generation of a cluster's master key made",
		Long: `rotate has a node make a new generation beside the old ones. When most nodes hold it,
new keys come from it. Old generations are there until they are retired: volumes of
theirs open, and are brought to the new one by "coffer migrate".`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := f.person()
			if err != nil {
				return err
			}
			s, err := p.Status(c.Context())
			if err != nil {
				return asked(err)
			}
			return makeGeneration(c, f, kds.Generation(len(s.Generations))+1)
		},
	}
	f.add(c, "operator-key", "file of the operator's key")
	return c
}

func makeGeneration(c *cobra.Command, f personFlags, want kds.Generation) error {
	p, k, err := f.operator()
	if err != nil {
		return err
	}
	g, id, err := p.Make(c.Context(), want, k)
	if err != nil {
		return asked(err)
	}
	h := g.Hash()
	fmt.Fprintf(c.OutOrStdout(), "cluster %s\ngeneration %d\nrecord %x\ncommitment %x\nnode %s\n", g.Cluster, g.Number, h, []byte(g.Commitment), id)
	return nil
}

func newRetire() *cobra.Command {
	var f personFlags
	var generation uint32
	var text string
	c := &cobra.Command{
		Use:   "retire",
		Short: "End a generation of a cluster's master key",
		Long: `retire has all nodes forget a generation. What was not brought to a newer one before
can never be opened again. What is signed is the record, which init or rotate printed
when the generation was made, and which the audit log of the node that made it has:
whoever answers at --url could say that another one is that generation's.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := hex.DecodeString(text)
			if err != nil || len(h) != len(record.Hash{}) {
				return &failure{exitUsage, fmt.Errorf("--record %q is not a record", text), "init and rotate printed it, and the audit log has it"}
			}
			return retire(c.Context(), f, kds.Generation(generation), record.Hash(h))
		},
	}
	f.add(c, "operator-key", "file of the operator's key")
	c.Flags().Uint32Var(&generation, "generation", 0, "which one (required)")
	c.Flags().StringVar(&text, "record", "", "its record, as init or rotate printed it (required)")
	_ = c.MarkFlagRequired("generation")
	_ = c.MarkFlagRequired("record")
	return c
}

// retire signs what the operator named, and nothing that a node says.
func retire(ctx context.Context, f personFlags, generation kds.Generation, h record.Hash) error {
	p, k, err := f.operator()
	if err != nil {
		return err
	}
	s, err := p.Status(ctx)
	if err != nil {
		return asked(err)
	}
	for _, g := range s.Generations {
		if g.Generation != generation {
			continue
		}
		if g.Hash != hex.EncodeToString(h[:]) {
			return &failure{exitCluster, fmt.Errorf("the node says that the record of generation %d is %.64q, and --record is %x", generation, g.Hash, h),
				"compare --record with what init or rotate printed for that generation"}
		}
		return asked(p.Retire(ctx, h, k))
	}
	return &failure{exitCluster, fmt.Errorf("the node knows no generation %d", generation), ""}
}

func newForget() *cobra.Command {
	var f personFlags
	address := ""
	c := &cobra.Command{
		Use:   "forget",
		Short: "Say that a node of a cluster will not come back",
		Long: `forget takes a lost node out of those who remember how far anchors and orders have
come: most of them must be there for either to change. What only lost nodes
remember is then forgotten: make sure that the store was not set back meanwhile.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			p, k, err := f.operator()
			if err != nil {
				return err
			}
			s, err := p.Status(c.Context())
			if err != nil {
				return asked(err)
			}
			return asked(p.Forget(c.Context(), address, s.Forgotten+1, k))
		},
	}
	f.add(c, "operator-key", "file of the operator's key")
	c.Flags().StringVar(&address, "address", "", "of the lost node, as status shows it (required)")
	_ = c.MarkFlagRequired("address")
	return c
}

func newRecover() *cobra.Command {
	var f personFlags
	c := &cobra.Command{
		Use:   "recover",
		Short: "Give a custodian's share to a node that has no master key",
		Long: `recover is for the custodians of a cluster whose nodes are all lost. Each runs it
against the same node, which waits for shares. It verifies the node's evidence,
opens the custodian's share, checks it, and seals it to that very enclave. With enough
of them the node has the master keys again; others get them from it.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return giveShare(c, f) },
	}
	f.add(c, "custodian-key", "file of the custodian's key")
	return c
}

func giveShare(c *cobra.Command, f personFlags) error {
	p, err := f.person()
	if err != nil {
		return err
	}
	k, err := keyfile.Custodian(f.key)
	if err != nil {
		return badKey(f.key, err)
	}
	who, status, err := p.Recover(c.Context(), k)
	if err != nil {
		return asked(err)
	}
	fmt.Fprintf(c.OutOrStdout(), "custodian %s\n", who)
	for _, s := range status {
		fmt.Fprintf(c.OutOrStdout(), "generation %d: %d of %d shares\n", s.Generation, s.Have, s.Need)
	}
	return nil
}

func newStatus() *cobra.Command {
	url := ""
	c := &cobra.Command{
		Use:   "status",
		Short: "Ask a node of a cluster how it is",
		Long:  `status prints what a node says of itself and its cluster. It is not verified.`,
		Args:  usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := cluster.Person{URL: url}.Status(c.Context())
			if err != nil {
				return asked(err)
			}
			if s.Recovery != nil {
				s.Recovery.Records, s.Recovery.Evidence, s.Recovery.Key = nil, attest.Evidence{}, nil
			}
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(s)
		},
	}
	c.Flags().StringVar(&url, "url", "", "URL of a node (required)")
	_ = c.MarkFlagRequired("url")
	return c
}

func newCustodian() *cobra.Command {
	c := &cobra.Command{
		Use: "custodian", Short: "The key of someone who keeps a share of a cluster's master key", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key, and print its public half",
		Long: `keygen makes a key in FILE, which its owner keeps, and prints what goes into the
configuration. A key that is there already is never overwritten: its public half is printed.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			public, err := keyfile.NewCustodian(args[0])
			if err != nil {
				return badKey(args[0], err)
			}
			fmt.Fprintln(c.OutOrStdout(), public)
			return nil
		},
	})
	return c
}
