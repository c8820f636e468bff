package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/kds/policy"
)

// postFlags say to whom a letter goes and how it looks.
type postFlags struct {
	clientFlags
	identity, out                        string
	to, name, master                     string
	topic, envelope, private, sizePolicy string
}

func newMailPost() *cobra.Command {
	var f postFlags
	c := &cobra.Command{
		Use:   "post FILE --to POLICY",
		Short: "Encrypt a file for every enclave that meets a policy",
		Long: `post asks the KDS for the public key of a key spec and encrypts FILE to it. Every
enclave that meets the policy can open the letter, wherever and whenever it runs.
Without --identity the sender is one whom nobody knows, and no answer can be read.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return postMail(c, a[0], &f) },
	}
	f.register(c)
	c.Flags().StringVar(&f.to, "to", "", "policy of the enclaves that may read it (required)")
	c.Flags().StringVar(&f.name, "name", "mail", "name of the key")
	c.Flags().StringVar(&f.master, "master", string(kds.Cluster), "type of the master key: development, cluster, azure_hsm or pkcs11")
	c.Flags().StringVar(&f.identity, "identity", "", "file with the sender's identity; see coffer mail identity")
	c.Flags().StringVar(&f.topic, "topic", mail.DefaultTopic, "topic: letters, digits and -")
	c.Flags().StringVar(&f.envelope, "envelope", "", "text that everybody reads and nobody can change")
	c.Flags().StringVar(&f.private, "private-header", "", "text that is read before the body, by the same readers")
	c.Flags().StringVar(&f.sizePolicy, "pad", "", "size that a smaller letter is padded to, like 64k")
	c.Flags().StringVarP(&f.out, "output", "o", "-", "file to write the letter to")
	return c
}

func postMail(c *cobra.Command, path string, f *postFlags) error {
	office, err := f.office()
	if err != nil {
		return err
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	to, err := client.Publish(c.Context(), office.To, kds.Mail, 0)
	if err != nil {
		return err
	}
	office.Key, office.Generation = to.Key, to.Generation
	return withInput(c, path, func(body io.Reader) error {
		return withOutput(c, f.out, func(w io.Writer) error {
			_, err := office.Post(w, body, mail.Options{Envelope: []byte(f.envelope), PrivateHeader: []byte(f.private)})
			return err
		})
	})
}

// office is all of a post office but the key.
func (f *postFlags) office() (*mail.PostOffice, error) {
	if f.to == "" {
		return nil, usageError("COMMAND --to POLICY", "--to is required")
	}
	who, err := policy.Parse(f.to)
	if err != nil {
		return nil, &failure{exitUsage, fmt.Errorf("--to: %w", err), ""}
	}
	o := &mail.PostOffice{From: mail.NewIdentity(), Topic: f.topic,
		To: kds.Spec{Name: f.name, MasterKeyType: kds.MasterKeyType(f.master), PolicyConstraint: who}}
	if err := o.To.Check(); err != nil {
		return nil, &failure{exitUsage, err, ""}
	}
	if f.sizePolicy != "" {
		n, err := parsePad(f.sizePolicy)
		if err != nil {
			return nil, err
		}
		o.Size = mail.FixedSize(n)
	}
	if f.identity != "" {
		o.From, err = mail.OpenIdentity(f.identity)
	}
	return o, err
}

// parsePad reads a size to pad to: a number, perhaps with k or m.
func parsePad(s string) (int64, error) {
	var n int64
	var unit string
	count, err := fmt.Sscanf(s, "%d%s", &n, &unit)
	scale, known := map[string]int64{"": 1, "k": 1 << 10, "m": 1 << 20}[unit]
	if count == 0 || err != nil && count != 1 || !known || n < 0 || n > mail.MaxPaddedBytes/scale {
		return 0, usageError("a number of bytes up to 16m, like 64k", "--pad %q is not a size", s)
	}
	return n * scale, nil
}
