package server

import (
	"net/http"
	"sync"

	"golang.org/x/time/rate"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Limits of how often keys are asked for.
const (
	// DefaultRate is how many requests a second are served in all.
	DefaultRate = 10_000
	// DefaultIdentityRate is how many keys a second one enclave is given: all
	// instances of the same code on the node together.
	DefaultIdentityRate = 2_000
	// MaxIdentities is how many enclaves are told apart; if there are more at
	// once, the one that was seen first is forgotten.
	MaxIdentities = 4096
)

// rates bounds how often something is done, in all and by each enclave. A
// second's worth may come at once.
type rates struct {
	all   *rate.Limiter
	limit rate.Limit

	mu    sync.Mutex // guards what follows
	each  map[enclave]*rate.Limiter
	order []enclave // oldest first
}

// enclave is what is counted as one.
type enclave struct {
	code, signer attest.Hash
	product      uint16
}

func newRates(all, each int) *rates {
	return &rates{all: rate.NewLimiter(rate.Limit(all), all), limit: rate.Limit(each), each: map[enclave]*rate.Limiter{}}
}

// any takes from what all may do.
func (r *rates) any() error {
	if r.all.Allow() {
		return nil
	}
	return refuse(http.StatusTooManyRequests, "more than %v requests a second", r.all.Limit())
}

// by takes from what one enclave may do. Its evidence was verified: nobody can
// use up what is another's.
func (r *rates) by(id attest.Identity) error {
	if r.of(enclave{id.CodeHash, id.SignerHash, id.ProductID}).Allow() {
		return nil
	}
	return refuse(http.StatusTooManyRequests, "more than %v keys a second for enclave %s", r.limit, id.CodeHash)
}

func (r *rates) of(e enclave) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.each[e]; ok {
		return l
	}
	if len(r.order) == MaxIdentities {
		delete(r.each, r.order[0])
		r.order = r.order[1:]
	}
	l := rate.NewLimiter(r.limit, int(r.limit))
	r.each[e] = l
	r.order = append(r.order, e)
	return l
}
