package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/migrate"
)

// handoverRequest asks whoever has a volume open to hand it over, or to take that
// back.
type handoverRequest struct {
	Ticket   []byte `json:"ticket,omitempty"`
	Withdraw bool   `json:"withdraw,omitempty"`
}

type handoverResult struct {
	Volume string    `json:"volume"`
	Spec   *kds.Spec `json:"spec,omitempty"` // none if it was withdrawn
}

func newHandover() *cobra.Command {
	var f enclaveFlags
	var ticket string
	var withdraw, asJSON bool
	c := &cobra.Command{
		Use:   "handover VOLUME --ticket FILE",
		Short: "Let the enclaves of another key spec open a volume, by an operator's ticket",
		Long: `handover is for volumes whose key spec is bound to a code hash, which the next
build of the enclave can never meet. It is run by the old enclave: it makes a key
slot that only enclaves of the ticket's spec can open. The new enclave then opens
the volume, with nothing else to be done, and re-encrypts it under its own key;
coffer migrate VOLUME --to NEW does the same at once. Until then both open it.

A volume that is mounted is handed over by the mount. --withdraw takes a handover
back that nobody took up.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			in := handoverRequest{Withdraw: withdraw}
			if !withdraw {
				var err error
				if in.Ticket, err = readShort(ticket, handover.MaxTicketBytes); err != nil {
					return err
				}
			}
			r, err := ask(c, &f, a[0], pathHandover, in, false, volumeService.handOver)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c)
		},
	}
	f.register(c)
	c.Flags().StringVar(&ticket, "ticket", "", "signed ticket; - is standard input")
	c.Flags().BoolVar(&withdraw, "withdraw", false, "take a handover back")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.MarkFlagsOneRequired("ticket", "withdraw")
	c.MarkFlagsMutuallyExclusive("ticket", "withdraw")
	return c
}

func (r handoverResult) print(c *cobra.Command) error {
	w := c.OutOrStdout()
	if r.Spec == nil {
		_, err := fmt.Fprintln(w, "the handover is void: only this enclave's key opens the volume")
		return err
	}
	_, err := fmt.Fprintf(w, "handed over to %s: %s\nit opens the volume now, and so does this enclave until it does\n", r.Spec.MasterKeyType, r.Spec.PolicyConstraint)
	return err
}

func (s volumeService) handOver(ctx context.Context, in handoverRequest) (handoverResult, error) {
	id := s.v.Store().ID()
	r := handoverResult{Volume: fmt.Sprintf("%x", id[:])}
	if in.Withdraw {
		return r, s.v.WithdrawHandover(ctx)
	}
	t, err := s.v.HandOver(ctx, in.Ticket)
	r.Spec = &t.Spec
	return r, err
}

// handedOver re-encrypts a volume that was handed over to this enclave.
func (f *migrateFlags) handedOver(c *cobra.Command, o coffer.Options, volume string, show func(migrateState)) (r migrateResult, err error) {
	o.KeepHandedOver = true
	v, err := coffer.Open(c.Context(), o)
	if err != nil {
		return r, volumeError(volume, err)
	}
	began := time.Now()
	sum, err := f.steered(c.Context(), volume, o, show, func(ctx context.Context, steer *migrate.Control, progress func(migrate.Progress)) (migrate.Summary, error) {
		return v.Reencrypt(ctx, coffer.MigrateOptions{Control: steer, Progress: progress})
	})
	r.Found, r.Bytes, r.Seconds = sum.Found.String(), sum.Bytes, time.Since(began).Seconds()
	return r, withClose(volumeError(volume, err), volumeError(volume, v.Close()))
}
