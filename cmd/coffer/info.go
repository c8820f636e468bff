package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/seal"
)

// infoResult is what is public of a volume. It is the host's word.
type infoResult struct {
	Volume      string `json:"volume"`
	ID          string `json:"id"`
	Format      int    `json:"format"`
	Suite       string `json:"suite"`
	SegmentSize int64  `json:"segmentSizeBytes"`
	Segments    int    `json:"segments"`
	HostBytes   int64  `json:"hostBytes"`
	SpareBytes  int64  `json:"spareBytes"`
	FreeBytes   int64  `json:"hostFreeBytes"`
	// Points are what transfers go on from, and HeldBytes what they keep together of
	// segments that were deleted.
	Points    []pointResult `json:"points"`
	HeldBytes int64         `json:"heldBytes"`
	Received  *infoReceived `json:"received"` // null: it did not come by a transfer
	// Pending is what came of a transfer that was to bring it to a later point.
	Pending   *infoPending `json:"pending,omitempty"`
	Header    uint64       `json:"headerSequence"`
	Slots     []infoSlot   `json:"slots"`
	Migrating bool         `json:"migrating"` // begun and not finished
	Lag       *infoLag     `json:"lag,omitempty"`
	Holder    *holder      `json:"holder"` // null if nobody holds it
	Anchor    string       `json:"anchor"` // kds, file or none; unknown without a configuration
	anchor    string
}

// infoReceived says where a volume came from.
type infoReceived struct {
	Point   string    `json:"point"`
	Name    string    `json:"name"`
	Taken   time.Time `json:"taken"`
	At      time.Time `json:"at"`
	Changed bool      `json:"changed"` // opened for writing since
}

// infoPending is a transfer that was begun and not finished.
type infoPending struct {
	Name  string `json:"name"` // of the point
	Come  int64  `json:"comeBytes"`
	Bytes int64  `json:"bytes"`
}

// infoLag is what an object store lacks of what was acknowledged on this machine.
type infoLag struct {
	Changes int   `json:"changes"`
	Bytes   int64 `json:"bytes"`
}

// infoSlot is one key slot: one of spec and machine is set.
type infoSlot struct {
	Generation uint32              `json:"generation"`
	Spec       *coffer.SpecSlot    `json:"spec,omitempty"`
	HandedOver bool                `json:"handedOver,omitempty"` // to the spec
	Machine    *coffer.MachineSlot `json:"machine,omitempty"`
}

