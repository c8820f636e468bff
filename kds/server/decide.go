package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/key"
)

// decide gives the master key for what is asked by id, or says why not. The
// rules of the node come first: no policy can set them aside.
func (s *Server) decide(ctx context.Context, spec kds.Spec, g kds.Generation, id attest.Identity) (key.Key, kds.Generation, error) {
	if err := permitted(spec.MasterKeyType, id.Mode, s.o.Platform.Mode()); err != nil {
		return key.Key{}, g, err
	}
	if err := s.ordered(spec, id); err != nil {
		return key.Key{}, g, err
	}
	if err := spec.PolicyConstraint.Match(id, s.o.Now()); err != nil {
		return key.Key{}, g, refuse(http.StatusForbidden, "%v", err)
	}
	return s.master(ctx, spec.MasterKeyType, g)
}

// permitted is the table of who may have keys of which type from which node.
//
//	type          release enclave   debug enclave   simulated enclave
//	development   no                yes             yes, but not from a release node
//	any other     yes               yes             no
func permitted(t kds.MasterKeyType, asker, node attest.Mode) error {
	switch {
	case t == kds.Development && asker == attest.Release:
		return refuse(http.StatusForbidden, "the development master key is not for release enclaves")
	case asker == attest.Simulation && t != kds.Development:
		return refuse(http.StatusForbidden, "simulated enclaves get keys of the development master key only")
	case asker == attest.Simulation && node == attest.Release:
		return refuse(http.StatusForbidden, "a release node gives nothing to simulated enclaves")
	}
	return nil
}

// master gets a master key; generation 0 is the current one.
func (s *Server) master(ctx context.Context, t kds.MasterKeyType, g kds.Generation) (key.Key, kds.Generation, error) {
	m, ok := s.masters[t]
	if !ok {
		return key.Key{}, g, refuse(http.StatusNotFound, "this node has no master key of type %s", t)
	}
	if g == 0 {
		g = m.Current()
	}
	k, err := m.Key(ctx, g)
	switch {
	case errors.Is(err, master.ErrGeneration):
		return key.Key{}, g, refuse(http.StatusNotFound, "%v", err)
	case err != nil:
		return key.Key{}, g, err
	}
	return k, g, nil
}
