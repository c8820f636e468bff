package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/kds/keyfile"
	"github.com/coffer-fs/coffer/kds/policy"
)

func newTicket() *cobra.Command {
	c := &cobra.Command{
		Use:   "ticket",
		Short: "Sign, show and verify upgrade tickets",
		Long: `An upgrade ticket lets one enclave hand one volume over to the enclaves of one
key spec: see coffer handover. It is signed with a key that belongs on the
operator's own machine, and whose public half is measured with the enclaves:

  upgrade {
    ticketKey = "..."
  }

A ticket is public, and of no use for anything but what it says.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTicketKey(), newTicketCreate(), newTicketShow(), newTicketVerify())
	return c
}

func newTicketKey() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Make a key that signs tickets, and print what the configuration says of it",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			k, err := keyfile.NewTicket(a[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "upgrade {\n  ticketKey = \"%x\"\n}\n", []byte(k))
			return err
		},
	}
}

// ticketFlags say what a ticket is to say.
type ticketFlags struct {
	key, volume          string
	from, fromCode       string
	to, toPolicy, toType string
	expires              time.Duration
}

func newTicketCreate() *cobra.Command {
	var f ticketFlags
	c := &cobra.Command{
		Use:   "create --key FILE --volume ID --from OLD.json --to NEW.json",
		Short: "Sign a ticket, and print it",
		Long: `create signs a ticket for the volume with that ID (coffer info shows it). OLD.json
and NEW.json are what coffer identity --json printed of the enclave that has the
volume and of the one that is to get it. Instead, --from-code gives a code hash,
and --to-policy and --to-type a key spec.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := f.ticket(time.Now())
			if err != nil {
				return err
			}
			k, err := keyfile.Ticket(f.key)
			if err != nil {
				return err
			}
			b, err := handover.Sign(t, k)
			if err == nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
			}
			return err
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "file with the key that signs, of coffer ticket key (required)")
	c.Flags().StringVar(&f.volume, "volume", "", "ID of the volume (required)")
	c.Flags().StringVar(&f.from, "from", "", "identity of the enclave that has the volume, JSON")
	c.Flags().StringVar(&f.fromCode, "from-code", "", "its code hash")
	c.Flags().StringVar(&f.to, "to", "", "identity of an enclave that is to get it, JSON")
	c.Flags().StringVar(&f.toPolicy, "to-policy", "", "policy of the key spec that is to get it")
	c.Flags().StringVar(&f.toType, "to-type", "", "master key type of that spec")
	c.Flags().DurationVar(&f.expires, "expires", 24*time.Hour, "how long the ticket can be used")
	c.MarkFlagsOneRequired("from", "from-code")
	c.MarkFlagsMutuallyExclusive("from", "from-code")
	c.MarkFlagsOneRequired("to", "to-policy")
	c.MarkFlagsMutuallyExclusive("to", "to-policy")
	c.MarkFlagsRequiredTogether("to-policy", "to-type")
	must(c.MarkFlagRequired("key"))
	must(c.MarkFlagRequired("volume"))
	return c
}

// ticket is what the flags say.
func (f *ticketFlags) ticket(now time.Time) (t handover.Ticket, err error) {
	if f.expires < time.Second {
		return t, usageError("give at least a second", "--expires is %s", f.expires)
	}
	t.Expires = now.Add(f.expires)
	if t.Volume, err = volumeIDFlag(f.volume); err != nil {
		return t, err
	}
	if t.CodeHash, err = f.code(); err != nil {
		return t, err
	}
	t.Spec, err = f.spec()
	return t, err
}

func (f *ticketFlags) code() (attest.Hash, error) {
	if f.from != "" {
		r, err := readIdentity(f.from)
		return r.CodeHash, err
	}
	return fromCodeFlag(f.fromCode)
}

func volumeIDFlag(text string) (id kds.VolumeID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, usageError("coffer info VOLUME shows it", "--volume %q is not the ID of a volume", text)
	}
	return kds.VolumeID(b), nil
}

func fromCodeFlag(text string) (attest.Hash, error) {
	code, err := attest.ParseHash(text)
	if err != nil {
		err = usageError("it has 64 hexadecimal digits", "--from-code: %w", err)
	}
	return code, err
}

