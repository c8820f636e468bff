package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/keyfile"
	"github.com/coffer-fs/coffer/kds/orders"
)

func newOrders() *cobra.Command {
	c := &cobra.Command{
		Use: "orders", Short: "Tell running nodes whom to give nothing any more", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newOrdersKey(), newOrdersSign(), newOrdersSend())
	return c
}

func newOrdersKey() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Make an operator's key, and print the public key for serve --operator",
		Long: `key makes FILE, which belongs on the operator's own machine. A key that is there already
is never overwritten: its public half is printed.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := orders.OperatorKey(args[0])
			if err != nil {
				return badKey(args[0], err)
			}
			fmt.Fprintf(c.OutOrStdout(), "%x\n", k.Public())
			return nil
		},
	}
}

func newOrdersSign() *cobra.Command {
	return &cobra.Command{
		Use:   "sign KEY FILE",
		Short: "Sign orders",
		Long: `sign prints the orders in FILE, JSON, with the signature of the key in KEY:

  {"number": 3, "denyCode": ["HASH"], "denySigner": ["HASH"], "denySpec": ["HASH"], "minEvaluationNumber": 17}

They replace all orders with lower numbers.`,
		Args: usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := keyfile.Operator(args[0])
			if err != nil {
				return badKey(args[0], err)
			}
			b, err := readFile(args[1])
			if err != nil {
				return err
			}
			o, err := orders.ParseUnsigned(b)
			if err != nil {
				return fmt.Errorf("%s: %w", args[1], err)
			}
			signed, err := orders.Sign(o, k)
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "%s\n", signed)
			}
			return err
		},
	}
}

func newOrdersSend() *cobra.Command {
	return &cobra.Command{
		Use:   "send FILE URL",
		Short: "Put signed orders in force on a node",
		Args:  usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := readFile(args[0])
			if err != nil {
				return err
			}
			return sendOrders(c, b, args[1])
		},
	}
}

func sendOrders(c *cobra.Command, signed []byte, url string) error {
	if _, err := kds.ParseURLs(url); err != nil {
		return &failure{exitUsage, err, ""}
	}
	r, err := http.NewRequestWithContext(c.Context(), http.MethodPost, strings.TrimRight(url, "/")+"/orders", bytes.NewReader(signed))
	if err != nil {
		return err
	}
	r.Header.Set(kds.VersionHeader, kds.Version)
	a, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return asked(fmt.Errorf("%w: %w", kds.ErrUnreachable, err))
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, orders.MaxBytes))
	if err != nil {
		return asked(fmt.Errorf("%w: %w", kds.ErrUnreachable, err))
	}
	if a.StatusCode != http.StatusOK {
		return &failure{exitCluster, kds.Refused(a.StatusCode, a.Header, text), ""}
	}
	fmt.Fprintf(c.OutOrStdout(), "in force: %s", text)
	return nil
}
