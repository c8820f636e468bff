package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// receiveFlags are the flags of receive.
type receiveFlags struct {
	limit        string
	token, abort bool
}

func newReceive() *cobra.Command {
	var f receiveFlags
	c := &cobra.Command{
		Use:   "receive DIR < STREAM",
		Short: "Make or bring up to date a volume of what send wrote; needs no key",
		Long: `receive reads what coffer send wrote from standard input, and makes the volume DIR
of it; or brings DIR, which was received before and not opened for writing since, to a
later point.

DIR is as before until everything has come. If a transfer is cut off what came is kept in
DIR, and receive prints the token with which coffer send goes on; --token prints it again,
and --abort removes what came.

Whether what came is authentic is found out when it is opened, with the key. The volume is
the same one as where it came from: only one of the two may be written from here on.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error { return f.receive(c, a[0]) },
	}
	f.register(c)
	return c
}

func (f *receiveFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.limit, "limit", "", "how large the volume may be, with k, m, g or t; default: what there is room for")
	c.Flags().BoolVar(&f.token, "token", false, "print the token of a transfer that was cut off")
	c.Flags().BoolVar(&f.abort, "abort", false, "remove what came of a transfer that was cut off")
	c.MarkFlagsMutuallyExclusive("token", "abort")
}

func (f receiveFlags) receive(c *cobra.Command, dir string) error {
	switch {
	case f.token:
		return printToken(c, dir)
	case f.abort:
		return transferError(dir, local.DropTransfer(dir))
	case term.IsTerminal(int(os.Stdin.Fd())):
		return usageError("COMMAND <FILE, or from a pipe", "standard input is a terminal, and what is received is not for people to type")
	}
	open, err := f.place(c, dir)
	if err != nil {
		return err
	}
	m, err := transfer.Into(c.Context(), &interruptible{c.Context(), os.Stdin}, open)
	return f.done(c, dir, m, err)
}

// place opens the place for what comes.
func (f receiveFlags) place(c *cobra.Command, dir string) (transfer.Open, error) {
	o := local.ReceiveOptions{Owner: "coffer receive"}
	if f.limit != "" {
		var err error
		if o.MaxBytes, err = config.ParseSize(f.limit); err != nil || o.MaxBytes == 0 {
			return nil, usageError("an example: --limit 10g", "--limit %q: %w", f.limit, config.ErrSize)
		}
	}
	return func(m point.Manifest) (transfer.Place, error) { return local.Receive(c.Context(), dir, m, o) }, nil
}

// done says what came, or how to go on.
func (f receiveFlags) done(c *cobra.Command, dir string, m point.Manifest, err error) error {
	if err == nil {
		_, err = fmt.Fprintf(c.OutOrStdout(), "received %s\n", sentText(m))
		return err
	}
	return transferError(dir, resumable(dir, err))
}

// resumable adds to an error how the transfer goes on, if it does.
func resumable(dir string, err error) error {
	m, at, pendingErr := local.PendingTransfer(dir)
	refused := errors.Is(err, local.ErrOther) || errors.Is(err, local.ErrDiverged) || errors.Is(err, host.ErrInUse) || errors.Is(err, host.ErrExists)
	if pendingErr != nil || refused {
		return err
	}
	code := classify(err).code
	return &failure{code, err, fmt.Sprintf("%s of %s have come; go on with: coffer send VOLUME --resume-token %s | coffer receive %s",
		bytesText(m.Done(at)), bytesText(m.Bytes()), m.Token(at), quote(dir))}
}

func printToken(c *cobra.Command, dir string) error {
	m, at, err := local.PendingTransfer(dir)
	if err != nil {
		return transferError(dir, err)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), m.Token(at))
	return err
}

// transferError names where something was to come to.
func transferError(dir string, err error) error {
	if errors.Is(err, host.ErrNotFound) && !errors.Is(err, local.ErrDiverged) {
		err = &failure{exitNotFound, err, "coffer receive DIR <STREAM begins a transfer"}
	}
	return err
}
