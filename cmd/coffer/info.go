package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/seal"
)

// infoResult is what is public of a volume. It is the host's word.
type infoResult struct {
	Volume      string     `json:"volume"`
	ID          string     `json:"id"`
	Format      int        `json:"format"`
	Suite       string     `json:"suite"`
	SegmentSize int64      `json:"segmentSizeBytes"`
	Segments    int        `json:"segments"`
	HostBytes   int64      `json:"hostBytes"`
	SpareBytes  int64      `json:"spareBytes"`
	Header      uint64     `json:"headerSequence"`
	Slots       []infoSlot `json:"slots"`
	Anchor      string     `json:"anchor"`
}

type infoSlot struct {
	Generation uint32              `json:"generation"`
	Spec       *coffer.SpecSlot    `json:"spec,omitempty"`
	Machine    *coffer.MachineSlot `json:"machine,omitempty"`
}

func newInfo() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "info VOLUME",
		Short: "Show what is public of a volume; needs no key",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := info(c, a[0])
			if err != nil {
				return volumeError(a[0], err)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			r.print(c.OutOrStdout())
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func info(c *cobra.Command, volume string) (r infoResult, err error) {
	v, err := local.Open(volume)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	_, h, err := store.ReadHeader(c.Context(), v)
	if err != nil {
		return r, err
	}
	segments, err := v.Segments(c.Context())
	if err != nil {
		return r, err
	}
	usage, err := v.Usage(c.Context())
	if err != nil {
		return r, err
	}
	r = infoResult{
		Volume: volume, ID: hex.EncodeToString(h.Volume[:]), Format: seal.FormatVersion, Suite: seal.SuiteAESGCM.String(),
		SegmentSize: int64(1) << h.SegmentShift, Segments: len(segments),
		HostBytes: usage.SegmentBytes + usage.CatalogBytes, SpareBytes: usage.SpareBytes,
		Header: h.Sequence, Anchor: "none",
	}
	for _, s := range h.Slots {
		slot := infoSlot{Generation: s.Generation}
		if slot.Spec, slot.Machine, err = coffer.ParseSlot(store.Slot{Kind: s.Kind, Generation: s.Generation, Descriptor: s.Descriptor}); err != nil {
			return r, err
		}
		r.Slots = append(r.Slots, slot)
	}
	return r, nil
}

func (r infoResult) print(w io.Writer) {
	fmt.Fprintf(w, "volume     %s\nid         %s\nformat     %d, %s\n", r.Volume, r.ID, r.Format, r.Suite)
	fmt.Fprintf(w, "segments   %d of %s\n", r.Segments, bytesText(r.SegmentSize))
	fmt.Fprintf(w, "on host    %s, and %s to be recycled\n", bytesText(r.HostBytes), bytesText(r.SpareBytes))
	for _, s := range r.Slots {
		if s.Spec != nil {
			fmt.Fprintf(w, "sealed for %s, generation %d: %s\n", s.Spec.Spec.MasterKeyType, s.Spec.Generation, s.Spec.Spec.PolicyConstraint)
		} else {
			fmt.Fprintf(w, "sealed for the machine it was made on, to the enclave's %s\n", s.Machine.SealedTo)
		}
	}
	if len(r.Slots) > 1 {
		fmt.Fprintln(w, "migration  begun and not finished: run coffer migrate again")
	}
	fmt.Fprintf(w, "anchor     %s: whoever keeps an older copy of the whole volume can put it back unnoticed\n", r.Anchor)
}
