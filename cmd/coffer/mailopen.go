package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds/mail"
)

func newMailOpen() *cobra.Command {
	var f enclaveFlags
	var out string
	c := &cobra.Command{
		Use:   "open LETTER",
		Short: "Open a letter, as an enclave that meets its policy",
		Long: `open gets the key from the KDS and writes what was posted. With --output it prints
the header and the sender's public key; the file appears when the whole letter is
verified. To standard output a letter is written as it is read: it is whole only if
open ends with 0.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return openMail(c, a[0], &f, func(l *mail.Letter) error {
				err := withOutput(c, out, func(w io.Writer) error { _, err := io.Copy(w, l.Body); return err })
				if err == nil && out != "-" {
					printMailHeader(c.OutOrStdout(), l.Header)
					fmt.Fprintf(c.OutOrStdout(), "sender %x\nprivate header %q\n", l.Sender, l.PrivateHeader)
				}
				return err
			})
		},
	}
	f.registerMail(c)
	c.Flags().StringVarP(&out, "output", "o", "-", "file to write the body to")
	return c
}

// openMail opens a letter with the keys of the enclave that the flags describe.
func openMail(c *cobra.Command, path string, f *enclaveFlags, fn func(*mail.Letter) error) error {
	keys, err := mailKeys(c, f)
	if err != nil {
		return err
	}
	return withInput(c, path, func(r io.Reader) error {
		l, err := mail.Open(c.Context(), r, keys)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := fn(l); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

func newMailReply() *cobra.Command {
	var f enclaveFlags
	var out, envelope string
	c := &cobra.Command{
		Use:   "reply LETTER FILE",
		Short: "Answer a letter, as an enclave that meets its policy",
		Long:  "reply verifies the whole letter and encrypts FILE for its sender, who need not be there.",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return openMail(c, a[0], &f, func(l *mail.Letter) error {
				if _, err := io.Copy(io.Discard, l.Body); err != nil {
					return err
				}
				return withInput(c, a[1], func(body io.Reader) error {
					return withOutput(c, out, func(w io.Writer) error {
						return l.Reply(w, body, mail.ReplyOptions{Envelope: []byte(envelope)})
					})
				})
			})
		},
	}
	f.registerMail(c)
	c.Flags().StringVar(&envelope, "envelope", "", "text that everybody reads and nobody can change")
	c.Flags().StringVarP(&out, "output", "o", "-", "file to write the reply to")
	return c
}

func newMailRead() *cobra.Command {
	var f clientFlags
	var identity, out string
	c := &cobra.Command{
		Use:   "read REPLY --identity FILE",
		Short: "Read the answer to a letter, as its sender",
		Long: `read opens a reply with the identity that posted the letter. It asks the KDS for
the public key of the spec that the reply names, also if the master key was rotated
since: an answer by anybody who could not open the letter does not open.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return readReply(c, a[0], identity, out, &f) },
	}
	f.register(c)
	c.Flags().StringVar(&identity, "identity", "", "file with the identity that the letter was posted with (required)")
	c.Flags().StringVarP(&out, "output", "o", "-", "file to write the body to")
	return c
}

func readReply(c *cobra.Command, path, identity, out string, f *clientFlags) error {
	if identity == "" {
		return usageError("COMMAND --identity FILE", "--identity is required")
	}
	me, err := mail.OpenIdentity(identity)
	if err != nil {
		return err
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	return withInput(c, path, func(r io.Reader) error {
		reply, err := mail.OpenReplyFrom(c.Context(), r, me, client)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		err = withOutput(c, out, func(w io.Writer) error { _, err := io.Copy(w, reply.Body); return err })
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if out != "-" {
			printMailHeader(c.OutOrStdout(), reply.Header)
		}
		return nil
	})
}
