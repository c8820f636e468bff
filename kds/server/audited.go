package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/audit"
)

// signedLog is an Auditor whose log is signed.
type signedLog interface{ Head() audit.SignedHead }

// auditHead shows the operator how far the audit log is, signed, and evidence over
// the key that signs: what is to be kept elsewhere.
func (s *Server) auditHead(w http.ResponseWriter, _ *http.Request) {
	l, ok := s.o.Audit.(signedLog)
	if !ok {
		http.NotFound(w, nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	head := l.Head().String()
	_ = json.NewEncoder(w).Encode(audit.Shown{Head: json.RawMessage(head), Evidence: s.auditKey.evidence()}) // who went away learns nothing
}

// audited is an anchor store that writes down what begins and what changes hands,
// before it happens: a line that does not reach the disk stops it. What then fails is
// written down too.
type audited struct {
	anchor.Store
	audit Auditor
	q     kds.AnchorRequest
}

// Swap implements anchor.Store.
func (a audited) Swap(ctx context.Context, v kds.VolumeID, old, next anchor.Record) error {
	what := ""
	switch {
	case old == anchor.Record{}:
		what = "begins"
	case old.Owner != next.Owner:
		what = fmt.Sprintf("given to the key of spec %x", next.Owner)
	default:
		return a.Store.Swap(ctx, v, old, next)
	}
	e := audit.Entry{Event: audit.Anchored, Reason: what, Volume: hex.EncodeToString(v[:]), Key: keyOf(a.q.Spec, kds.Anchor, a.q.Generation)}
	if err := a.audit.Append(e); err != nil {
		return fmt.Errorf("no anchor without audit: %w", err)
	}
	err := a.Store.Swap(ctx, v, old, next)
	if err != nil {
		e.Event, e.Reason = audit.Refused, fmt.Sprintf("anchor %s: %v", what, err)
		err = errors.Join(err, a.audit.Append(e))
	}
	return err
}

// keyOf names a key.
func keyOf(spec kds.Spec, p kds.Purpose, g kds.Generation) *audit.Key {
	h := spec.Hash()
	return &audit.Key{SpecHash: hex.EncodeToString(h[:]), Name: spec.Name, MasterKeyType: string(spec.MasterKeyType),
		Policy: spec.PolicyConstraint.Canonical(), Purpose: string(p), Generation: uint32(g)}
}