func (f *ticketFlags) spec() (kds.Spec, error) {
	if f.to != "" {
		r, err := readIdentity(f.to)
		if err == nil && r.Spec == nil {
			err = usageError("its configuration must have a persistenceKeySpec", "%s: the enclave has no key spec", f.to)
		}
		if err != nil {
			return kds.Spec{}, err
		}
		return *r.Spec, nil
	}
	p, err := policy.Parse(f.toPolicy)
	if err != nil {
		return kds.Spec{}, usageError("", "--to-policy: %w", err)
	}
	return kds.Spec{Name: kds.EnclavePersistence, MasterKeyType: kds.MasterKeyType(f.toType), PolicyConstraint: p}, nil
}

// readIdentity reads what coffer identity --json printed.
func readIdentity(path string) (r identityResult, err error) {
	b, err := readShort(path, handover.MaxTicketBytes)
	if err != nil {
		return r, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, &failure{exitUsage, fmt.Errorf("%s: %w", path, err), "it is what coffer identity --json prints"}
	}
	return r, nil
}

// readShort reads a file of at most so many bytes; - is standard input.
func readShort(path string, most int) ([]byte, error) {
	from := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}

// ticketResult is a ticket, for people and programs.
type ticketResult struct {
	Volume   string    `json:"volume"`
	CodeHash string    `json:"codeHash"`
	Spec     kds.Spec  `json:"spec"`
	Expires  time.Time `json:"expires"`
	Expired  bool      `json:"expired"`
	Key      string    `json:"ticketKey"`
}

func newTicketResult(t handover.Ticket, k ed25519.PublicKey) ticketResult {
	return ticketResult{hex.EncodeToString(t.Volume[:]), string(t.CodeHash), t.Spec, t.Expires, !time.Now().Before(t.Expires), hex.EncodeToString(k)}
}

func (r ticketResult) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("volume   %s", r.Volume)
	p.line("from     the enclave with code hash %s", r.CodeHash)
	p.line("to       %s: %s", r.Spec.MasterKeyType, r.Spec.PolicyConstraint)
	over := ""
	if r.Expired {
		over = ", which is over"
	}
	p.line("expires  %s%s", r.Expires.Format(time.RFC3339), over)
	p.line("signed   with the ticket key %s", r.Key)
	return p.err
}

func newTicketShow() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show TICKET",
		Short: "Show what a ticket says, and whose signature it has",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			b, err := readShort(a[0], handover.MaxTicketBytes)
			if err != nil {
				return err
			}
			t, k, err := handover.ReadTicket(b)
			if err != nil {
				return err
			}
			if r := newTicketResult(t, k); asJSON {
				return printJSON(c.OutOrStdout(), r)
			} else {
				return r.print(c.OutOrStdout())
			}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newTicketVerify() *cobra.Command {
	var configPath, volume, code string
	c := &cobra.Command{
		Use:   "verify TICKET --config FILE",
		Short: "Tell whether an enclave with this configuration would obey a ticket",
		Long: `verify checks a ticket as the enclave with that measured configuration would:
its signature, its time and, if they are given, the volume and the code hash.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			b, err := readShort(a[0], handover.MaxTicketBytes)
			if err != nil {
				return err
			}
			t, err := verifyTicket(b, configPath, volume, code)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "the ticket is right until %s\n", t.Expires.Format(time.RFC3339))
			return err
		},
	}
	c.Flags().StringVar(&configPath, "config", "", "measured configuration of the enclave (required)")
	c.Flags().StringVar(&volume, "volume", "", "ID of the volume that it should be for")
	c.Flags().StringVar(&code, "from-code", "", "code hash that it should be for")
	must(c.MarkFlagRequired("config"))
	return c
}

func verifyTicket(b []byte, configPath, volume, code string) (t handover.Ticket, err error) {
	cfg, err := oldConfig(configPath)
	if err != nil {
		return t, err
	}
	if cfg.Upgrade == nil {
		return t, fmt.Errorf("%s: %w", configPath, coffer.ErrNoTicketKey)
	}
	if t, err = handover.ParseTicket(b, cfg.Upgrade.TicketKey); err != nil {
		return t, err
	}
	id, from := t.Volume, t.CodeHash
	if volume != "" {
		if id, err = volumeIDFlag(volume); err != nil {
			return t, err
		}
	}
	if code != "" {
		if from, err = fromCodeFlag(code); err != nil {
			return t, err
		}
	}
	return t, t.Admits(id, from, time.Now())
}
