package server

import (
	"errors"
	"net/http"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/orders"

	"github.com/coffer-fs/coffer/kds"
)

// orders are the operator's in force, the zero Orders if there is no operator.
func (s *Server) orders() orders.Orders {
	if s.o.Orders == nil {
		return orders.Orders{}
	}
	return s.o.Orders.Orders()
}

// ordered refuses what the operator denies, to whoever asks.
func (s *Server) ordered(spec kds.Spec, id attest.Identity) error {
	err := s.orders().Allow(id, spec.Hash())
	if err != nil {
		return refuse(http.StatusForbidden, "%v", err)
	}
	return nil
}

// applyOrders puts signed orders in force; the signature is all that is asked
// for. The line is in the audit log before the answer, and after the orders: they
// only take away, so they hold also where they can't be written down, and then no key
// is given at all until the node is started anew, which writes down what is in force.
func (s *Server) applyOrders(w http.ResponseWriter, r *http.Request) (any, error) {
	if s.o.Orders == nil {
		return nil, refuse(http.StatusNotFound, "this node has no operator")
	}
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	o, err := s.o.Orders.Apply(r.Context(), body)
	switch {
	case errors.Is(err, orders.ErrMalformed):
		return nil, malformed(err)
	case errors.Is(err, orders.ErrSignature), errors.Is(err, orders.ErrNumber):
		return nil, refuse(http.StatusForbidden, "%v", err)
	case err != nil:
		return nil, err
	}
	if err := s.o.Audit.Append(audit.Entry{Event: audit.Ordered, Orders: o.Number}); err != nil {
		return nil, err
	}
	return o, nil
}