func newInfo() *cobra.Command {
	var asJSON bool
	var configPath string
	var f hostFlags
	c := &cobra.Command{
		Use:   "info VOLUME",
		Short: "Show what is public of a volume; needs no key",
		Long: `info shows what whoever holds the volume's files can see: its format, whose
key it is sealed for, its size on the host, and who has it open. It is the
host's word, needs no key, and changes nothing. With --config it shows the anchor
too, which is in the measured configuration and not in the files.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := info(c, f, a[0])
			if err != nil {
				return volumeError(a[0], err)
			}
			if r.Anchor, r.anchor, err = anchorText(configPath); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c.OutOrStdout())
		},
	}
	f.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&configPath, "config", "", "measured configuration of the volume's enclave")
	return c
}

func info(c *cobra.Command, f hostFlags, volume string) (r infoResult, err error) {
	v, err := f.open(c.Context(), volume)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	_, h, err := store.ReadHeader(c.Context(), v)
	if err != nil {
		return r, err
	}
	r = infoResult{
		Volume: volume, ID: hex.EncodeToString(h.Volume[:]), Format: seal.FormatVersion, Suite: seal.SuiteAESGCM.String(),
		SegmentSize: int64(1) << h.SegmentShift, Header: h.Sequence, Migrating: migrating(h),
	}
	if err := r.addUsage(c, v); err != nil {
		return r, err
	}
	if err := r.addPoints(c.Context(), v); err != nil {
		return r, err
	}
	if err := r.addLag(c.Context(), v); err != nil {
		return r, err
	}
	r.addPending()
	if r.Slots, err = infoSlots(h); err != nil {
		return r, err
	}
	r.Holder, err = f.holder(c.Context(), volume)
	return r, err
}

// addUsage adds what the volume takes on the host.
func (r *infoResult) addUsage(c *cobra.Command, v host.Volume) error {
	segments, err := v.Segments(c.Context())
	if err != nil {
		return err
	}
	u, err := usageOf(c.Context(), v)
	r.Segments, r.HostBytes = len(segments), u.SegmentBytes+u.CatalogBytes
	r.SpareBytes, r.FreeBytes, r.HeldBytes = u.SpareBytes, u.FreeBytes, u.HeldBytes
	return err
}

// addPoints adds which points there are, and whether the volume itself came by one.
func (r *infoResult) addPoints(ctx context.Context, v host.Volume) error {
	k, ok := v.(host.PointKeeper)
	if !ok {
		return nil
	}
	list, err := k.Points(ctx)
	if errors.Is(err, host.ErrInvalid) { // it is served, and keeps none
		return nil
	}
	if err != nil {
		return err
	}
	r.Points = make([]pointResult, 0, len(list))
	for _, i := range list {
		r.Points = append(r.Points, pointResultOf(i))
	}
	from, ok, err := k.Received(ctx)
	if ok {
		r.Received = &infoReceived{from.Point.String(), from.Name, from.Taken, from.At, from.Changed}
	}
	return err
}

// addPending adds what came of a transfer, which only the directory itself shows.
func (r *infoResult) addPending() {
	if remote.IsURL(r.Volume) || s3.IsURL(r.Volume) {
		return
	}
	if m, at, err := local.PendingTransfer(r.Volume); err == nil {
		r.Pending = &infoPending{m.Name, m.Done(at), m.Bytes()}
	}
}

// addLag adds how far an object store is behind, if it may be.
func (r *infoResult) addLag(ctx context.Context, v host.Volume) error {
	o, ok := v.(*s3.Volume)
	if !ok {
		return nil
	}
	st, err := o.Status(ctx)
	if st.Local || st.Lag.Changes > 0 {
		r.Lag = &infoLag{st.Lag.Changes, st.Lag.Bytes}
	}
	return err
}

// usageOf asks the directory, or the host process.
func usageOf(ctx context.Context, v host.Volume) (local.Usage, error) {
	switch v := v.(type) {
	case *local.Volume:
		return v.Usage(ctx)
	case *s3.Volume:
		st, err := v.Status(ctx)
		return local.Usage{SegmentBytes: st.Bytes}, err
	}
	st, err := v.(*remote.Volume).Status(ctx)
	return local.Usage{SegmentBytes: st.SegmentBytes, SpareBytes: st.SpareBytes, HeldBytes: st.HeldBytes, CatalogBytes: st.CatalogBytes, FreeBytes: st.FreeBytes}, err
}

// migrating reports whether a volume is on its way from one key to another.
func migrating(h seal.Header) bool {
	return slices.ContainsFunc(h.Slots, func(s seal.Slot) bool { return s.Generation != h.Slots[0].Generation })
}

func infoSlots(h seal.Header) (slots []infoSlot, err error) {
	for _, s := range h.Slots {
		slot := infoSlot{Generation: s.Generation}
		if slot.Spec, slot.Machine, err = coffer.ParseSlot(store.Slot{Kind: s.Kind, Generation: s.Generation, Descriptor: s.Descriptor}); err != nil {
			return nil, err
		}
		slot.HandedOver = s.Kind == seal.SlotHandover
		slots = append(slots, slot)
	}
	return slots, nil
}

func (r infoResult) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("volume     %s", r.Volume)
	p.line("id         %s", r.ID)
	p.line("format     %d, %s", r.Format, r.Suite)
	p.line("segments   %d of %s", r.Segments, bytesText(r.SegmentSize))
	if s3.IsURL(r.Volume) {
		p.line("in store   %s", bytesText(r.HostBytes))
	} else {
		p.line("on host    %s, and %s to be recycled; %s are free", bytesText(r.HostBytes), bytesText(r.SpareBytes), bytesText(r.FreeBytes))
	}
	if len(r.Points) > 0 {
		p.line("points     %d, which keep %s of segments that were deleted: coffer point list %s", len(r.Points), bytesText(r.HeldBytes), quote(r.Volume))
	}
	if r.Lag != nil {
		p.line("lag        the store lacks %d syncs of this machine's journal, %s", r.Lag.Changes, bytesText(r.Lag.Bytes))
	}
	for _, s := range r.Slots {
		p.line("sealed for %s", s)
	}
	if r.Migrating {
		p.line("migration  begun and not finished: run coffer migrate again")
	}
	if r.Holder != nil {
		p.line("in use by  %s", r.Holder)
	} else {
		p.line("in use by  nobody")
	}
	p.line("anchor     %s", r.anchor)
	if r.Received != nil {
		r.Received.print(p, r.Anchor)
	}
	if t := r.Pending; t != nil {
		p.line("transfer   to point %s was begun, %s of %s have come: coffer receive %s --token, or --abort to remove them",
			t.Name, bytesText(t.Come), bytesText(t.Bytes), quote(r.Volume))
	}
	return p.err
}

// print says where the volume came from, and warns if nothing keeps both from being
// written.
func (r infoReceived) print(p *printer, anchor string) {
	state := "not opened for writing since"
	if r.Changed {
		state = "opened for writing since"
	}
	p.line("received   point %s of %s, on %s; %s", r.Name, r.Taken.Format(time.DateTime), r.At.Format(time.DateTime), state)
	switch anchor {
	case "none":
		p.line("warning    where it came from may still be in use, and without an anchor nobody notices that both are written")
	case "unknown":
		p.line("warning    where it came from may still be in use: only an anchor (see --config) keeps both from being written")
	}
}

func (s infoSlot) String() string {
	if s.Spec == nil {
		return fmt.Sprintf("the machine it was made on, to the enclave's %q", s.Machine.SealedTo)
	}
	over := ""
	if s.HandedOver {
		over = ", by a handover"
	}
	return fmt.Sprintf("%s, generation %d: %s%s", s.Spec.Spec.MasterKeyType, s.Spec.Generation, s.Spec.Spec.PolicyConstraint, over)
}
