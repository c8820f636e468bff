package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/local"
)

// recoverResult is what was recovered of a volume's records.
type recoverResult struct {
	ID       string   `json:"id"`
	Root     uint64   `json:"rootSequence"`
	Place    string   `json:"rootPlace"`
	Header   uint64   `json:"headerSequence"`
	Session  uint64   `json:"session"`
	Batches  int      `json:"batches"` // of the log behind the root
	Segments int      `json:"segments"`
	Missing  int      `json:"missingSegments"`
	Unknown  int      `json:"unknownSegments"`
	Damaged  int64    `json:"damagedNodes"`
	Kepts    int64    `json:"damagedSnapshotNodes"` // that snapshots alone need
	Hurt     []string `json:"hurtSnapshots"`        // by these, oldest first
	NoList   bool     `json:"snapshotListDamaged"`  // then they are not known
	Anchor   string   `json:"anchor"`               // agrees, refuses or none
	Verdict  string   `json:"verdict"`              // why it refuses, which was accepted
	Newer    []uint64 `json:"newerRoots"`           // that were found and left
	Unread   int      `json:"unreadPlaces"`         // where newer roots may have been
	Kept     string   `json:"keptCatalog"`
}

// recoverFlags say which state is meant.
type recoverFlags struct {
	enclaveFlags
	root     uint64
	id       string
	accept   bool
	unproven bool // of salvage alone
	asJSON   bool
}

