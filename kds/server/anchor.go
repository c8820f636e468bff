package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/key"
)

// anchor reads and changes what is remembered of a volume. Who asks showed who
// he is when he got the spec's anchor key: here that key speaks for him.
func (s *Server) anchor(w http.ResponseWriter, r *http.Request) (any, error) {
	if s.o.Anchors == nil {
		return nil, refuse(http.StatusNotFound, "this node keeps no anchors")
	}
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	var (
		q kds.AnchorRequest
		k key.Key
	)
	if err := s.work(r.Context(), func() (err error) { q, k, err = s.anchorAsked(r.Context(), body); return err }); err != nil {
		return nil, err
	}
	defer k.Destroy()
	owner := anchor.Owner(q.Spec.Hash())
	if err := s.rates.anchorsOf(owner); err != nil {
		return nil, err
	}
	a, err := anchor.Apply(r.Context(), audited{s.o.Anchors, s.o.Audit, q}, q, owner)
	if errors.Is(err, anchor.ErrFull) {
		return nil, refuse(http.StatusTooManyRequests, "%v", anchor.ErrFull)
	}
	if err != nil {
		return nil, fmt.Errorf("anchor: %w", err)
	}
	a.MAC = a.Sign(k, q)
	return a, nil
}

// anchorAsked reads a request, and finds the key that it is authenticated by.
func (s *Server) anchorAsked(ctx context.Context, body []byte) (q kds.AnchorRequest, k key.Key, err error) {
	if q, err = kds.DecodeAnchorRequest(body); err != nil {
		return q, k, malformed(err)
	}
	if k, err = s.anchorKey(ctx, q.Spec, q.Generation, q, q.MAC); err != nil || q.To == nil {
		return q, k, err
	}
	to, err := s.anchorKey(ctx, q.To.Spec, q.To.Generation, q, q.To.MAC)
	if err != nil {
		k.Destroy()
		return q, key.Key{}, err
	}
	to.Destroy()
	return q, k, nil
}

// anchorKey derives the anchor key of a spec, and checks a MAC of the request
// with it.
func (s *Server) anchorKey(ctx context.Context, spec kds.Spec, g kds.Generation, q kds.AnchorRequest, mac []byte) (key.Key, error) {
	mk, _, err := s.master(ctx, spec.MasterKeyType, g)
	if err != nil {
		return key.Key{}, err
	}
	k := kds.Derive(mk, g, spec, kds.Anchor)
	if !q.SignedBy(k, mac) {
		k.Destroy()
		return key.Key{}, refuse(http.StatusForbidden, "the request is not authenticated by the anchor key of %s", spec)
	}
	return k, nil
}
