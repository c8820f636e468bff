package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/kds/orders"
)

const (
	ordersName = "orders"
	// shareEvery is how often a node compares its orders with the others'.
	shareEvery = 2 * time.Second
)

// Anchors keeps the anchors of volumes for all nodes.
func (n *Node) Anchors() anchor.Store { return anchors{n.ledger} }

type anchors struct{ l *ledger.Ledger }

func anchorName(v kds.VolumeID) string { return "anchor/" + hex.EncodeToString(v[:]) }
func ownerName(o anchor.Owner) string  { return "owner/" + hex.EncodeToString(o[:]) }
func owned(t *ledger.Tx, name string) (n uint32) {
	if b := t.Get(name); len(b) == 4 {
		n = binary.BigEndian.Uint32(b)
	}
	return n
}

// Get implements anchor.Store.
func (a anchors) Get(ctx context.Context, v kds.VolumeID) (anchor.Record, error) {
	var r anchor.Record
	err := a.l.View(ctx, []string{anchorName(v)}, func(t *ledger.Tx) (err error) {
		r, err = anchorRecord(t, v)
		return err
	})
	return r, err
}

func anchorRecord(t *ledger.Tx, v kds.VolumeID) (anchor.Record, error) {
	b := t.Get(anchorName(v))
	if b == nil {
		return anchor.Record{}, nil
	}
	return anchor.ParseRecord(v, b)
}

// Swap implements anchor.Store.
func (a anchors) Swap(ctx context.Context, v kds.VolumeID, old, next anchor.Record) error {
	names := []string{anchorName(v), ownerName(old.Owner), ownerName(next.Owner)}
	err := a.l.Update(ctx, names, func(t *ledger.Tx) error {
		now, err := anchorRecord(t, v)
		switch {
		case err != nil:
			return err
		case now != old:
			return anchor.ErrConflict
		case old.Owner != next.Owner && owned(t, ownerName(next.Owner)) >= anchor.MaxPerOwner:
			return anchor.ErrFull
		}
		t.Put(anchorName(v), next.Encode(v))
		if old.Owner != next.Owner {
			t.Put(ownerName(next.Owner), u32(owned(t, ownerName(next.Owner))+1))
			if was := owned(t, ownerName(old.Owner)); (old != anchor.Record{}) && was > 1 {
				t.Put(ownerName(old.Owner), u32(was-1))
			} else if was == 1 {
				t.Put(ownerName(old.Owner), nil)
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, ledger.ErrConflict):
		return anchor.ErrConflict
	case errors.Is(err, ledger.ErrFull):
		return anchor.ErrFull
	}
	return err
}

// share keeps this node a member of the ledger, and brings its orders and the
// others' together. What fails is tried again.
func (n *Node) share(ctx context.Context) {
	if n.Current() == 0 || time.Since(n.shared) < shareEvery {
		return
	}
	n.shared = time.Now()
	err := errors.Join(n.enrol(ctx), n.shareOrders(ctx))
	if err != nil && n.shareErr == nil && ctx.Err() == nil {
		n.o.Logger.Error("anchors and orders are not shared with other nodes", "error", err)
	}
	n.shareErr = err
}

// enrol makes this node one of those that remember the newest root.
func (n *Node) enrol(ctx context.Context) error {
	if n.o.Listener == nil {
		return nil
	}
	there := false
	err := n.ledger.View(ctx, nil, func(t *ledger.Tx) error {
		there = slices.Contains(t.Root().Members, n.o.Address)
		return nil
	})
	if err != nil || there {
		return err
	}
	return n.ledger.Update(ctx, nil, func(t *ledger.Tx) error {
		if r := t.Root(); !slices.Contains(r.Members, n.o.Address) {
			r.Members = append(r.Members, n.o.Address)
			slices.Sort(r.Members)
		}
		return nil
	})
}

// shareOrders brings newer orders here, or there.
func (n *Node) shareOrders(ctx context.Context) error {
	if n.o.Orders == nil {
		return nil
	}
	var theirs []byte
	err := n.ledger.View(ctx, []string{ordersName}, func(t *ledger.Tx) error { theirs = t.Get(ordersName); return nil })
	if err != nil || bytes.Equal(theirs, n.o.Orders.Text()) {
		return err
	}
	if len(theirs) > 0 {
		got, err := n.o.Orders.Apply(ctx, theirs)
		mine := n.o.Orders.Orders()
		switch {
		case err == nil:
			n.o.Logger.Info("orders of the operator came from another node")
			return n.o.Audit.Append(audit.Entry{Event: audit.Ordered, Orders: mine.Number, Reason: "from another node"})
		case !errors.Is(err, orders.ErrNumber):
			return err
		case got.Number == mine.Number && reflect.DeepEqual(got, mine):
			return nil // the same in another wrapping: either may stay
		case got.Number == mine.Number:
			return fmt.Errorf("orders %d of another node are not those of this node: sign orders with a higher number", mine.Number)
		}
	}
	return n.ledger.Update(ctx, []string{ordersName}, func(t *ledger.Tx) error {
		if bytes.Equal(t.Get(ordersName), theirs) {
			t.Put(ordersName, n.o.Orders.Text())
		}
		return nil
	})
}