func newRecover() *cobra.Command {
	var f recoverFlags
	c := &cobra.Command{
		Use:   "recover VOLUME",
		Short: "Make the catalog of a volume anew from its segments",
		Long: `recover finds the newest state of a volume whose catalog.db is lost or damaged,
and makes a new catalog from it. It needs the key, and nobody may have the volume
open. The catalog that was there is kept beside the new one, and no segment is
changed.

Nothing is believed that the key does not open, and no state that is older than
another one in the segments. That none was taken away from the end can be proven
only by an anchor: the one that the configuration names is asked, and decides. If it
knows a newer state than any that is left, --accept-rollback recovers the newest that
there is; to open that, the configuration needs an approval.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			r, err := runRecover(c, f, a[0])
			if err != nil {
				return volumeError(a[0], err)
			}
			if f.asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c.OutOrStdout())
		},
	}
	f.register(c)
	c.Flags().Uint64Var(&f.root, "root", 0, "go back to the root of that sequence; default the newest")
	c.Flags().BoolVar(&f.accept, "accept-rollback", false, "take the newest state that is left, although the anchor speaks against it")
	c.Flags().StringVar(&f.id, "id", "", "which volume is meant, if segments of several lie there")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func (f *recoverFlags) volumeID() (id [16]byte, err error) {
	if f.id == "" {
		return id, nil
	}
	b, err := hex.DecodeString(f.id)
	if err != nil || len(b) != len(id) {
		return id, usageError("it is the one that coffer info shows", "--id %q is not the id of a volume", f.id)
	}
	return [16]byte(b), nil
}

func runRecover(c *cobra.Command, f recoverFlags, volume string) (r recoverResult, err error) {
	err = f.withRemains(c, volume, func(x remains) error {
		rec, err := coffer.Recover(c.Context(), x.enclave, x.volume, store.RecoverOptions{Root: f.root, Volume: x.id, AcceptRollback: f.accept})
		if err != nil {
			return recoverFailure(err)
		}
		r = newRecoverResult(rec)
		r.Kept, err = x.hold.Replace(rec.Records(), rec.Segments)
		return err
	})
	return r, err
}

// recoverFailure has another hint than opening the same would: what is left is no
// volume yet.
func recoverFailure(err error) error {
	for _, is := range []error{store.ErrRolledBack, store.ErrForked, store.ErrAnchorLost} {
		if errors.Is(err, is) {
			return &failure{classify(err).code, err, "bring the newest segments; if they are lost: the same with --accept-rollback, and then coffer anchor show VOLUME --config FILE tells how to go on"}
		}
	}
	return err
}

// remains is what is left of a volume, and how to open it.
type remains struct {
	enclave coffer.Options
	volume  *local.Remains
	hold    *local.Hold
	options store.Options
	id      [16]byte
}

// withRemains starts the enclave, keeps others from the volume, and calls fn.
func (f *recoverFlags) withRemains(c *cobra.Command, volume string, fn func(remains) error) (err error) {
	x := remains{}
	if x.id, err = f.volumeID(); err != nil {
		return err
	}
	o, err := f.enclaveOptions(c)
	if err != nil {
		return err
	}
	x.enclave = o
	x.options = store.Options{Unlocker: coffer.Unlocker(o), Logger: o.Logger}
	if x.volume, x.hold, err = holdRemains(c.Context(), volume, o.Owner); err != nil {
		return err
	}
	return errors.Join(fn(x), x.hold.Release(), x.volume.Close())
}

// holdRemains opens what is left of a volume, and keeps others from it.
func holdRemains(ctx context.Context, volume, owner string) (*local.Remains, *local.Hold, error) {
	left, err := local.OpenRemains(volume)
	if err != nil {
		return nil, nil, err
	}
	hold, err := left.Hold(ctx, owner)
	if err != nil {
		return nil, nil, errors.Join(err, left.Close())
	}
	return left, hold, nil
}

func newRecoverResult(rec store.Recovery) recoverResult {
	s := rec.Summary
	r := recoverResult{
		ID: hex.EncodeToString(rec.Volume[:]), Root: s.RootSequence, Place: s.RootPlace, Header: s.HeaderSequence, Session: s.Session,
		Batches: s.Batches, Segments: s.Segments, Missing: len(s.Missing), Unknown: s.Unknown, Damaged: s.Damaged, Newer: []uint64{},
		Unread: s.Unread, Kepts: s.SnapshotNodes, Hurt: []string{}, NoList: s.ListLost != nil, Anchor: "none",
	}
	for _, p := range s.Hurt {
		r.Hurt = append(r.Hurt, p.Name)
	}
	switch {
	case s.Verdict != nil:
		r.Anchor, r.Verdict = "refuses", s.Verdict.Error()
	case s.Anchored:
		r.Anchor = "agrees"
	}
	r.Newer = append(r.Newer, s.Newer...)
	return r
}

func (r recoverResult) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("volume     %s", r.ID)
	p.line("root       %d of session %d, from %s, and %d batches of the log behind it", r.Root, r.Session, r.Place, r.Batches)
	p.line("header     %d, made anew", r.Header)
	p.line("segments   %d; %d are missing; %d on the host are not part of the volume", r.Segments, r.Missing, r.Unknown)
	if r.Damaged > 0 {
		p.line("damaged    %d tree nodes: see coffer check and coffer salvage", r.Damaged)
	}
	if r.NoList {
		p.line("damaged    the list of snapshots: the present state can be read, and nothing changed: see coffer salvage")
	} else if r.Kepts > 0 {
		p.line("damaged    %d tree nodes that snapshots alone need; these are hurt: %s", r.Kepts, fmt.Sprintf("%q", r.Hurt))
	}
	if r.Unread > 0 {
		p.line("unread     %d places that the host did not give: a newer state may have been there", r.Unread)
	}
	if len(r.Newer) > 0 {
		p.line("left       newer roots: %s", fmt.Sprint(r.Newer))
	}
	if r.Kept != "" {
		p.line("kept       the catalog that was there, as %s", r.Kept)
	}
	switch r.Anchor {
	case "agrees":
		p.line("anchor     it is what the anchor has seen last, or newer")
	case "refuses":
		p.line("unproven   the anchor speaks against it, as accepted: %s", r.Verdict)
	default:
		p.line("unproven   that nothing newer was taken away: without an anchor only the host could tell")
	}
	return p.err
}
